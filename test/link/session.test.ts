import t from "tap";
import { Backoff } from "../../agent/link/backoff.ts";
import { Session, type SessionCommand, type SessionEvent } from "../../agent/link/session.ts";
import { ShipWindow } from "../../agent/link/ship-window.ts";
import type { RefusalCode } from "../../protocol/link.ts";

const backoff = { firstMs: 500, maxMs: 30_000, slowMs: 60_000 };
const welcome = { type: "welcome", version: 1, acked: 5, heartbeatMs: 1_000, time: 0 } as const;

/** A session and its commands' names, with a clock in the test's hand. */
function start() {
  const session = new Session({ heartbeatMs: 10_000, backoff });
  const step = (now: number, event: SessionEvent, random = 0): SessionCommand[] =>
    session.handle(event, { now, random });
  const names = (now: number, event: SessionEvent) => step(now, event).map((c) => c.type);
  return { session, step, names };
}

function live() {
  const rig = start();
  rig.step(0, { type: "started" });
  rig.step(0, { type: "connected" });
  rig.step(0, { type: "received", message: welcome });
  return rig;
}

t.test("hello comes first, then a heartbeat, then records after what is acked", async (t) => {
  const { session, step, names } = start();
  t.same(names(0, { type: "started" }), ["connect"]);
  t.same(names(10, { type: "connected" }), ["greet"]);
  t.same(step(20, { type: "received", message: welcome }), [
    { type: "beat" },
    { type: "ship", acked: 5, hasSnippets: false, hasLanes: false, hasDeflate: false },
  ]);
  t.equal(session.heartbeatMs, 1_000, "the master's word counts");
  t.equal(session.dueAt, 1_020);
});

t.test("heartbeats keep their grid, and a long pause makes one, not many", async (t) => {
  const { session, names } = live();
  t.same(names(999, { type: "ticked" }), []);
  t.same(names(1_003, { type: "ticked" }), ["beat"]);
  t.equal(session.dueAt, 2_000);
  names(1_900, { type: "heard" });
  t.same(names(2_000, { type: "ticked" }), ["beat"]);
  names(8_000, { type: "heard" });
  t.same(names(8_000, { type: "ticked" }), ["beat"]);
  t.same(names(8_000, { type: "ticked" }), []);
});

t.test("silence ends a session in each of its states", async (t) => {
  const connecting = start();
  connecting.step(0, { type: "started" });
  t.equal(connecting.session.dueAt, 25_000);
  t.same(connecting.names(25_000, { type: "ticked" }), ["drop", "say-lost"]);
  const greeting = start();
  greeting.step(0, { type: "started" });
  greeting.step(0, { type: "connected" });
  t.same(greeting.names(25_000, { type: "ticked" }), ["drop", "say-lost"]);
  const talking = live();
  talking.step(1_000, { type: "ticked" });
  talking.step(2_000, { type: "ticked" });
  t.same(talking.names(2_500, { type: "ticked" }), ["drop", "say-lost"]);
});

t.test("delays double with jitter, stop at the maximum and begin anew after an ack", async (t) => {
  const { session, step } = start();
  let now = 0;
  const fail = (random: number) => {
    const said = step(now, { type: "lost", detail: "x" }, random).find(
      (c) => c.type === "say-lost",
    );
    now = session.dueAt ?? 0;
    t.same(step(now - 1, { type: "ticked" }), [], "not early");
    t.same(step(now, { type: "ticked" }), [{ type: "connect" }]);
    return said?.type === "say-lost" ? said.retryInMs : -1;
  };
  step(0, { type: "started" });
  t.same([fail(0), fail(1), fail(0.5)], [250, 1_000, 1_500]);
  t.same([0, 0, 0, 0, 0, 0].map(fail).slice(-2), [15_000, 15_000]);
  step(now, { type: "connected" });
  step(now, { type: "received", message: welcome });
  step(now, { type: "received", message: { type: "ack", seq: 6 } });
  t.equal(fail(0), 250);
});

t.test("a refusal that only a person can lift is tried again slowly", async (t) => {
  for (const code of ["unauthorized", "version", "twin"] satisfies RefusalCode[]) {
    const { step } = start();
    step(0, { type: "started" });
    step(0, { type: "connected" });
    const refused = { type: "refused", code, detail: "d", remedy: "r" } as const;
    t.same(step(0, { type: "received", message: refused }, 0.5), [
      { type: "drop" },
      { type: "say-refused", code, detail: "d", remedy: "r", retryInMs: 90_000 },
    ]);
  }
  const { step } = live();
  const gap = { type: "refused", code: "gap", detail: "", remedy: "" } as const;
  t.match(step(0, { type: "received", message: gap }).at(-1), { retryInMs: 250 });
});

t.test("an HTTP answer instead of the link is told apart", async (t) => {
  const unauthorized = start();
  unauthorized.step(0, { type: "started" });
  t.match(unauthorized.step(0, { type: "rejected", status: 401 }), [
    { type: "drop" },
    { type: "say-refused", code: "unauthorized", remedy: /EDGEDAG_TOKEN/ },
  ]);
  const other = start();
  other.step(0, { type: "started" });
  t.match(other.step(0, { type: "rejected", status: 404 }), [
    { type: "drop" },
    { type: "say-lost", detail: /HTTP 404/ },
  ]);
});

t.test("acks only go forward, and nothing happens after the end", async (t) => {
  const { names } = live();
  t.same(names(1, { type: "received", message: { type: "ack", seq: 7 } }), ["acked"]);
  t.same(names(1, { type: "received", message: { type: "ack", seq: 7 } }), []);
  t.same(names(1, { type: "received", message: { type: "ack", seq: 3 } }), []);
  t.same(names(1, { type: "received", message: { type: "drain" } }), ["pass"]);
  t.same(names(1, { type: "closed" }), ["drop"]);
  t.same(names(1, { type: "received", message: { type: "drain" } }), []);
});

t.test("new numbers mean a new connection at once", async (t) => {
  const { names } = live();
  t.same(names(1, { type: "restarted", detail: "" }), ["drop", "connect"]);
});

t.test("backoff keeps between half of the ceiling and the ceiling", async (t) => {
  const low = new Backoff(backoff);
  const high = new Backoff(backoff);
  for (let i = 0; i < 100; i++) {
    const ceiling = Math.min(30_000, 500 * 2 ** i);
    t.equal(low.next(0), ceiling / 2);
    t.equal(high.next(1), ceiling);
  }
});

t.test("the window grows with quick acks, shrinks with slow ones and is bounded", async (t) => {
  const window = new ShipWindow({ minBytes: 1_000, maxBytes: 16_000 });
  t.equal(window.limitBytes, 4_000);
  let seq = 0;
  const frame = (waitMs: number) => {
    window.sent(++seq, 1_000, 0);
    window.acked(seq, waitMs, 1_000);
    return window.limitBytes;
  };
  t.same([frame(10), frame(10), frame(10)], [8_000, 16_000, 16_000]);
  t.equal(frame(300), 16_000, "neither quick nor slow");
  t.same([600, 600, 600, 600, 600].map(frame), [8_000, 4_000, 2_000, 1_000, 1_000]);
  window.sent(100, 700, 0);
  t.equal(window.roomBytes, 300);
  window.sent(101, 700, 0);
  t.equal(window.roomBytes, 0);
  window.reset();
  t.equal(window.unackedBytes, 0);
});
