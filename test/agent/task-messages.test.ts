// What tasks publish on edgedag.* channels is believed field by field.
import t from "tap";
import { readTaskMessage } from "../../agent/task-messages.ts";

const from = { task: "months[3]", attempt: 2 };
const read = (channel: string, message: unknown) =>
  readTaskMessage(channel, typeof message === "string" ? message : JSON.stringify(message));

t.test("good messages are read", (t) => {
  t.equal(read("mine", "anything"), undefined);
  t.strictSame(read("edgedag.log", { ...from, level: "warn", text: "a", fields: { n: 1 } }), {
    type: "log",
    ...from,
    level: "warn",
    text: "a",
    fields: { n: 1 },
  });
  t.strictSame(read("edgedag.log", { ...from, level: "loud", text: "a", fields: {} }), {
    type: "log",
    ...from,
    level: "info",
    text: "a",
  });
  t.strictSame(read("edgedag.progress", { ...from, fraction: 0.5 }), {
    type: "progress",
    ...from,
    fraction: 0.5,
  });
  t.match(read("edgedag.progress", { ...from, fraction: 1, text: "x".repeat(100_000) }), {
    text: "x".repeat(65_536),
  });
  t.strictSame(read("edgedag.artifact", { ...from, path: "a", name: "" }), {
    type: "artifact",
    ...from,
    path: "a",
  });
  t.strictSame(read("edgedag.artifact", { ...from, path: "a", name: "b" }), {
    type: "artifact",
    ...from,
    path: "a",
    name: "b",
  });
  t.end();
});

t.test("bad ones give the reason", (t) => {
  const deep = "[".repeat(100_000) + "]".repeat(100_000);
  const bad: [channel: string, message: unknown, why: RegExp][] = [
    ["edgedag.log", "no json", /not a JSON object/],
    ["edgedag.log", "[1]", /not a JSON object/],
    ["edgedag.log", deep, /not a JSON object/],
    ["edgedag.log", "x".repeat(2 ** 20 + 1), /larger than 1 MiB/],
    ["edgedag.log", { text: "a" }, /which task/],
    ["edgedag.log", { ...from, task: "", text: "a" }, /which task/],
    ["edgedag.log", { ...from, task: "x".repeat(201), text: "a" }, /which task/],
    ["edgedag.log", { ...from, task: "__proto__", text: "a" }, /which task/],
    ["edgedag.log", { ...from, attempt: 0, text: "a" }, /which task/],
    ["edgedag.log", { ...from, attempt: 1.5, text: "a" }, /which task/],
    ["edgedag.log", { ...from, attempt: 1e300, text: "a" }, /which task/],
    ["edgedag.log", from, /no text/],
    ["edgedag.log", `{"task":"a","attempt":1,"text":"a","fields":{"a":${deep}}}`, /too deeply/],
    ["edgedag.progress", { ...from, fraction: 1.01 }, /from 0 to 1/],
    ["edgedag.progress", { ...from, fraction: null }, /from 0 to 1/],
    ["edgedag.artifact", { ...from, path: "" }, /no path/],
    ["edgedag.artifact", { ...from, path: "x".repeat(4097) }, /too long/],
    ["edgedag.artifact", { ...from, path: "a", name: "x".repeat(4097) }, /too long/],
    ["edgedag.\x1b[2J", from, /no channel "edgedag\.\\u001b/],
  ];
  for (const [channel, message, why] of bad) {
    const problem = read(channel, message);
    t.type(problem, "string");
    t.match(problem, why);
  }
  t.end();
});
