// RabbitMQ as the broker, with a real one: the suite of all brokers, and what is its own: priorities,
// the window, several masters, messages that are set aside.
import t from "tap";
import type { TestRabbit } from "../rig/rabbitmq.ts";
import { until } from "../rig/until.ts";
import { brokerSuite } from "./broker-suite.ts";
import { Deliveries } from "./deliveries.ts";
import { queueItem, queueItems } from "./items.ts";
import {
  countsOf,
  getOne,
  LogLines,
  newHost,
  ownChannel,
  rabbitBroker,
  startBroker,
  withRabbit,
} from "./rabbit-rig.ts";

const pythonQueue = "edgedag.snippets.python";
const deadQueue = "edgedag.snippets.dead";

const isSome = (value: unknown) => value !== undefined;

const noItems: { name: string; content: string; why: RegExp }[] = [
  { name: "no JSON", content: "{", why: /not JSON/ },
  { name: "not an object", content: "7", why: /no queue item/ },
  { name: "no id", content: JSON.stringify({ ...queueItem(), id: undefined }), why: /id: / },
  {
    name: "a priority that there is not",
    content: JSON.stringify(queueItem({ priority: 1e9 })),
    why: /priority: /,
  },
  {
    name: "another queue's language",
    content: JSON.stringify(queueItem({ language: "rust" })),
    why: /its language is rust, and the queue that of python/,
  },
  { name: "too long", content: "x".repeat(70_000), why: /70000 bytes/ },
];

await withRabbit(register);

