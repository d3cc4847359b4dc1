// The one way in which end-to-end tests wait: ask until it is so. Time only limits how long a test
// that has failed goes on asking.

export const patienceMs = 20_000;
const askEveryMs = 20;

export interface UntilOptions<T> {
  withinMs?: number;
  /** What the error shows of the last value. */
  describe?(value: T): string;
}

export async function until<T>(
  what: string,
  ask: () => T | Promise<T>,
  isSo: (value: T) => boolean,
  { withinMs = patienceMs, describe = (value) => JSON.stringify(value) }: UntilOptions<T> = {},
): Promise<T> {
  const limit = Date.now() + withinMs;
  while (true) {
    const value = await ask();
    if (isSo(value)) return value;
    if (Date.now() > limit)
      throw new Error(`not within ${withinMs} ms: ${what}: ${describe(value)}`);
    await new Promise((resolve) => setTimeout(resolve, askEveryMs));
  }
}
