// Which signatures are good enough, for whom and when; each refusal with its own code.
import { generateKeyPairSync, sign as signBytes } from "node:crypto";
import t from "tap";
import { artifactDigest, canonicalJson } from "../../protocol/canonical.ts";
import { loadArtifact } from "../../protocol/pack.ts";
import { preAuthentication, seal, statementType } from "../../protocol/signing/dsse.ts";
import {
  type Circumstances,
  clockSlackMs,
  judgeSignatures,
  releasedAt,
} from "../../protocol/signing/judge.ts";
import { readInlineKey, readPublicKeys } from "../../protocol/signing/public-key.ts";
import { statementText } from "../../protocol/signing/statement.ts";
import { artifactOf } from "../agent/agent-rig.ts";
import { inlineOf, newKey, pem, signed } from "./signed.ts";

const key = newKey();
const trusted = new Map([[key.id, key]]);
const now = releasedAt + 30 * 86_400_000;
const plain = await artifactOf("dag: d\ntasks:\n  a: { command: ['true'] }\n");
const other = await artifactOf("dag: d\ntasks:\n  a: { command: ['false'] }\n");

function codeOf(artifact: typeof plain, more: Partial<Circumstances> = {}): string | undefined {
  const judged = judgeSignatures(
    { ...artifact, digest: artifactDigest(artifact) },
    { trusted, node: "pump-7", now, ...more },
  );
  return judged.ok ? undefined : judged.diagnostics[0]?.code;
}

t.test("a signature of a trusted key is good, and nothing else is", async (t) => {
  t.equal(codeOf(signed(plain, key)), undefined);
  t.equal(codeOf(plain), "E_SIGNATURE_MISSING");
  t.equal(codeOf(signed(plain, newKey())), "E_SIGNATURE_KEY");
  const moved = { ...other, signatures: signed(plain, key).signatures ?? [] };
  t.equal(codeOf(moved), "E_SIGNATURE_DIGEST", "of another artifact");
  const forged = signed(plain, newKey());
  for (const envelope of forged.signatures ?? []) envelope.signatures[0].keyid = key.id;
  t.equal(codeOf(forged), "E_SIGNATURE_INVALID", "under the id of a trusted key");
});

t.test("one good signature among others is enough, so that keys can be rotated", async (t) => {
  const next = newKey();
  const both = signed(signed(plain, next), key);
  t.equal(codeOf(both), undefined, "the old key");
  t.equal(codeOf(both, { trusted: new Map([[next.id, next]]) }), undefined, "the new one");
  const late = signed(signed(plain, newKey()), key, { expires: now - 1 });
  t.equal(codeOf(late), "E_SIGNATURE_EXPIRED", "the one that came furthest is told first");
});

t.test("nodes are named, or fit a pattern", async (t) => {
  const fits = (nodes: string[], node: string) =>
    codeOf(signed(plain, key, { nodes }), { node }) === undefined;
  t.ok(fits(["a", "pump-7"], "pump-7"));
  t.ok(fits(["pump-*"], "pump-7"));
  t.ok(fits(["*-7"], "pump-7"));
  t.ok(fits(["p*m*7"], "pump-7"));
  t.ok(fits(["*"], "pump-7"));
  t.notOk(fits(["pump-"], "pump-7"));
  t.notOk(fits(["pump-*"], "spare-pump-7"));
  t.notOk(fits(["pump*pump"], "pump"), "no character counts twice");
  t.equal(codeOf(signed(plain, key, { nodes: ["a"] })), "E_SIGNATURE_NODE");
});

t.test("a signature is valid from its first moment on, and not in its last one", async (t) => {
  const between = signed(plain, key, { notBefore: now, expires: now + 10 }, now);
  t.equal(codeOf(between, { now: now - 1 }), "E_SIGNATURE_NOT_YET");
  t.equal(codeOf(between, { now }), undefined);
  t.equal(codeOf(between, { now: now + 9 }), undefined);
  t.equal(codeOf(between, { now: now + 10 }), "E_SIGNATURE_EXPIRED");
});

t.test("a clock that is obviously wrong decides nothing", async (t) => {
  const bounded = signed(plain, key, { expires: now + clockSlackMs }, now);
  t.equal(codeOf(bounded, { now: 0 }), "E_SIGNATURE_CLOCK", "1970");
  t.equal(codeOf(bounded, { now: releasedAt }), "E_SIGNATURE_CLOCK", "before it was signed");
  t.equal(codeOf(bounded, { now: now - clockSlackMs }), undefined, "a day is let pass");
  t.equal(codeOf(signed(plain, key, {}, now), { now: 0 }), undefined, "no time, no clock");
  const old = signed(plain, key, { expires: releasedAt - 1 }, releasedAt - 10);
  t.equal(codeOf(old, { now: 0 }), "E_SIGNATURE_EXPIRED", "whatever the clock says");
  const proven = { now: 0, provenAt: now + clockSlackMs };
  t.equal(codeOf(bounded, proven), "E_SIGNATURE_EXPIRED", "other signatures tell the time");
});

