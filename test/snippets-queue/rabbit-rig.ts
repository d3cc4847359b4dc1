// What the tests with RabbitMQ share: one broker a file, a virtual host a test, and brokers of ours
// on it that are closed with the test.
import { type Channel, type ChannelModel, connect, type GetMessage } from "amqplib";
import t, { type Test } from "tap";
import type { Logger } from "../../master/clock.ts";
import { AmqpAddress } from "../../master/snippets/broker/rabbitmq/address.ts";
import { RabbitBroker, type RabbitBrokerOptions } from "../../master/snippets/broker/rabbitmq.ts";
import { startRabbit, type TestRabbit } from "../rig/rabbitmq.ts";
import { Deliveries } from "./deliveries.ts";

/** One broker for a file; where there can be none, one skipped test says why. */
export async function withRabbit(register: (rabbit: TestRabbit) => void): Promise<void> {
  const rabbit = await startRabbit();
  if (typeof rabbit === "string") {
    t.test("with RabbitMQ", { skip: rabbit }, () => {});
    return;
  }
  t.teardown(() => rabbit[Symbol.asyncDispose]());
  register(rabbit);
}

/** Quick, so that a test need not wait long for the next try. */
const quick = { backoff: { firstMs: 20, maxMs: 200 }, answerMs: 2000 };

export class LogLines implements Logger {
  readonly lines: string[] = [];

  debug(fields: object, text: string): void {
    this.lines.push(`debug ${text} ${JSON.stringify(fields)}`);
  }

  info(fields: object, text: string): void {
    this.lines.push(`info ${text} ${JSON.stringify(fields)}`);
  }

  warn(fields: object, text: string): void {
    this.lines.push(`warn ${text} ${JSON.stringify(fields)}`);
  }

  error(fields: object, text: string): void {
    this.lines.push(`error ${text} ${JSON.stringify(fields)}`);
  }
}

export function addressOf(url: string): AmqpAddress {
  const parsed = AmqpAddress.parse(url);
  if ("wrong" in parsed) throw new Error(parsed.wrong);
  return parsed.value;
}

let hosts = 0;

/** The URL of a new virtual host, of which guest may use all. */
export async function newHost(rabbit: TestRabbit): Promise<string> {
  hosts += 1;
  const name = `test${hosts}`;
  await rabbit.ctl("add_vhost", name);
  await rabbit.ctl("set_permissions", "-p", name, "guest", ".*", ".*", ".*");
  return `${rabbit.url}/${name}`;
}

export function rabbitBroker(url: string, more: Partial<RabbitBrokerOptions> = {}): RabbitBroker {
  return new RabbitBroker({ address: addressOf(url), log: new LogLines(), ...quick, ...more });
}

export interface StartOptions extends Partial<RabbitBrokerOptions> {
  languages?: string[];
  window?: number;
  deliveries?: Deliveries;
}

/** Closed at the end of the test. */
export async function startBroker(
  t: Test,
  url: string,
  {
    languages = ["python"],
    window = 100,
    deliveries = new Deliveries(),
    ...more
  }: StartOptions = {},
): Promise<{ broker: RabbitBroker; deliveries: Deliveries }> {
  const broker = rabbitBroker(url, more);
  t.teardown(() => broker.close());
  await broker.start(languages, window, deliveries);
  return { broker, deliveries };
}

/** A channel as a person with tools has it; its connection is closed at the end of the test. */
export async function ownChannel(t: Test, url: string): Promise<Channel> {
  const connection: ChannelModel = await connect(url, { noDelay: true });
  connection.on("error", () => {});
  t.teardown(() => connection.close().catch(() => {}));
  const channel = await connection.createChannel();
  channel.on("error", () => {});
  return channel;
}

/** Taken, and not settled. */
export async function getOne(channel: Channel, queue: string): Promise<GetMessage | undefined> {
  const got = await channel.get(queue);
  return got === false ? undefined : got;
}

/** Ready and unsettled messages of a queue, as RabbitMQ counts them. */
export async function countsOf(rabbit: TestRabbit, url: string, queue: string) {
  const host = new URL(url).pathname.slice(1);
  const columns = ["name", "messages_ready", "messages_unacknowledged"];
  const table = await rabbit.ctl("list_queues", "-p", host, "--no-table-headers", ...columns);
  const line = table.split("\n").find((words) => words.startsWith(`${queue}\t`));
  const [, ready, unsettled] = (line ?? "").split("\t");
  return { ready: Number(ready), unsettled: Number(unsettled) };
}
