// The embedded broker: the suite of all brokers, and what is its own: it reads a store in pages, and
// waits for one that cannot be read.
import t from "tap";
import { EmbeddedBroker } from "../../master/snippets/broker/embedded.ts";
import { type QueueItem, type SnippetStore, StoreDown } from "../../master/snippets/store/store.ts";
import { brokerSuite } from "./broker-suite.ts";
import { Deliveries } from "./deliveries.ts";
import { queueItem, queueItems } from "./items.ts";

/** The part of a store that the broker sees. */
class QueuedItems implements Pick<SnippetStore, "queued"> {
  readonly items: QueueItem[] = [];
  readonly asked: (string | undefined)[] = [];
  isDown = false;
  /** Before a page is given. */
  onPage: () => Promise<void> = async () => {};

  async queued(after: string | undefined, limit: number): Promise<QueueItem[]> {
    this.asked.push(after);
    if (this.isDown) throw new StoreDown("the disk is gone", "bring it back");
    await this.onPage();
    return this.items.filter(({ id }) => after === undefined || id > after).slice(0, limit);
  }
}

brokerSuite("embedded", async () => {
  const store = new QueuedItems();
  return {
    broker: () => new EmbeddedBroker(store),
    submit: async (broker, items) => {
      store.items.push(...items);
      await broker.publish(items);
    },
    finish: (id) => {
      const index = store.items.findIndex((item) => item.id === id);
      store.items.splice(index, 1);
    },
  };
});

t.test("what is queued is read in pages, each snippet once", async (t) => {
  const store = new QueuedItems();
  store.items.push(...queueItems(25));
  const broker = new EmbeddedBroker(store, { pageSize: 10 });
  const deliveries = new Deliveries();
  await broker.start(["python"], 1, deliveries);
  t.strictSame(
    deliveries.ids,
    store.items.map(({ id }) => id),
  );
  t.strictSame(store.asked, [undefined, store.items[9]?.id, store.items[19]?.id]);
  t.equal(deliveries.readies, 1);
  await broker.close();
});

t.test("what is published while the store is read is not delivered twice", async (t) => {
  const store = new QueuedItems();
  store.items.push(...queueItems(3));
  const broker = new EmbeddedBroker(store, { pageSize: 2 });
  const late = queueItem();
  store.onPage = async () => {
    if (store.asked.length !== 2) return;
    store.items.push(late);
    // The new one, and one that an earlier page had.
    await broker.publish([late, ...store.items.slice(0, 1)]);
  };
  const deliveries = new Deliveries();
  await broker.start(["python"], 1, deliveries);
  t.strictSame(deliveries.ids.sort(), store.items.map(({ id }) => id).sort());
  await broker.close();
});

t.test("a language that is not served stays in the store", async (t) => {
  const store = new QueuedItems();
  store.items.push(queueItem({ language: "cobol" }), queueItem());
  const broker = new EmbeddedBroker(store);
  const deliveries = new Deliveries();
  await broker.start(["python"], 1, deliveries);
  await broker.publish([queueItem({ language: "cobol" })]);
  t.strictSame(
    deliveries.all.map(({ item }) => item.language),
    ["python"],
  );
  t.strictSame(await broker.depths(), { python: 1 });
  await broker.close();
});

t.test("a store that cannot be read is a problem, until it can", async (t) => {
  const store = new QueuedItems();
  store.items.push(...queueItems(3));
  store.isDown = true;
  const broker = new EmbeddedBroker(store, { retryMs: 5 });
  const deliveries = new Deliveries();
  await broker.start(["python"], 1, deliveries);
  t.match(broker.problem(), /cannot be read: the disk is gone/);
  t.equal(deliveries.readies, 0);
  await broker.publish([queueItem({ id: "z" })]);
  t.strictSame(deliveries.ids, ["z"], "what is published goes its way");
  store.isDown = false;
  await deliveries.first(4);
  t.equal(broker.problem(), undefined);
  t.equal(deliveries.readies, 1);
  await broker.close();
});

t.test("closed while the store is read, it delivers nothing more", async (t) => {
  const store = new QueuedItems();
  store.items.push(...queueItems(3));
  const broker = new EmbeddedBroker(store, { pageSize: 2 });
  const deliveries = new Deliveries();
  store.onPage = async () => {
    if (store.asked.length === 2) await broker.close();
  };
  await broker.start(["python"], 1, deliveries);
  await broker.publish(store.items);
  t.equal(deliveries.all.length, 2);
  t.equal(deliveries.readies, 0);
});
