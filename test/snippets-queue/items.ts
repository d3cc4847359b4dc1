// Queue items for tests, with what a test does not care about filled in.
import type { QueueItem } from "../../master/snippets/store/store.ts";

let count = 0;

export function queueItem(more: Partial<QueueItem> = {}): QueueItem {
  count += 1;
  return {
    id: `s${String(count).padStart(6, "0")}`,
    language: "python",
    priority: 5,
    owner: "ann",
    createdAt: 1000,
    ...more,
  };
}

export function queueItems(n: number, more: Partial<QueueItem> = {}): QueueItem[] {
  return Array.from({ length: n }, () => queueItem(more));
}
