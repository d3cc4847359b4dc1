// Exchanges and queues at RabbitMQ, by name: a queue for each language, and one for what was set
// aside. All of it is durable, and declared again on each connection.
//
// Queues are classic, and say so: quorum queues refuse priorities, and a virtual host may make
// quorum its default. An `x-consumer-timeout` is not set, because new versions refuse it for them.
import type { Channel } from "amqplib";

export const exchange = "edgedag.snippets";
export const deadExchange = "edgedag.dead";
export const deadQueue = "edgedag.snippets.dead";

export function queueOf(language: string): string {
  return `edgedag.snippets.${language}`;
}

export async function declareTopology(
  channel: Channel,
  languages: readonly string[],
): Promise<void> {
  await channel.assertExchange(deadExchange, "fanout", { durable: true });
  await channel.assertQueue(deadQueue, { durable: true, arguments: { "x-queue-type": "classic" } });
  await channel.bindQueue(deadQueue, deadExchange, "");
  await channel.assertExchange(exchange, "direct", { durable: true });
  for (const language of languages) {
    const queue = queueOf(language);
    await channel.assertQueue(queue, {
      durable: true,
      maxPriority: 10,
      // What people reject with tools of their own is not lost; what we reject carries a reason.
      deadLetterExchange: deadExchange,
      arguments: { "x-queue-type": "classic" },
    });
    await channel.bindQueue(queue, exchange, language);
  }
}
