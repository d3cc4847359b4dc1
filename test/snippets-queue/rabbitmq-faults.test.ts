// RabbitMQ killed, and the network cut, under load: what was confirmed is delivered at least once,
// every publish ends, and the work goes on by itself.
import t, { type Test } from "tap";
import { BrokerDown } from "../../master/snippets/broker/broker.ts";
import type { RabbitBroker } from "../../master/snippets/broker/rabbitmq.ts";
import type { TestRabbit } from "../rig/rabbitmq.ts";
import { TcpProxy } from "../rig/tcp-proxy.ts";
import { until } from "../rig/until.ts";
import { Deliveries } from "./deliveries.ts";
import { queueItem, queueItems } from "./items.ts";
import { countsOf, newHost, startBroker, withRabbit } from "./rabbit-rig.ts";

const pythonQueue = "edgedag.snippets.python";

await withRabbit(register);

/** Publishes from several sides, some of it in batches, until it is stopped. */
class Load {
  readonly confirmed = new Set<string>();
  refusals = 0;
  longestMs = 0;
  #isStopped = false;
  readonly #sides: Promise<void>[];

  constructor(broker: RabbitBroker) {
    this.#sides = [1, 1, 5, 20].map((size) => this.#publish(broker, size));
  }

  /** Waits for `n` more confirmed ones. */
  async more(n: number): Promise<void> {
    const goal = this.confirmed.size + n;
    await until(
      `${n} more are confirmed`,
      () => this.confirmed.size,
      (size) => size >= goal,
    );
  }

