// The service of snippets between a real store in memory and commanded nodes: what is accepted gets
// one end, whatever nodes do.
import t from "tap";
import { EmbeddedBroker } from "../../master/snippets/broker/embedded.ts";
import { Snippets, type SnippetsOptions } from "../../master/snippets/snippets.ts";
import { SqliteSnippets } from "../../master/snippets/store/sqlite/sqlite-snippets.ts";
import { CommandedNode, failedBy, snippetOf, succeeded } from "./samples.ts";

const limitMs = 20_000;

// The service's own timers hold no process back, and its nodes have no sockets here.
const awake = setInterval(() => {}, 1000);
t.teardown(() => clearInterval(awake));

async function serviceOf(
  t: { teardown(end: () => unknown): void },
  change: Partial<SnippetsOptions> = {},
): Promise<{ snippets: Snippets; store: SqliteSnippets; said: string[] }> {
  const store = await SqliteSnippets.open({ folder: ":memory:", durability: "process" });
  const said: string[] = [];
  const note = (_: object, text: string) => void said.push(text);
  const snippets = await Snippets.start({
    store,
    broker: new EmbeddedBroker(store),
    languages: ["python", "nodejs"],
    master: "m1",
    queueLimit: 100,
    callLimit: 2,
    callWaitMs: limitMs,
    agingMs: 30_000,
    retentionMs: 3_600_000,
    isShared: false,
    clock: Date.now,
    log: { debug: note, info: note, warn: note, error: note },
    ...change,
  });
  t.teardown(() => snippets.close());
  return { snippets, store, said };
}

t.test("what a node tells of an attempt is what the record says", async (t) => {
  const { snippets } = await serviceOf(t);
  const node = new CommandedNode("n1");
  snippets.addNode(node);
  const snippet = snippetOf();
  t.match(await snippets.submit([{ snippet }]), [{ kind: "new", id: snippet.id }]);
  const { assignment, listener } = await node.next();
  t.match(assignment, { id: snippet.id, attempt: 1, task: { isolation: "seccomp" } });
  listener.started(1234.5);
  listener.output("stdout", Buffer.from("to be "));
  listener.output("stderr", Buffer.from("aside"));
  listener.output("stdout", Buffer.from("or not"));
  listener.ended({ kind: "ended", ...succeeded, result: { answer: 42 }, facts: { wallMs: 2 } });
  const record = await snippets.wait(snippet.id, limitMs);
  t.match(record, { state: "finished", attempt: 1, end: { node: "n1", result: { answer: 42 } } });
  t.equal(Buffer.from(record?.end?.stdout ?? []).toString(), "to be or not");
  t.equal(Buffer.from(record?.end?.stderr ?? []).toString(), "aside");
  t.equal(snippets.figures.queued, 0);
});

t.test("a node that is lost costs an attempt, and the next one decides", async (t) => {
  const { snippets } = await serviceOf(t);
  const node = new CommandedNode("n1");
  snippets.addNode(node);
  const snippet = snippetOf();
  await snippets.submit([{ snippet }]);
  const first = await node.next();
  first.listener.output("stdout", Buffer.from("half a "));
  first.listener.ended({ kind: "lost", detail: "the node is gone" });
  const second = await node.next();
  t.equal(second.assignment.attempt, 2);
  second.listener.output("stdout", Buffer.from("whole"));
  second.listener.ended({ kind: "ended", ...succeeded });
  const record = await snippets.wait(snippet.id, limitMs);
  t.match(record, { attempt: 2, end: { outcome: { kind: "succeeded" } } });
  t.equal(Buffer.from(record?.end?.stdout ?? []).toString(), "whole", "only of the deciding one");
});

t.test("gives up when the tries are spent, and says of what it died", async (t) => {
  const { snippets } = await serviceOf(t);
  const node = new CommandedNode("n1");
  snippets.addNode(node);
  const snippet = snippetOf();
  await snippets.submit([{ snippet }]);
  for (let attempt = 1; attempt <= 3; attempt += 1) {
    const { assignment, listener } = await node.next();
    t.equal(assignment.attempt, attempt);
    listener.ended({ kind: "lost", detail: "gone again" });
  }
  const record = await snippets.wait(snippet.id, limitMs);
  t.match(record?.end?.outcome, { failure: { reason: "lost", detail: "gone again" } });
});

t.test("does not try again what failed by the task's own fault", async (t) => {
  const { snippets } = await serviceOf(t);
  const node = new CommandedNode("n1");
  snippets.addNode(node);
  for (const failure of [
    { reason: "exit-code", code: 3 },
    { reason: "timeout", limitMs: 5 },
    { reason: "spawn", errno: "ENOENT", detail: "no such program" },
  ] as const) {
    const snippet = snippetOf();
    await snippets.submit([{ snippet }]);
    (await node.next()).listener.ended({ kind: "ended", ...failedBy(failure) });
    const record = await snippets.wait(snippet.id, limitMs);
    t.match(record, { attempt: 1, end: { outcome: { failure } } });
  }
});