function register(rabbit: TestRabbit): void {
  brokerSuite("rabbitmq", async () => {
    const url = await newHost(rabbit);
    return {
      broker: () => rabbitBroker(url),
      submit: (broker, items) => broker.publish(items),
      finish: () => {},
    };
  });

  t.test("a backlog is delivered by priority, and by age inside of one", async (t) => {
    const url = await newHost(rabbit);
    const { broker, deliveries } = await startBroker(t, url, { window: 1 });
    await broker.publish([queueItem()]);
    const holder = await deliveries.nth(1);
    const items = [5, 0, 9, 5, 3, 9, 0, 8].map((priority) => queueItem({ priority }));
    for (const item of items) await broker.publish([item]);
    holder.done();
    for (let n = 2; n <= items.length + 1; n += 1) (await deliveries.nth(n)).done();
    const byPriority = [...items].sort((a, b) => b.priority - a.priority);
    t.strictSame(
      deliveries.ids.slice(1),
      byPriority.map(({ id }) => id),
    );
  });

  t.test("no more than the window is unsettled, of each language", async (t) => {
    const url = await newHost(rabbit);
    const { broker, deliveries } = await startBroker(t, url, {
      languages: ["python", "rust"],
      window: 3,
    });
    await broker.publish([...queueItems(10), ...queueItems(5, { language: "rust" })]);
    await deliveries.first(6);
    const counts = async () => ({
      python: await countsOf(rabbit, url, pythonQueue),
      rust: await countsOf(rabbit, url, "edgedag.snippets.rust"),
    });
    t.strictSame(await counts(), {
      python: { ready: 7, unsettled: 3 },
      rust: { ready: 2, unsettled: 3 },
    });
    t.strictSame(await broker.depths(), { python: 10, rust: 5 }, "both kinds are counted");
    const python = deliveries.all.filter(({ item }) => item.language === "python");
    python[0]?.again(3_600_000);
    t.strictSame((await counts()).python, { ready: 7, unsettled: 3 }, "a delay keeps the place");
    python[1]?.done();
    const next = await deliveries.nth(7);
    t.equal(next.item.language, "python");
    t.strictSame((await counts()).python, { ready: 6, unsettled: 3 });
  });

  t.test("two masters share the work, each snippet once", async (t) => {
    const url = await newHost(rabbit);
    const take = () => new Deliveries((delivery) => setImmediate(() => delivery.done()));
    const one = await startBroker(t, url, { window: 2, deliveries: take() });
    const two = await startBroker(t, url, { window: 2, deliveries: take() });
    const items = queueItems(400);
    await one.broker.publish(items);
    await until(
      "all are delivered",
      () => one.deliveries.all.length + two.deliveries.all.length,
      (count) => count >= items.length,
    );
    t.strictSame(
      [...one.deliveries.ids, ...two.deliveries.ids].sort(),
      items.map(({ id }) => id),
    );
    for (const { deliveries } of [one, two]) {
      t.ok(deliveries.all.length > 20, `one of them took ${deliveries.all.length}`);
    }
  });

  t.test("what a master held when it ended goes to the other one", async (t) => {
    const url = await newHost(rabbit);
    const one = await startBroker(t, url, { window: 2 });
    await one.broker.publish(queueItems(2));
    await one.deliveries.first(2);
    const two = await startBroker(t, url);
    t.equal(two.deliveries.all.length, 0);
    await one.broker.close();
    await two.deliveries.first(2);
    t.strictSame(two.deliveries.ids.sort(), one.deliveries.ids.sort());
  });

  t.test("the ack of what was done just before a close is not lost", async (t) => {
    const url = await newHost(rabbit);
    const one = await startBroker(t, url);
    await one.broker.publish(queueItems(50));
    for (const delivery of await one.deliveries.first(50)) delivery.done();
    await one.broker.close();
    t.strictSame(await countsOf(rabbit, url, pythonQueue), { ready: 0, unsettled: 0 });
  });

  t.test("what was published before a close is confirmed before it ends", async (t) => {
    const url = await newHost(rabbit);
    const one = await startBroker(t, url, { window: 1 });
    const published = one.broker.publish(queueItems(200));
    await one.broker.close();
    await published;
    t.strictSame(await countsOf(rabbit, url, pythonQueue), { ready: 200, unsettled: 0 });
  });

  t.test("a rejected message is set aside with its reason", async (t) => {
    const url = await newHost(rabbit);
    const { broker, deliveries } = await startBroker(t, url);
    const item = queueItem({ priority: 7 });
    await broker.publish([item]);
    (await deliveries.nth(1)).reject("no such snippet: it was removed");
    await until(
      "it is settled",
      () => broker.depths(),
      ({ python }) => python === 0,
    );
    const channel = await ownChannel(t, url);
    const dead = await getOne(channel, deadQueue);
    t.strictSame(JSON.parse(dead?.content.toString() ?? "0"), item);
    t.match(dead?.properties, { messageId: item.id, deliveryMode: 2 });
    t.match(dead?.properties.headers, {
      "edgedag-reason": "no such snippet: it was removed",
      "edgedag-language": "python",
    });
  });

  t.test("what is no queue item is set aside by itself, and the rest goes on", async (t) => {
    const url = await newHost(rabbit);
    const log = new LogLines();
    const { broker, deliveries } = await startBroker(t, url, { log, window: 1 });
    const channel = await ownChannel(t, url);
    for (const { content } of noItems) {
      channel.sendToQueue(pythonQueue, Buffer.from(content), { persistent: true });
    }
    // Fields that this version does not know are no fault.
    const item = queueItem();
    channel.sendToQueue(pythonQueue, Buffer.from(JSON.stringify({ ...item, color: "red" })));
    t.strictSame((await deliveries.nth(1)).item, item);
    for (const { name, content, why } of noItems) {
      const dead = await getOne(channel, deadQueue);
      t.equal(dead?.content.toString(), content, name);
      t.match(dead?.properties.headers?.["edgedag-reason"], why, name);
    }
    t.equal(log.lines.filter((line) => /set aside/.test(line)).length, noItems.length);
    t.equal((await broker.depths()).python, 1);
  });

  t.test("what people reject with their own tools is not lost", async (t) => {
    const url = await newHost(rabbit);
    const { broker } = await startBroker(t, url);
    await broker.close();
    const channel = await ownChannel(t, url);
    channel.sendToQueue(pythonQueue, Buffer.from("by hand"));
    const got = await until("it is there", () => getOne(channel, pythonQueue), isSome);
    if (got !== undefined) channel.nack(got, false, false);
    const dead = await until("it is set aside", () => getOne(channel, deadQueue), isSome);
    t.equal(dead?.content.toString(), "by hand");
  });

  t.test("messages and queues survive the end of the broker", async (t) => {
    const url = await newHost(rabbit);
    const one = await startBroker(t, url, { window: 1 });
    await one.broker.publish(queueItems(3));
    const channel = await ownChannel(t, url);
    const got = await getOne(channel, pythonQueue);
    t.equal(got?.properties.deliveryMode, 2, "messages are persistent");
    const queue = await rabbit.ctl(
      "list_queues",
      "-p",
      new URL(url).pathname.slice(1),
      "--no-table-headers",
      "name",
      "durable",
      "type",
      "arguments",
    );
    const line = queue.split("\n").find((words) => words.startsWith(`${pythonQueue}\t`));
    t.match(line, /\ttrue\tclassic\t/);
    t.match(line, /x-max-priority.*10/);
  });
}