t.test("a signature for one run is refused for another one", async (t) => {
  const usedBy = () => "first";
  t.equal(codeOf(signed(plain, key, { once: true }), { usedBy }), "E_SIGNATURE_REPLAYED");
  t.equal(codeOf(signed(plain, key), { usedBy }), undefined, "others may be used again");
});

t.test("conditions that are not known here are refused, and so is a second spelling", async (t) => {
  const subject = [{ name: "d", digest: { sha256: artifactDigest(plain) } }];
  const predicate = { id: crypto.randomUUID(), key: key.id, signedAt: now };
  const withPayload = (text: string) => ({
    ...plain,
    signatures: [seal(text, { id: key.id, key: key.privateKey })],
  });
  const type = "urn:edgedag:artifact-signature:1";
  t.equal(codeOf(withPayload(statementText(type, subject, predicate))), undefined);
  const strange: [string, object][] = [
    ["unknown", { ...predicate, country: "no" }],
    ["once: false", { ...predicate, once: false }],
    ["no node", { ...predicate, nodes: [] }],
    ["time as text", { ...predicate, expires: "2099-01-01" }],
    ["negative time", { ...predicate, notBefore: -1 }],
    ["another key", { ...predicate, key: newKey().id }],
    ["no id", { key: key.id, signedAt: now }],
  ];
  for (const [what, conditions] of strange) {
    const text = statementText(type, subject, conditions);
    t.equal(codeOf(withPayload(text)), "E_SIGNATURE_FORM", what);
  }
  const receipt = statementText("urn:edgedag:receipt:1", subject, predicate);
  t.equal(codeOf(withPayload(receipt)), "E_SIGNATURE_FORM", "a statement about something else");
  const spaced = JSON.stringify(JSON.parse(statementText(type, subject, predicate)), null, 1);
  t.equal(codeOf(withPayload(spaced)), "E_SIGNATURE_FORM", "signed, but not canonical");
  const two = statementText(type, [...subject, ...subject], predicate);
  t.equal(codeOf(withPayload(two)), "E_SIGNATURE_FORM", "two subjects");
});

t.test("a signed artifact has one text", async (t) => {
  const good = signed(plain, key);
  const text = canonicalJson(good);
  t.match(await loadArtifact(text), { ok: true });
  t.match(await loadArtifact(`${text}\n`), { ok: true });
  const value = JSON.parse(text);
  t.match(await loadArtifact(value), { ok: true }, "over the link it is a value");
  const [envelope] = good.signatures ?? [];
  const wrong: [string, unknown][] = [
    ["space", text.replace(":", ": ")],
    ["two newlines", `${text}\n\n`],
    ["a byte order mark", `\ufeff${text}`],
    ["other order", JSON.stringify({ files: [], ...value })],
    ["escape", text.replace("true", "\\u0074rue")],
    ["no list", { ...value, signatures: {} }],
    ["none", { ...value, signatures: [] }],
    ["twice", { ...value, signatures: [envelope, envelope] }],
    ["too many", { ...value, signatures: Array(17).fill(envelope) }],
    ["a field more", { ...value, signatures: [{ ...envelope, note: 1 }] }],
    ["no envelope", { ...value, signatures: [null] }],
  ];
  for (const [what, input] of wrong) {
    const loaded = await loadArtifact(input);
    t.notOk(loaded.ok, what);
  }
});

t.test("keys that anybody could sign with, and keys of other kinds, are no keys", async (t) => {
  const raw = (hex: string) => `ed25519:${Buffer.from(hex, "hex").toString("base64")}`;
  const weak = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    // The same points with y above the prime.
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
  ];
  for (const hex of weak) t.match(readInlineKey(raw(hex)), /weak/, hex);
  t.type(readInlineKey(inlineOf(key)), "object");
  t.match(readInlineKey("ed25519:AAAA"), /32 bytes/);
  t.match(readPublicKeys(pem(key).private), /private key/);
  t.match(readPublicKeys("no key"), /no PEM/);
  for (const other of [
    generateKeyPairSync("ed448"),
    generateKeyPairSync("ec", { namedCurve: "P-256" }),
    generateKeyPairSync("x25519"),
  ]) {
    const text = other.publicKey.export({ format: "pem", type: "spki" }).toString();
    t.match(readPublicKeys(text), /not ed25519/);
  }
  t.equal((readPublicKeys(pem(key).public + pem(newKey()).public) as unknown[]).length, 2);
});

t.test("what is signed is the envelope of DSSE, as others write it", async (t) => {
  const [envelope] = signed(plain, key).signatures ?? [];
  if (envelope === undefined) throw new Error("not signed");
  const payload = Buffer.from(envelope.payload, "base64");
  t.equal(
    preAuthentication("http://example.com/HelloWorld", Buffer.from("hello world")).toString(),
    "DSSEv1 29 http://example.com/HelloWorld 11 hello world",
    "the example of the specification",
  );
  const again = signBytes(null, preAuthentication(statementType, payload), key.privateKey);
  t.equal(envelope.signatures[0].sig, again.toString("base64"));
});
