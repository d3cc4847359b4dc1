// The consumer in Node.js: reads the same list as the one in Python, at the same time.
import { events, store } from "edgedag";

interface Tick {
  symbol: string;
  date: string;
  price: number;
}

/** The highest and lowest price of each stock in its last `months` months. */
export async function range({ months }: { months: number }) {
  const windows = new Map<string, number[]>();
  for await (const tick of ticks()) {
    const window = windows.get(tick.symbol) ?? [];
    windows.set(tick.symbol, [...window, tick.price].slice(-months));
  }
  const found: { [symbol: string]: { low: number; high: number } } = {};
  for (const [symbol, window] of windows) {
    found[symbol] = { low: Math.min(...window), high: Math.max(...window) };
  }
  return found;
}

/** Every price, once, as it comes. Subscribed before the first look, so that no call is missed. */
async function* ticks(): AsyncGenerator<Tick> {
  const stream = events.subscribe("market.tick", "market.closed");
  await stream.ready;
  try {
    let read = 0;
    while (true) {
      // The total is read first: it is written last, so the list is then complete.
      const total = await store.get("ticks.total");
      const texts = (await store.execute("LRANGE", "ticks", read, -1)) as Buffer[];
      for (const text of texts) {
        read += 1;
        yield JSON.parse(text.toString());
      }
      if (total !== null && read === Number(total)) return;
      await stream.next();
    }
  } finally {
    stream.close();
  }
}