t.test("cancels what waits at once, and what runs by its node", async (t) => {
  const { snippets } = await serviceOf(t);
  const node = new CommandedNode("n1");
  snippets.addNode(node);
  const [running, waiting] = [snippetOf(), snippetOf()];
  await snippets.submit([{ snippet: running }, { snippet: waiting }]);
  const { listener } = await node.next();
  t.equal(await snippets.cancel(waiting.id, "user"), "cancelled");
  t.match(await snippets.get(waiting.id), { end: { outcome: { kind: "cancelled" } } });
  t.equal(await snippets.cancel(running.id, "user"), "requested");
  t.strictSame(node.cancelled, [`${running.id}#1`]);
  listener.ended({ kind: "ended", ...succeeded, outcome: { kind: "cancelled", by: "user" } });
  t.match(await snippets.wait(running.id, limitMs), { end: { outcome: { kind: "cancelled" } } });
  t.equal(await snippets.cancel(running.id, "user"), "over");
  t.equal(await snippets.cancel("0000000000000-000000000000", "user"), "unknown");
});

t.test("parks what no node has room for, and gives it out when there is", async (t) => {
  const { snippets } = await serviceOf(t);
  const node = new CommandedNode("n1", { slots: 2, memoryBytes: 300 * 2 ** 20 });
  snippets.addNode(node);
  const large = () => {
    const snippet = snippetOf();
    snippet.task = { ...snippet.task, limits: { memoryBytes: 200 * 2 ** 20 } };
    return snippet;
  };
  const [first, second, third] = [large(), large(), large()];
  await snippets.submit([{ snippet: first }, { snippet: second }, { snippet: third }]);
  const one = await node.next();
  t.equal(node.unasked, 0, "there is a slot, and no memory");
  t.equal(await snippets.cancel(second.id, "user"), "requested", "it was claimed already");
  t.match(await snippets.wait(second.id, limitMs), { end: { outcome: { kind: "cancelled" } } });
  one.listener.ended({ kind: "ended", ...succeeded });
  const two = await node.next();
  t.match(two.assignment, { id: third.id, attempt: 1 });
  two.listener.ended({ kind: "ended", ...succeeded });
  t.match(await snippets.wait(third.id, limitMs), { state: "finished" });
});

t.test("is full at its limit, for all or nothing of a request", async (t) => {
  const { snippets } = await serviceOf(t, { queueLimit: 3 });
  await snippets.submit([{ snippet: snippetOf() }, { snippet: snippetOf() }]);
  const both = [{ snippet: snippetOf() }, { snippet: snippetOf() }];
  await t.rejects(snippets.submit(both), { name: "QueueFull" });
  t.equal(await snippets.get(both[0]?.snippet.id ?? ""), undefined, "nothing of it was kept");
  await snippets.submit([{ snippet: snippetOf() }]);
});

t.test("an idempotency key gives the same snippet, or a conflict and nothing else", async (t) => {
  const { snippets } = await serviceOf(t);
  const first = snippetOf();
  const idempotency = { key: "k1", digest: "d1" };
  t.match(await snippets.submit([{ snippet: first, idempotency }]), [{ kind: "new" }]);
  t.match(await snippets.submit([{ snippet: snippetOf(), idempotency }]), [
    { kind: "known", id: first.id },
  ]);
  const beside = snippetOf();
  const answer = await snippets.submit([
    { snippet: beside },
    { snippet: snippetOf(), idempotency: { key: "k1", digest: "other" } },
  ]);
  t.equal(answer[1]?.kind, "conflict");
  t.equal(await snippets.get(beside.id), undefined, "all or none");
  t.equal(snippets.figures.queued, 1);
});

t.test("callers are told that all is busy: at once beyond the line, else in time", async (t) => {
  const { snippets } = await serviceOf(t, { callWaitMs: 50 });
  const node = new CommandedNode("n1");
  snippets.addNode(node);
  const signal = new AbortController().signal;
  const first = snippets.call(snippetOf(), signal);
  const { listener } = await node.next();
  listener.started(1);
  const waiting = [snippets.call(snippetOf(), signal), snippets.call(snippetOf(), signal)];
  t.match(await snippets.call(snippetOf(), signal), { kind: "busy" }, "the line is full");
  t.match(await Promise.all(waiting), [{ kind: "busy" }, { kind: "busy" }]);
  listener.ended({ kind: "ended", ...succeeded, result: 7 });
  t.match(await first, { kind: "ended", end: { result: 7 } });
  t.equal(node.unasked, 0, "what was given up is not run");
  t.equal(snippets.figures.waitingCalls, 0);
});

t.test(
  "a caller that goes away has its snippet cancelled, and its slot is free again",
  async (t) => {
    const { snippets } = await serviceOf(t);
    const node = new CommandedNode("n1");
    snippets.addNode(node);
    const gone = new AbortController();
    const snippet = snippetOf();
    const call = snippets.call(snippet, gone.signal);
    const { listener } = await node.next();
    gone.abort();
    t.match(await call, { kind: "busy" });
    t.strictSame(node.cancelled, [`${snippet.id}#1`]);
    listener.ended({ kind: "returned", detail: "ended" });
    const next = snippets.call(snippetOf(), new AbortController().signal);
    (await node.next()).listener.ended({ kind: "ended", ...succeeded });
    t.match(await next, { kind: "ended" });
  },
);

t.test("puts back what its end interrupts, for the next start to run", async (t) => {
  const { snippets, store } = await serviceOf(t);
  const node = new CommandedNode("n1");
  snippets.addNode(node);
  const snippet = snippetOf();
  await snippets.submit([{ snippet }]);
  const { listener } = await node.next();
  snippets.leave();
  listener.ended({ kind: "ended", ...succeeded, outcome: { kind: "cancelled", by: "user" } });
  while (snippets.dispatcher.running > 0) await new Promise(setImmediate);
  await snippets.drain(limitMs);
  t.match(await store.get(snippet.id), { state: "queued" });
});
