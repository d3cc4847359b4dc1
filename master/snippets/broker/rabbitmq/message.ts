// A queue item as a message of AMQP, and back. What comes back may be anybody's: it is checked.
import type { Message, Options } from "amqplib";
import { z } from "zod";
import type { Parsed } from "../../../../protocol/env-table.ts";
import { priorities } from "../../snippet.ts";
import type { QueueItem } from "../../store/store.ts";

const limitBytes = 64 * 1024;

const itemSchema = z.object({
  id: z.string().min(1).max(200),
  language: z.string().min(1).max(200),
  priority: z.int().min(priorities.lowest).max(priorities.highest),
  owner: z.string().max(1000),
  createdAt: z.number().min(0),
});

export function encode({ id, language, priority, owner, createdAt }: QueueItem): {
  content: Buffer;
  options: Options.Publish;
} {
  return {
    content: Buffer.from(JSON.stringify({ id, language, priority, owner, createdAt })),
    options: {
      messageId: id,
      priority,
      persistent: true,
      // Where no queue takes it, it comes back instead of being lost.
      mandatory: true,
      contentType: "application/json",
      type: "edgedag.snippet",
      appId: "edgedag",
    },
  };
}

/** Of the queue of `language`. */
export function decode({ content }: Message, language: string): Parsed<QueueItem> {
  if (content.length > limitBytes) {
    return { wrong: `it has ${content.length} bytes; the limit is ${limitBytes}` };
  }
  let json: unknown;
  try {
    json = JSON.parse(content.toString("utf8"));
  } catch {
    return { wrong: "it is not JSON" };
  }
  const read = itemSchema.safeParse(json);
  if (!read.success) {
    const issues = read.error.issues.map(({ path, message }) => `${path.join(".")}: ${message}`);
    return { wrong: `it is no queue item: ${issues.join("; ")}` };
  }
  if (read.data.language !== language) {
    return { wrong: `its language is ${read.data.language}, and the queue that of ${language}` };
  }
  return { value: read.data };
}
