// What a person sees of a run: plain lines into a file, lines and a status that redraws in a
// terminal.
import t from "tap";
import type { RunHost } from "../../agent/run-host.ts";
import { formatMs, RunView } from "../../cli/run-view.ts";
import type { Outcome } from "../../protocol/outcome.ts";

const summary = {
  tasks: 3,
  succeeded: 1,
  failed: 1,
  skipped: 1,
  cancelled: 0,
  attempts: 2,
  wallMs: 61_000,
};
const failed: Outcome = {
  kind: "failed",
  failure: { reason: "bad-result", detail: "line one\nline\x1b[2J two" },
};

class Screen {
  text = "";
  readonly isTTY: boolean;
  readonly columns = 40;
  constructor(isTTY: boolean) {
    this.isTTY = isTTY;
  }
  write(text: string): void {
    this.text += text;
  }
}

/** As much of a run as the view looks at. */
function hostWith(running: { task: string; attempt: number }[]): RunHost {
  const counts = { total: 3, succeeded: 1, failed: 0, skipped: 0, cancelled: 0 };
  return { state: { counts }, running: () => running } as unknown as RunHost;
}

t.test("plain output is one line for what a person wants to know", (t) => {
  const screen = new Screen(false);
  const view = new RunView(screen);
  const { attemptStarted, attemptFinished, taskFinished, progress } = view.observer;
  view.attach(hostWith([]), "weather: 3 tasks");
  attemptStarted?.("a", 1);
  attemptFinished?.("a", 1, { outcome: failed, facts: {}, retryAt: 1 });
  attemptFinished?.("a", 2, { outcome: { kind: "succeeded" }, facts: { wallMs: 1234 } });
  taskFinished?.("a", { kind: "succeeded" });
  for (let i = 0; i < 3; i += 1)
    attemptFinished?.(`m[${i}]`, 1, { outcome: { kind: "succeeded" }, facts: {} });
  progress?.("b", 0.5, "half");
  attemptFinished?.("b", 1, { outcome: failed, facts: { wallMs: 5 } });
  taskFinished?.("b", failed);
  taskFinished?.("c", { kind: "skipped", because: "b" });
  taskFinished?.("d", failed);
  view.finish(
    { kind: "failed", failed: ["b"] },
    { ...summary, interTaskP50Ms: 0.1, interTaskP99Ms: 2, schedulerMs: 12, overheadShare: 0.014 },
  );
  t.strictSame(screen.text.split("\n"), [
    "weather: 3 tasks",
    "↻ a#1 line one line [2J two; it is tried again",
    "✓ a 1.2 s",
    "✓ 3 items of fan-outs",
    "✗ b 5 ms: line one line [2J two",
    "- c skipped (b)",
    "✗ d: line one line [2J two",
    "✗ run failed: 1 of 3 tasks succeeded, 1 failed, 1 skipped, 2 attempts, 1 m 1 s",
    "  from a task's end to the next one's start: median 0.1 ms, p99 2 ms",
    "  scheduler: 12 ms, 1.4 % of all time",
    "",
  ]);
  t.end();
});

t.test("live output clears exactly the lines that it has drawn", (t) => {
  const screen = new Screen(true);
  const view = new RunView(screen);
  const running = Array.from({ length: 10 }, (_, i) => ({ task: `task${i}`, attempt: 1 }));
  view.observer.progress?.("task0", 0.25, `a\nb\x1b[9A${"x".repeat(300)}`);
  view.attach(hostWith(running), "long");
  view.observer.attemptFinished?.("a", 1, { outcome: { kind: "succeeded" }, facts: {} });
  view.finish({ kind: "cancelled", by: "user" }, summary);
  // A bar, eight tasks and how many more there are; each within the width.
  const [, drawn = ""] = screen.text.split("\x1b[1mlong\x1b[0m\n");
  const [status = ""] = drawn.split("\x1b[10A\x1b[J");
  const lines = status.split("\n").slice(0, -1);
  t.equal(lines.length, 10);
  t.ok(lines.every((line) => line.length < 40));
  t.match(lines[1], /task0 .*25 % a b \[9Ax+$/);
  t.match(lines[9], /2 more/);
  t.notOk(status.includes("\x1b"));
  t.equal(screen.text.split("\x1b[10A\x1b[J").length, 3);
  t.match(screen.text, /run cancelled/);
  t.end();
});

t.test("durations are read at a glance", (t) => {
  const shown = [0.04, 3.14, 340.4, 999.6, 1000, 59_960, 61_000, 3_599_900].map(formatMs);
  t.strictSame(shown, [
    "0 ms",
    "3.1 ms",
    "340 ms",
    "1.0 s",
    "1.0 s",
    "1 m 0 s",
    "1 m 1 s",
    "60 m 0 s",
  ]);
  t.end();
});
