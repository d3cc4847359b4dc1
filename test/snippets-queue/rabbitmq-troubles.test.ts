// What a person does wrong with RabbitMQ, or RabbitMQ with us: each is said with a remedy, nothing
// hangs, no password is shown, and when it is over the work goes on by itself.
import t from "tap";
import { BrokerDown } from "../../master/snippets/broker/broker.ts";
import type { RabbitBroker } from "../../master/snippets/broker/rabbitmq.ts";
import { run } from "../e2e/command.ts";
import type { TestRabbit } from "../rig/rabbitmq.ts";
import { TcpProxy } from "../rig/tcp-proxy.ts";
import { until } from "../rig/until.ts";
import { Deliveries } from "./deliveries.ts";
import { queueItem, queueItems } from "./items.ts";
import {
  LogLines,
  newHost,
  ownChannel,
  rabbitBroker,
  startBroker,
  withRabbit,
} from "./rabbit-rig.ts";

const pythonQueue = "edgedag.snippets.python";

await withRabbit(register);

/** What `publish` rejects with; fails where it does not. */
async function refusalOf(broker: RabbitBroker, items = [queueItem()]): Promise<BrokerDown> {
  try {
    await broker.publish(items);
  } catch (error) {
    if (error instanceof BrokerDown) return error;
    throw error;
  }
  throw new Error("it was published");
}

