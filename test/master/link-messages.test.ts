// The transcript of a whole session, and what is not a message.
import { readFile } from "node:fs/promises";
import fc from "fast-check";
import t from "tap";
import { decodeAgentToMaster, decodeMasterToAgent } from "../../protocol/link-decode.ts";

const transcript = new URL("../fixtures/wire/link-session.ndjson", import.meta.url);

async function frames(): Promise<{ from: string; message: object }[]> {
  return (await readFile(transcript, "utf8"))
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
}

t.test("every message of the transcript decodes to itself", async (t) => {
  const seen = new Set<string>();
  for (const { from, message } of await frames()) {
    const decode = from === "agent" ? decodeAgentToMaster : decodeMasterToAgent;
    const decoded = decode(JSON.stringify(message));
    t.ok(decoded.ok, JSON.stringify(decoded).slice(0, 300));
    if (!decoded.ok) continue;
    t.same(decoded.value, message);
    seen.add(decoded.value.type);
    if (decoded.value.type === "records") {
      for (const record of decoded.value.records) seen.add(record.type);
    }
  }
  t.equal(seen.size, 5 + 6 + 8 + 9 + 2 + 2, `all messages and records: ${[...seen].join(" ")}`);
});

t.test("unknown fields are ignored", async (t) => {
  const text = '{"type":"ack","seq":3,"later":{"a":1}}';
  t.same(decodeMasterToAgent(text), { ok: true, value: { type: "ack", seq: 3 } });
});

const optional = new Set([
  ...["type", "params", "slots", "from", "result", "snippets"],
  ...["identity", "nextSignature", "token", "nextKey"],
  ...["lanes", "deflate", "early", "sentBytes"],
]);

t.test("a field that is missing or wrong is named with its path", async (t) => {
  for (const { from, message } of await frames()) {
    const decode = from === "agent" ? decodeAgentToMaster : decodeMasterToAgent;
    for (const key of Object.keys(message)) {
      if (optional.has(key)) continue;
      const decoded = decode(JSON.stringify({ ...message, [key]: undefined }));
      t.notOk(decoded.ok, `${JSON.stringify(message).slice(0, 40)} without ${key}`);
      if (!decoded.ok) t.ok(decoded.diagnostics[0]?.path.startsWith(key), key);
    }
  }
  const records = [{ seq: 1, time: 1, run: "r", type: "log", lines: [{ seq: 0 }] }];
  const decoded = decodeAgentToMaster(JSON.stringify({ type: "records", records }));
  t.match(decoded, {
    ok: false,
    diagnostics: [{ code: "E_LINK_FIELD", path: "records[0].lines[0].time" }],
  });
});

t.test("another version is told apart from a bad message", async (t) => {
  const decoded = decodeAgentToMaster('{"type":"hello","version":2,"shape":"unknown"}');
  t.match(decoded, { ok: false, diagnostics: [{ code: "E_LINK_VERSION" }] });
});

t.test("no input makes the decoders throw", async (t) => {
  const texts = ["", "nul", "[]", "1", '"x"', "{}", '{"type":"__proto__"}', '{"type":"records"}'];
  for (const text of texts) {
    t.notOk(decodeAgentToMaster(text).ok, text);
    t.notOk(decodeMasterToAgent(text).ok, text);
  }
  const all = await frames();
  // Real messages with one value anywhere replaced by any JSON.
  fc.assert(
    fc.property(
      fc.constantFrom(...all),
      fc.nat(),
      fc.jsonValue(),
      ({ from, message }, at, value) => {
        let position = 0;
        const total = JSON.stringify(message).match(/[:[,]/g)?.length ?? 1;
        const text = JSON.stringify(message, (_key, old) =>
          position++ === at % total ? value : old,
        );
        const decode = from === "agent" ? decodeAgentToMaster : decodeMasterToAgent;
        const decoded = decode(text ?? "");
        return decoded.ok || decoded.diagnostics.length > 0;
      },
    ),
    { numRuns: 500 },
  );
});

t.test("a key named __proto__ stays a key", async (t) => {
  const [hello] = await frames();
  const text = JSON.stringify(hello?.message).replace('"site":"graz"', '"__proto__":"x"');
  const decoded = decodeAgentToMaster(text);
  t.ok(
    decoded.ok &&
      decoded.value.type === "hello" &&
      Object.hasOwn(decoded.value.labels, "__proto__"),
  );
});
