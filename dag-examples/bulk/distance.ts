// Sums the flights up by distance, in classes of 500 miles.

interface Flight {
  delay_minutes: number;
  distance_miles: number;
}

export function byDistance({ flights }: { flights: Flight[] }) {
  const classes = new Map<number, { flights: number; delay_minutes: number }>();
  for (const flight of flights) {
    const from = Math.floor(flight.distance_miles / 500) * 500;
    const entry = classes.get(from) ?? { flights: 0, delay_minutes: 0 };
    entry.flights += 1;
    entry.delay_minutes += flight.delay_minutes;
    classes.set(from, entry);
  }
  return [...classes]
    .toSorted(([a], [b]) => a - b)
    .map(([from, entry]) => ({ from_miles: from, ...entry }));
}
