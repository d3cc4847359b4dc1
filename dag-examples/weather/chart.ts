// Draws the temperature range and the precipitation of each month as one SVG file.
// Written by hand, without a chart library, so that the example needs nothing but Node.js.
import { mkdir, writeFile } from "node:fs/promises";

interface Month {
  name: string;
  temp_min: number;
  temp_max: number;
  coldest: number;
  hottest: number;
  precipitation_per_year: number;
}

const frame = { width: 860, height: 480, left: 70, right: 70, top: 60, bottom: 80 };
const plotWidth = frame.width - frame.left - frame.right;
const plotHeight = frame.height - frame.top - frame.bottom;
const colours = { range: "#d95f02", extremes: "#f3b27a", rain: "#9ecae1", ink: "#333333" };

/** `months` are the results of the fan-out. Gives the path and size of the file that it wrote. */
export async function render({ title, months }: { title: string; months: Month[] }) {
  const svg = chart(title, months);
  await mkdir("out", { recursive: true });
  await writeFile("out/weather.svg", svg);
  console.log(`out/weather.svg: ${months.length} months, ${svg.length} characters`);
  return { path: "out/weather.svg", months: months.length, characters: svg.length };
}

function chart(title: string, months: Month[]): string {
  const lowest = Math.floor(Math.min(...months.map((m) => m.coldest)) / 5) * 5;
  const highest = Math.ceil(Math.max(...months.map((m) => m.hottest)) / 5) * 5;
  const wettest = Math.ceil(Math.max(...months.map((m) => m.precipitation_per_year)) / 50) * 50;
  const step = plotWidth / months.length;
  const x = (index: number) => frame.left + step * (index + 0.5);
  const yTemp = (celsius: number) =>
    frame.top + (plotHeight * (highest - celsius)) / (highest - lowest);
  const yRain = (mm: number) => frame.top + plotHeight * (1 - mm / wettest);
  const bottom = frame.top + plotHeight;

  const parts = [
    text(frame.width / 2, 30, title, 'text-anchor="middle" font-size="18"'),
    ...ticks(lowest, highest, 5).flatMap((celsius) => [
      line(frame.left, yTemp(celsius), frame.width - frame.right, yTemp(celsius), "#e0e0e0", 1),
      text(frame.left - 8, yTemp(celsius) + 4, `${celsius}`, 'text-anchor="end"'),
    ]),
    ...ticks(0, wettest, 50).map((mm) =>
      text(frame.width - frame.right + 8, yRain(mm) + 4, `${mm}`),
    ),
    ...months.flatMap((month, index) => [
      rect(x(index) - step * 0.3, yRain(month.precipitation_per_year), step * 0.6, bottom, {
        fill: colours.rain,
        tip: `${month.name}: ${month.precipitation_per_year} mm a year`,
      }),
      line(x(index), yTemp(month.coldest), x(index), yTemp(month.hottest), colours.extremes, 3),
      line(x(index), yTemp(month.temp_min), x(index), yTemp(month.temp_max), colours.range, 9),
      text(x(index), bottom + 20, month.name, 'text-anchor="middle"'),
    ]),
    line(frame.left, bottom, frame.width - frame.right, bottom, colours.ink, 1),
    axisTitle(20, "Temperature (°C)"),
    axisTitle(frame.width - 14, "Precipitation (mm a month)"),
    ...legend([
      ["mean daily low to high", colours.range],
      ["coldest to hottest day", colours.extremes],
      ["precipitation", colours.rain],
    ]),
  ];
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${frame.width} ${frame.height}" ` +
      `role="img" font-family="sans-serif" font-size="12" fill="${colours.ink}">`,
    `<title>${escaped(title)}</title>`,
    `<rect width="${frame.width}" height="${frame.height}" fill="white"/>`,
    ...parts,
    "</svg>\n",
  ].join("\n");
}

function ticks(from: number, to: number, step: number): number[] {
  return Array.from({ length: Math.floor((to - from) / step) + 1 }, (_, n) => from + n * step);
}

function legend(entries: [string, string][]): string[] {
  const y = frame.height - 24;
  return entries.flatMap(([label, colour], index) => {
    const left = frame.left + index * 220;
    return [
      `<rect x="${left}" y="${y - 10}" width="14" height="12" fill="${colour}"/>`,
      text(left + 22, y, label),
    ];
  });
}

function axisTitle(x: number, label: string): string {
  const y = frame.top + plotHeight / 2;
  return text(x, y, label, `text-anchor="middle" transform="rotate(-90 ${x} ${n(y)})"`);
}

function rect(
  x: number,
  y: number,
  width: number,
  bottom: number,
  { fill, tip }: { fill: string; tip: string },
): string {
  const box = `x="${n(x)}" y="${n(y)}" width="${n(width)}" height="${n(bottom - y)}"`;
  return `<rect ${box} fill="${fill}"><title>${escaped(tip)}</title></rect>`;
}

function line(x1: number, y1: number, x2: number, y2: number, colour: string, width: number) {
  const ends = `x1="${n(x1)}" y1="${n(y1)}" x2="${n(x2)}" y2="${n(y2)}"`;
  return `<line ${ends} stroke="${colour}" stroke-width="${width}"/>`;
}

function text(x: number, y: number, content: string, more = ""): string {
  return `<text x="${n(x)}" y="${n(y)}" ${more}>${escaped(content)}</text>`;
}

const n = (value: number) => String(Math.round(value * 100) / 100);

const escaped = (value: string) =>
  value.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
