// Random places in a collection, for SPOP, SRANDMEMBER, HRANDFIELD and RANDOMKEY.

/** A place in [0, size); 0 when there is none. */
export function randomPosition(size: number): number {
  return Math.floor(Math.random() * size);
}

/** `count` different places in [0, size), `count` at most `size`: Floyd's sampling, O(count). */
export function distinctPositions(size: number, count: number): number[] {
  const chosen = new Set<number>();
  for (let bound = size - count; bound < size; bound++) {
    const position = randomPosition(bound + 1);
    chosen.add(chosen.has(position) ? bound : position);
  }
  return [...chosen];
}