  /** Resolves when every publish has ended. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await Promise.all(this.#sides);
  }

  async #publish(broker: RabbitBroker, size: number): Promise<void> {
    while (!this.#isStopped) {
      const items = queueItems(size);
      const from = performance.now();
      try {
        await broker.publish(items);
        for (const { id } of items) this.confirmed.add(id);
      } catch (error) {
        if (!(error instanceof BrokerDown)) throw error;
        this.refusals += 1;
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      this.longestMs = Math.max(this.longestMs, performance.now() - from);
    }
  }
}

/** Works for a moment on each; some come again first. */
function worker(): Deliveries {
  let count = 0;
  return new Deliveries((delivery) => {
    count += 1;
    if (count % 10 === 0) delivery.again(5);
    else setTimeout(() => delivery.done(), 3);
  });
}

async function allDelivered(t: Test, load: Load, deliveries: Deliveries[]): Promise<void> {
  const missing = () => {
    const delivered = new Set(deliveries.flatMap(({ ids }) => ids));
    return [...load.confirmed].filter((id) => !delivered.has(id));
  };
  await until("what was confirmed is delivered", missing, (ids) => ids.length === 0, {
    describe: (ids) => `${ids.length} of ${load.confirmed.size} are not, as ${ids[0]}`,
  });
  t.pass(`${load.confirmed.size} confirmed, ${deliveries.map(({ ids }) => ids.length)} delivered`);
}

function register(rabbit: TestRabbit): void {
  t.test("a broker that is killed under load loses nothing that it confirmed", async (t) => {
    const url = await newHost(rabbit);
    const options = { window: 20, confirmMs: 5000 };
    const one = await startBroker(t, url, { ...options, deliveries: worker() });
    const two = await startBroker(t, url, { ...options, deliveries: worker() });
    const load = new Load(one.broker);
    for (let round = 1; round <= 2; round += 1) {
      await load.more(500);
      const { refusals } = load;
      rabbit.kill();
      await until(
        "both know",
        () => [one, two].map(({ deliveries }) => deliveries.losses.length),
        (losses) => losses.every((count) => count === round),
      );
      await until(
        "a publish is refused at once",
        () => load.refusals,
        (count) => count > refusals + 20,
      );
      t.type(one.broker.problem(), "string");
      await rabbit.startAgain();
      await until(
        "both are connected again",
        () => [one, two].map(({ deliveries }) => deliveries.readies),
        (readies) => readies.every((count) => count === round + 1),
      );
    }
    await load.more(500);
    await load.stop();
    t.ok(load.longestMs < 5500, `the longest publish took ${Math.round(load.longestMs)} ms`);
    await allDelivered(t, load, [one.deliveries, two.deliveries]);
    await until(
      "nothing is left",
      () => countsOf(rabbit, url, pythonQueue),
      ({ ready, unsettled }) => ready + unsettled === 0,
    );
    t.ok([one, two].every(({ deliveries }) => deliveries.ids.length > 100));
  });

  t.test("a broker that is killed keeps what waits, with its priorities", async (t) => {
    const url = await newHost(rabbit);
    const { broker, deliveries } = await startBroker(t, url, { window: 1 });
    await broker.publish([queueItem()]);
    await deliveries.nth(1);
    const items = [3, 9, 0, 9].map((priority) => queueItem({ priority }));
    await broker.publish(items);
    rabbit.kill();
    await rabbit.startAgain();
    for (let n = 2; n <= 6; n += 1) (await deliveries.nth(n)).done();
    const priorities = deliveries.all.slice(1).map(({ item }) => item.priority);
    t.strictSame(priorities, [9, 9, 5, 3, 0]);
  });

  t.test("a connection that is cut in the middle of anything loses nothing", async (t) => {
    const url = await newHost(rabbit);
    await using proxy = await TcpProxy.start(rabbit.port);
    const near = url.replace(/:\d+\//, `:${proxy.port}/`);
    const deliveries = worker();
    const { broker } = await startBroker(t, near, { window: 20, deliveries, confirmMs: 5000 });
    const load = new Load(broker);
    // Of the broker's words: deliveries, confirms, and the greetings of the next connection.
    const cuts = [1, 37, 300, 511, 700, 1024, 2000, 3001, 5000, 9000, 20_000, 50_000];
    for (const bytes of cuts) {
      const before = proxy.cuts;
      proxy.cutAfter(bytes);
      await until(
        `it is cut after ${bytes} bytes`,
        () => proxy.cuts,
        (count) => count > before,
      );
      await load.more(50);
    }
    await load.stop();
    t.ok(load.longestMs < 5500, `the longest publish took ${Math.round(load.longestMs)} ms`);
    t.equal(deliveries.losses.length, cuts.length, "each cut is one loss");
    t.equal(deliveries.readies, cuts.length + 1);
    await allDelivered(t, load, [deliveries]);
    await until(
      "nothing is left",
      () => countsOf(rabbit, url, pythonQueue),
      ({ ready, unsettled }) => ready + unsettled === 0,
    );
    const connections = await rabbit.ctl("list_connections", "--no-table-headers", "vhost");
    const host = new URL(url).pathname.slice(1);
    t.equal(
      connections.split("\n").filter((line) => line === host).length,
      2,
      "no connection of an earlier session is left",
    );
  });

  t.test("what was held when a connection was cut is void, and comes again", async (t) => {
    const url = await newHost(rabbit);
    await using proxy = await TcpProxy.start(rabbit.port);
    const near = url.replace(/:\d+\//, `:${proxy.port}/`);
    const { broker, deliveries } = await startBroker(t, near);
    await broker.publish(queueItems(4));
    const held = await deliveries.first(4);
    held[3]?.again(1);
    proxy.isRefusing = true;
    proxy.cut();
    await until(
      "the loss is told",
      () => deliveries.losses,
      (losses) => losses.length === 1,
    );
    held[0]?.done();
    held[1]?.again(0);
    held[2]?.reject("it is void");
    await t.rejects(broker.publish([queueItem()]), BrokerDown);
    proxy.isRefusing = false;
    const again = (await deliveries.first(8)).slice(4);
    t.strictSame(
      again.map(({ item }) => item.id).sort(),
      held.map(({ item }) => item.id),
    );
    t.ok(again.every(({ isRedelivered }) => isRedelivered));
    for (const delivery of held) delivery.done();
    t.strictSame(await broker.depths(), { python: 4 }, "the old ones settle nothing");
    t.equal(deliveries.losses.length, 1);
  });
}
