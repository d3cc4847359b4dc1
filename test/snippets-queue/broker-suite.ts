// What every broker must do, whatever carries the messages.
import t, { type Test } from "tap";
import type { Broker } from "../../master/snippets/broker/broker.ts";
import type { QueueItem } from "../../master/snippets/store/store.ts";
import { until } from "../rig/until.ts";
import { Deliveries } from "./deliveries.ts";
import { queueItem, queueItems } from "./items.ts";

/** Queues of a test's own. */
export interface Place {
  /** Another one on the same queues, as another master or the same after a restart. */
  broker(): Broker;
  /** As a door does it: kept by the store, then published. */
  submit(broker: Broker, items: readonly QueueItem[]): Promise<void>;
  /** The store has an end for it. */
  finish(id: string): void;
}

type Begin = (more?: { window?: number; deliveries?: Deliveries }) => Promise<{
  broker: Broker;
  deliveries: Deliveries;
}>;

const languages = ["python", "rust"];

export function brokerSuite(name: string, open: () => Promise<Place>): void {
  /** Brokers are closed at the end of the test. */
  const test = (title: string, body: (t: Test, place: Place, begin: Begin) => Promise<void>) =>
    t.test(`${name}: ${title}`, async (t) => {
      const place = await open();
      await body(t, place, async ({ window = 100, deliveries = new Deliveries() } = {}) => {
        const broker = place.broker();
        t.teardown(() => broker.close());
        await broker.start(languages, window, deliveries);
        return { broker, deliveries };
      });
    });

  test("what is published is delivered once, and as it was", async (t, place, begin) => {
    const { broker, deliveries } = await begin();
    t.equal(deliveries.readies, 1);
    t.equal(broker.problem(), undefined);
    const items = [
      queueItem({ owner: "", priority: 0, createdAt: 1_700_000_000_123 }),
      queueItem({ owner: "änn/ 'x'\n", priority: 9 }),
      queueItem({ language: "rust" }),
    ];
    await place.submit(broker, items);
    const delivered = await deliveries.first(3);
    t.strictSame(new Set(delivered.map(({ item }) => item)), new Set(items));
    t.notOk(delivered.some(({ isRedelivered }) => isRedelivered));
    for (const delivery of delivered) delivery.done();
    await isEmpty(broker);
    t.equal(deliveries.all.length, 3, "none of them twice");
    t.strictSame(deliveries.losses, []);
  });

  test("nothing is nothing", async (t, place, begin) => {
    const { broker } = await begin();
    await place.submit(broker, []);
    t.pass("it resolves");
  });

  test("a thousand are delivered once each", async (t, place, begin) => {
    const deliveries = new Deliveries((delivery) => delivery.done());
    const { broker } = await begin({ deliveries, window: 50 });
    const items = queueItems(1000);
    for (let i = 0; i < items.length; i += 100) {
      await place.submit(broker, items.slice(i, i + 100));
    }
    await deliveries.first(1000);
    await isEmpty(broker);
    t.strictSame([...deliveries.ids].sort(), items.map(({ id }) => id).sort());
  });

  test("what is not settled comes again after a close", async (t, place, begin) => {
    const one = await begin();
    const items = queueItems(4);
    await place.submit(one.broker, items);
    const [first, second, ...rest] = await one.deliveries.first(4);
    first?.done();
    place.finish(first?.item.id ?? "");
    second?.again(3_600_000);
    await one.broker.close();
    const other = await begin();
    const again = await other.deliveries.first(3);
    const left = [second, ...rest].map((delivery) => delivery?.item.id);
    t.strictSame(new Set(again.map(({ item }) => item.id)), new Set(left));
    t.ok(
      again.every(({ isRedelivered }) => isRedelivered),
      "and says so",
    );
    for (const delivery of again) delivery.done();
    await isEmpty(other.broker);
    t.equal(other.deliveries.all.length, 3, "what was done does not come again");
  });

  test("what was published while nobody worked comes at the start", async (t, place, begin) => {
    const one = await begin({ window: 1 });
    const items = queueItems(5);
    await place.submit(one.broker, items);
    await one.broker.close();
    const other = await begin();
    await other.deliveries.first(5);
    t.strictSame(new Set(other.deliveries.ids), new Set(items.map(({ id }) => id)));
  });

  test("again delivers after the delay, and not before", async (t, place, begin) => {
    const { broker, deliveries } = await begin();
    await place.submit(broker, [queueItem()]);
    const first = await deliveries.nth(1);
    const from = performance.now();
    first.again(60);
    t.equal((await broker.depths()).python, 1, "it is still unsettled");
    const second = await deliveries.nth(2);
    t.ok(performance.now() - from >= 59, "it took its time");
    t.strictSame(second.item, first.item);
    t.ok(second.isRedelivered);
    second.again(0);
    (await deliveries.nth(3)).done();
    await isEmpty(broker);
  });

  test("a delivery is settled once", async (t, place, begin) => {
    const { broker, deliveries } = await begin();
    await place.submit(broker, queueItems(2));
    const [first, second] = await deliveries.first(2);
    first?.done();
    first?.again(0);
    first?.reject("too late");
    first?.done();
    t.equal((await broker.depths()).python, 1, "the other one is not settled by it");
    second?.done();
    await isEmpty(broker);
    t.equal(deliveries.all.length, 2);
    t.strictSame(deliveries.losses, []);
  });

  test("what is rejected does not come again", async (t, place, begin) => {
    const { broker, deliveries } = await begin();
    await place.submit(broker, queueItems(2));
    const [first, second] = await deliveries.first(2);
    first?.reject("no such snippet");
    second?.done();
    await isEmpty(broker);
    t.equal(deliveries.all.length, 2);
  });

  test("depths count what is not settled, by language", async (t, place, begin) => {
    const { broker, deliveries } = await begin();
    await place.submit(broker, [...queueItems(3), queueItem({ language: "rust" })]);
    const [first] = await deliveries.first(4);
    t.strictSame(await broker.depths(), { python: 3, rust: 1 });
    first?.done();
    await until(
      "one less",
      async () => Object.values(await broker.depths()).reduce((a, b) => a + b, 0),
      (sum) => sum === 3,
    );
  });

  test("after a close nothing is delivered, and settling means nothing", async (t, place, begin) => {
    const one = await begin();
    await place.submit(one.broker, queueItems(2));
    const [first, second] = await one.deliveries.first(2);
    first?.again(1);
    await one.broker.close();
    second?.done();
    second?.again(0);
    second?.reject("too late");
    const other = await begin();
    await other.deliveries.first(2);
    t.equal(one.deliveries.all.length, 2);
    t.strictSame(one.deliveries.losses, [], "it was no loss");
    await one.broker.close();
    t.pass("a second close is none");
  });
}

/** The broker itself says that nothing is left. */
async function isEmpty(broker: Broker): Promise<void> {
  await until(
    "the queues are empty",
    () => broker.depths(),
    (depths) => Object.values(depths).every((count) => count === 0),
  );
}
