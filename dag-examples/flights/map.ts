// Draws airports as circles on an equirectangular map: size by flights, colour by mean delay.
import { mkdir, writeFile } from "node:fs/promises";

interface Airport {
  geometry: { coordinates: [longitude: number, latitude: number] };
  properties: { origin: string; name: string; flights: number; mean_delay: number };
}

// Mainland only: Alaska, Hawaii and the Pacific islands would squeeze the rest into a corner.
const bounds = { west: -126, east: -66, south: 24, north: 50 };
const frame = { width: 900, height: 560, left: 60, top: 60 };
const plot = { width: 800, height: 420 };
const classes: { upTo: number; colour: string; label: string }[] = [
  { upTo: 0, colour: "#1a9850", label: "early or on time" },
  { upTo: 5, colour: "#91cf60", label: "up to 5 min" },
  { upTo: 10, colour: "#fdae61", label: "up to 10 min" },
  { upTo: Number.POSITIVE_INFINITY, colour: "#d73027", label: "more than 10 min" },
];

/** Gives how many airports are on the map and how many lie outside of its bounds. */
export async function render({ collection }: { collection: { features: Airport[] } }) {
  const onMap = collection.features.filter(isInside);
  await mkdir("out", { recursive: true });
  await writeFile("out/map.svg", draw(onMap));
  console.log(`out/map.svg: ${onMap.length} airports`);
  return {
    path: "out/map.svg",
    airports: onMap.length,
    outside: collection.features.length - onMap.length,
  };
}

function isInside({ geometry: { coordinates } }: Airport): boolean {
  const [longitude, latitude] = coordinates;
  const isBetweenEastAndWest = longitude >= bounds.west && longitude <= bounds.east;
  return isBetweenEastAndWest && latitude >= bounds.south && latitude <= bounds.north;
}

const x = (longitude: number) =>
  frame.left + (plot.width * (longitude - bounds.west)) / (bounds.east - bounds.west);
const y = (latitude: number) =>
  frame.top + (plot.height * (bounds.north - latitude)) / (bounds.north - bounds.south);

function draw(airports: Airport[]): string {
  const largestFirst = airports.toSorted((a, b) => b.properties.flights - a.properties.flights);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${frame.width} ${frame.height}" ` +
      'role="img" font-family="sans-serif" font-size="12" fill="#333333">',
    "<title>Mean delay by airport of departure</title>",
    `<rect width="${frame.width}" height="${frame.height}" fill="white"/>`,
    '<text x="450" y="32" text-anchor="middle" font-size="18">' +
      "Mean delay by airport of departure, first quarter of 2001</text>",
    ...grid(),
    ...largestFirst.map(circle),
    ...largestFirst.slice(0, 12).map(label),
    ...classes.map(legend),
    "</svg>\n",
  ].join("\n");
}

function grid(): string[] {
  const bottom = frame.top + plot.height;
  const right = frame.left + plot.width;
  const meridians = [-120, -110, -100, -90, -80, -70].flatMap((degrees) => [
    `<path d="M${n(x(degrees))} ${frame.top}V${bottom}" stroke="#e0e0e0"/>`,
    `<text x="${n(x(degrees))}" y="${bottom + 18}" text-anchor="middle">${-degrees}° W</text>`,
  ]);
  const parallels = [25, 30, 35, 40, 45].flatMap((degrees) => [
    `<path d="M${frame.left} ${n(y(degrees))}H${right}" stroke="#e0e0e0"/>`,
    `<text x="${frame.left - 8}" y="${n(y(degrees) + 4)}" text-anchor="end">${degrees}° N</text>`,
  ]);
  return [...meridians, ...parallels];
}

function circle({ geometry, properties }: Airport): string {
  const [longitude, latitude] = geometry.coordinates;
  const radius = 2 + Math.sqrt(properties.flights) / 2.5;
  const tip = `${properties.origin} ${properties.name}: ${properties.mean_delay} min, ${properties.flights} flights`;
  return (
    `<circle cx="${n(x(longitude))}" cy="${n(y(latitude))}" r="${n(radius)}" ` +
    `fill="${colour(properties.mean_delay)}" fill-opacity="0.75" stroke="white">` +
    `<title>${escaped(tip)}</title></circle>`
  );
}

function label({ geometry, properties }: Airport): string {
  const [longitude, latitude] = geometry.coordinates;
  const at = `x="${n(x(longitude))}" y="${n(y(latitude) + 4)}"`;
  return `<text ${at} text-anchor="middle" font-size="10">${escaped(properties.origin)}</text>`;
}

function legend(entry: (typeof classes)[number], index: number): string {
  const left = frame.left + index * 190;
  const top = frame.height - 30;
  return (
    `<circle cx="${left + 7}" cy="${top - 4}" r="7" fill="${entry.colour}"/>` +
    `<text x="${left + 22}" y="${top}">${entry.label}</text>`
  );
}

function colour(minutes: number): string {
  return classes.find((entry) => minutes <= entry.upTo)?.colour ?? "#999999";
}

const n = (value: number) => String(Math.round(value * 100) / 100);

const escaped = (value: string) =>
  value.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