function register(rabbit: TestRabbit): void {
  const hostOf = (url: string) => new URL(url).pathname.slice(1);

  t.test("a login that is refused is said, without the password", async (t) => {
    const log = new LogLines();
    const url = `amqp://ann:hunter2@127.0.0.1:${rabbit.port}`;
    const { broker, deliveries } = await startBroker(t, url, { log });
    const error = await refusalOf(broker);
    t.match(error.message, /refused the login/);
    t.match(error.remedy, /user and password in AMQP_URL/);
    t.match(broker.problem(), /refused the login; correct user/);
    const shown = [broker.problem(), error.message, error.stack, error.remedy, ...log.lines];
    t.notMatch(shown.join("\n"), /hunter2|ann:/);
    t.strictSame(deliveries.losses, [], "there was nothing to lose");
  });

  t.test("a virtual host that is missing is said, and taken when it is made", async (t) => {
    const url = `${rabbit.url}/later`;
    const { broker, deliveries } = await startBroker(t, url);
    t.match(broker.problem(), /later refused the virtual host, .*; make it with .*add_vhost/);
    await rabbit.ctl("add_vhost", "later");
    await rabbit.ctl("set_permissions", "-p", "later", "guest", "", ".*", ".*");
    await until(
      "to configure is missed",
      () => broker.problem() ?? "",
      (problem) => /refused access: .*edgedag.*set_permissions/.test(problem),
    );
    await rabbit.ctl("set_permissions", "-p", "later", "guest", ".*", ".*", ".*");
    await until(
      "it is connected",
      () => broker.problem(),
      (problem) => problem === undefined,
    );
    await broker.publish([queueItem()]);
    await deliveries.nth(1);
  });

  t.test("a queue that exists with other properties is said, and made anew", async (t) => {
    const url = await newHost(rabbit);
    const channel = await ownChannel(t, url);
    await channel.assertQueue(pythonQueue, { durable: true });
    const log = new LogLines();
    const { broker, deliveries } = await startBroker(t, url, { log });
    t.match(broker.problem(), /other properties: .*edgedag\.snippets\.python.*delete_queue/);
    await until(
      "it has tried a few times",
      async () => (await rabbit.ctl("list_connections", "vhost")).split("\n"),
      (hosts) => hosts.filter((host) => host === hostOf(url)).length <= 2,
    );
    await channel.deleteQueue(pythonQueue);
    await until(
      "it is connected",
      () => broker.problem(),
      (problem) => problem === undefined,
    );
    await broker.publish([queueItem()]);
    await deliveries.nth(1);
    const told = log.lines.filter((line) => /other properties/.test(line));
    t.equal(told.length, 1, "the same trouble is logged once");
  });

  t.test("a message that no queue takes is an error", async (t) => {
    const url = await newHost(rabbit);
    const { broker, deliveries } = await startBroker(t, url);
    const error = await refusalOf(broker, [queueItem(), queueItem({ language: "cobol" })]);
    t.match(error.message, /has no queue for cobol/);
    t.equal(broker.problem(), undefined, "the rest goes on");
    await broker.publish([queueItem()]);
    await deliveries.first(2);
    t.strictSame(deliveries.losses, []);
  });

  t.test("a queue that is deleted meanwhile is declared again", async (t) => {
    const url = await newHost(rabbit);
    const { broker, deliveries } = await startBroker(t, url);
    const channel = await ownChannel(t, url);
    await channel.deleteQueue(pythonQueue);
    await until(
      "it is connected again",
      () => deliveries.readies,
      (readies) => readies === 2,
    );
    t.match(deliveries.losses, [/lost edgedag\.snippets\.python/]);
    await broker.publish([queueItem()]);
    await deliveries.nth(1);
  });

  t.test("a binding that is taken away is made again", async (t) => {
    const url = await newHost(rabbit);
    const { broker, deliveries } = await startBroker(t, url);
    const channel = await ownChannel(t, url);
    await channel.unbindQueue(pythonQueue, "edgedag.snippets", "python");
    t.match((await refusalOf(broker)).message, /has no queue for python/);
    await until(
      "it is connected again",
      () => deliveries.readies,
      (readies) => readies === 2,
    );
    await broker.publish([queueItem()]);
    await deliveries.nth(1);
  });

  t.test("a queue that is full refuses", async (t) => {
    const url = await newHost(rabbit);
    const policy = JSON.stringify({ "max-length": 3, overflow: "reject-publish" });
    await rabbit.ctl("set_policy", "-p", hostOf(url), "short", "^edgedag", policy);
    const { broker } = await startBroker(t, url, { window: 1 });
    const error = await refusalOf(broker, queueItems(10));
    t.match(error.message, /refused a message/);
    t.match(error.remedy, /policy/);
    t.equal(broker.problem(), undefined);
  });

  t.test("short of memory it refuses at once, and what is done is still taken", async (t) => {
    const url = await newHost(rabbit);
    const { broker, deliveries } = await startBroker(t, url, { confirmMs: 60_000 });
    await broker.publish(queueItems(3));
    const [first, second, third] = await deliveries.first(3);
    t.teardown(() => rabbit.ctl("set_vm_memory_high_watermark", "0.4"));
    await rabbit.ctl("set_vm_memory_high_watermark", "0.00001");
    // RabbitMQ tells only who publishes.
    t.match((await refusalOf(broker)).message, /takes no messages: low on memory/);
    t.match(broker.problem(), /takes no messages: low on memory; free its memory/);
    t.match((await refusalOf(broker)).message, /takes no messages/);
    first?.done();
    await until(
      "the ack got through",
      () => rabbit.ctl("list_queues", "-p", hostOf(url), "--no-table-headers", "messages"),
      (counts) => counts.trim().split("\n").includes("2"),
    );
    second?.reject("not now");
    t.equal((await broker.depths()).python, 2, "it cannot be set aside, so it is kept");
    await rabbit.ctl("set_vm_memory_high_watermark", "0.4");
    await until(
      "it is over",
      () => broker.problem(),
      (problem) => problem === undefined,
    );
    await broker.publish([queueItem()]);
    await deliveries.nth(4);
    third?.done();
    t.strictSame(deliveries.losses, [], "the connection was never lost");
  });

  t.test("a broker that is shut down is said, and missed until it is back", async (t) => {
    const url = await newHost(rabbit);
    const { broker, deliveries } = await startBroker(t, url);
    await broker.publish(queueItems(2));
    await deliveries.first(2);
    await rabbit.ctl("stop_app");
    await until(
      "the loss is told",
      () => deliveries.losses,
      (losses) => losses.length === 1,
    );
    t.match(deliveries.losses, [/closed the connection: broker forced.*shutdown/]);
    t.type((await refusalOf(broker)).remedy, "string");
    await t.rejects(broker.depths(), BrokerDown);
    await rabbit.ctl("start_app");
    await deliveries.first(4);
    t.equal(deliveries.losses.length, 1, "once");
    t.equal(deliveries.readies, 2);
  });

  t.test("a connection on which nothing comes is given up by its heartbeat", async (t) => {
    const url = await newHost(rabbit);
    await using proxy = await TcpProxy.start(rabbit.port);
    const near = `${url.replace(/:\d+\//, `:${proxy.port}/`)}?heartbeat=1`;
    const { broker, deliveries } = await startBroker(t, near, { confirmMs: 200 });
    await broker.publish([queueItem()]);
    await deliveries.nth(1);
    proxy.stall();
    t.match((await refusalOf(broker)).message, /did not confirm within 200 ms/);
    await until(
      "it is connected again",
      () => deliveries.readies,
      (readies) => readies === 2,
    );
    t.match(deliveries.losses, [/Heartbeat timeout/]);
    t.ok((await deliveries.nth(2)).isRedelivered, "what was held comes again");
  });

  t.test("neither a start nor a close waits for a peer that is silent", async (t) => {
    const url = await newHost(rabbit);
    await using proxy = await TcpProxy.start(rabbit.port);
    const near = url.replace(/:\d+\//, `:${proxy.port}/`);
    const one = await startBroker(t, near, { answerMs: 100 });
    proxy.stall();
    await t.rejects(one.broker.depths(), /no answer within 100 ms/);
    await one.broker.close();
    await until(
      "its sockets are gone",
      () => proxy.connections,
      (connections) => connections === 0,
    );
    proxy.isSilent = true;
    const two = await startBroker(t, near, { openMs: 150 });
    t.match(two.broker.problem(), /cannot be reached: no answer within 150 ms/);
    await two.broker.close();
    const three = rabbitBroker(near, { openMs: 60_000 });
    const started = three.start(["python"], 1, new Deliveries());
    await until(
      "it dials",
      () => proxy.connections,
      (connections) => connections === 1,
    );
    await three.close();
    await started;
    await until(
      "no socket is left",
      () => proxy.connections,
      (connections) => connections === 0,
    );
  });
}

t.test("without a broker it goes on trying, and refuses at once", async (t) => {
  await using proxy = await TcpProxy.start(1);
  const log = new LogLines();
  const { broker, deliveries } = await startBroker(
    t,
    `amqp://ann:hunter2@127.0.0.1:${proxy.port}`,
    {
      log,
    },
  );
  const error = await refusalOf(broker);
  t.match(error.message, /cannot be reached/);
  t.match(error.remedy, /AMQP_URL/);
  await t.rejects(broker.depths(), BrokerDown);
  await until(
    "it has tried a few times",
    () => proxy.accepted,
    (accepted) => accepted > 3,
  );
  t.notMatch(`${broker.problem()} ${error.stack} ${log.lines.join("\n")}`, /hunter2|ann:/);
  t.strictSame(deliveries.losses, []);
  await broker.close();
  t.match((await refusalOf(broker)).message, /not connected any more/);
});

t.test("what is closed lets the process end", async (t) => {
  const script = `
    import { RabbitBroker } from "./master/snippets/broker/rabbitmq.ts";
    import { AmqpAddress } from "./master/snippets/broker/rabbitmq/address.ts";
    const address = AmqpAddress.parse("amqp://127.0.0.1:1").value;
    const log = { debug() {}, info() {}, warn() {}, error() {} };
    const broker = new RabbitBroker({ address, log });
    await broker.start([], 1, { delivered() {}, lost() {}, ready() {} });
    await broker.close();
  `;
  const args = ["--input-type=module", "-e", script];
  const ended = await run(process.execPath, args, { timeoutMs: 20_000 });
  t.strictSame([ended.code, ended.stderr], [0, ""]);
});
