// What does a queued snippet cost when RabbitMQ carries it: publish, confirm, delivery and ack? Ours
// beside bare amqplib on one connection, on the same real broker, which is started for it.
// usage: node test/bench/broker.ts [--quick]
import { connect } from "amqplib";
import { AmqpAddress } from "../../master/snippets/broker/rabbitmq/address.ts";
import { RabbitBroker } from "../../master/snippets/broker/rabbitmq.ts";
import type { QueueItem } from "../../master/snippets/store/store.ts";
import { startRabbit } from "../rig/rabbitmq.ts";
import { ask, median, sized, tell, timed } from "./frame.ts";

/** Publishes, and says when a message was delivered and its ack sent. */
interface Carrier {
  close(): Promise<void>;
  publish(items: readonly QueueItem[]): Promise<void>;
  acked: () => void;
}

const rabbit = await startRabbit();
if (typeof rabbit === "string") throw new Error(rabbit);
const carriers = { ours: await ours(rabbit.url), bare: await bare(rabbit.url) };
const single = sized(1000, 50);
const many = sized(10_000, 500);

const latency = await ask({
  question: "broker: one snippet, published, confirmed, delivered, acked (median)",
  unit: "ms",
  better: "less",
  rounds: sized(7, 1),
  contenders: contenders(async (carrier) => {
    const times: number[] = [];
    for (let i = 0; i < single; i += 1) times.push(await timed(() => through(carrier, 1, 1)));
    return median(times);
  }),
});
const throughput = async (size: number, sides: number) =>
  await ask({
    question: `broker: snippets from end to end, ${sides} at a time, each a publish of ${size}`,
    unit: "/s",
    better: "more",
    rounds: sized(7, 1),
    contenders: contenders(async (carrier) => {
      const ms = await timed(() => through(carrier, many, size, sides));
      return (many / ms) * 1000;
    }),
  });
tell(latency, await throughput(1, 64), await throughput(100, 2));
await carriers.ours.close();
await carriers.bare.close();
await rabbit[Symbol.asyncDispose]();

function contenders(round: (carrier: Carrier) => Promise<number>) {
  return [
    { name: "edgedag", isOurs: true as const, round: () => round(carriers.ours) },
    { name: "amqplib", round: () => round(carriers.bare) },
  ];
}

/** Resolves when all of `count` are confirmed, delivered and acked. */
async function through(carrier: Carrier, count: number, size: number, sides = 1): Promise<void> {
  let left = count;
  const all = new Promise<void>((resolve) => {
    carrier.acked = () => {
      left -= 1;
      if (left === 0) resolve();
    };
  });
  let sent = 0;
  const side = async () => {
    while (sent < count) {
      const items = Array.from({ length: Math.min(size, count - sent) }, (_, i) => item(sent + i));
      sent += items.length;
      await carrier.publish(items);
    }
  };
  await Promise.all([all, ...Array.from({ length: sides }, side)]);
}

function item(i: number): QueueItem {
  return {
    id: `snippet-${i}`,
    language: "python",
    priority: 5,
    owner: "ann",
    createdAt: Date.now(),
  };
}

async function ours(url: string): Promise<Carrier> {
  const address = AmqpAddress.parse(url);
  if ("wrong" in address) throw new Error(address.wrong);
  const log = { debug() {}, info() {}, warn() {}, error() {} };
  const broker = new RabbitBroker({ address: address.value, log });
  const carrier: Carrier = {
    publish: (items) => broker.publish(items),
    close: () => broker.close(),
    acked: () => {},
  };
  await broker.start(["python"], 200, {
    delivered: (delivery) => {
      delivery.done();
      carrier.acked();
    },
    lost: (detail) => {
      throw new Error(detail);
    },
    ready: () => {},
  });
  return carrier;
}

async function bare(url: string): Promise<Carrier> {
  const connection = await connect(url, { noDelay: true });
  const channel = await connection.createConfirmChannel();
  const queue = "bare";
  await channel.assertQueue(queue, { durable: true, maxPriority: 10 });
  await channel.prefetch(200);
  const carrier: Carrier = {
    publish: async (items) => {
      const confirms = items.map(
        (one) =>
          new Promise<void>((resolve, reject) => {
            const content = Buffer.from(JSON.stringify(one));
            channel.sendToQueue(queue, content, { persistent: true, priority: 5 }, (error) =>
              error ? reject(error) : resolve(),
            );
          }),
      );
      await Promise.all(confirms);
    },
    close: () => connection.close(),
    acked: () => {},
  };
  await channel.consume(queue, (message) => {
    if (message === null) throw new Error("the queue is gone");
    JSON.parse(message.content.toString());
    channel.ack(message);
    carrier.acked();
  });
  return carrier;
}
