// Decoding does not depend on where the stream is cut; bytes that are no frames are refused.
import fc from "fast-check";
import t from "tap";
import { CommandEncoder, encodeEnv } from "../../agent/exec/launcher/launcher-commands.ts";
import { EventDecoder } from "../../agent/exec/launcher/launcher-frames.ts";

function frame(type: number, id: number, body: Buffer): Buffer {
  const head = Buffer.alloc(9);
  head.writeUInt32LE(5 + body.length, 0);
  head.writeUInt8(type, 4);
  head.writeUInt32LE(id, 5);
  return Buffer.concat([head, body]);
}

function decode(chunks: Buffer[]): string[] {
  const told: string[] = [];
  const last = { key: "", bytes: Buffer.alloc(0) };
  const flush = () => {
    if (last.key !== "") told.push(`${last.key} ${last.bytes.toString("hex")}`);
    last.key = "";
    last.bytes = Buffer.alloc(0);
  };
  const tell = (text: string) => {
    flush();
    told.push(text);
  };
  const decoder = new EventDecoder({
    hello: (hello) => tell(`hello ${Object.values(hello).join(" ")}`),
    started: (id, pid, startedAt) => tell(`started ${id} ${pid} ${startedAt}`),
    output: (id, stream, bytes) => {
      if (last.key !== `${stream} ${id}`) flush();
      last.key = `${stream} ${id}`;
      last.bytes = Buffer.concat([last.bytes, bytes]);
    },
    mark: (id, stream, markId) => tell(`mark ${id} ${stream} ${markId}`),
    ended: (id, end) => tell(`ended ${id} ${JSON.stringify(end)}`),
    spawnFailed: (id, stage, errno, why) => tell(`failed ${id} ${stage} ${errno} ${why}`),
    channel: (id, bytes) => {
      if (bytes === undefined) return tell(`closed ${id}`);
      if (last.key !== `channel ${id}`) flush();
      last.key = `channel ${id}`;
      last.bytes = Buffer.concat([last.bytes, bytes]);
    },
    room: (id, bytes) => tell(`room ${id} ${bytes}`),
    sample: (id, usage) => tell(`sample ${id} ${JSON.stringify(usage)}`),
    usage: (id, usage) => tell(`usage ${id} ${JSON.stringify(usage)}`),
    done: (id, errno) => tell(`done ${id} ${errno}`),
    held: (held) => tell(`held ${JSON.stringify(held ?? null)}`),
    returned: (id) => tell(`returned ${id}`),
  });
  for (const chunk of chunks) decoder.push(chunk);
  flush();
  return told;
}

const session = Buffer.concat([
  frame(128, 0, Buffer.from("020000006712000001000000", "hex")),
  frame(129, 1, Buffer.alloc(12, 3)),
  frame(130, 1, Buffer.from("some output\n")),
  frame(132, 1, Buffer.from("0105000000", "hex")),
  frame(131, 1, Buffer.alloc(300, 7)),
  frame(134, 2, Buffer.from("0302000000", "hex")),
  frame(134, 3, Buffer.from("0901000000626563617573650078", "hex")),
  frame(135, 1, Buffer.alloc(200, 5)),
  frame(135, 1, Buffer.alloc(0)),
  frame(136, 1, Buffer.concat([Buffer.alloc(72), Buffer.from([4])])),
  frame(137, 1, Buffer.alloc(73, 0xff)),
  frame(138, 9, Buffer.from("01000000", "hex")),
  frame(139, 1, Buffer.from("00010000", "hex")),
  frame(133, 1, Buffer.alloc(104, 0)),
]);

t.test("a session reads the same however it is cut", async (t) => {
  const whole = decode([session]);
  t.equal(whole.length, 14);
  t.equal(whole[0], "hello 2 4711 1 ");
  t.equal(whole[6], "failed 3 9 1 because");
  t.equal(whole[10], 'usage 1 {"at":0}', "what is no number is not known");
  fc.assert(
    fc.property(fc.array(fc.nat(session.length), { maxLength: 40 }), (cuts) => {
      const at = [0, ...cuts.toSorted((a, b) => a - b), session.length];
      const chunks = at.slice(1).map((end, i) => session.subarray(at[i], end));
      t.strictSame(decode(chunks), whole);
    }),
    { numRuns: 50 },
  );
  t.strictSame(decode([...session].map((byte) => Buffer.from([byte]))), whole);
});

t.test("bytes that are no frames are refused", async (t) => {
  t.throws(() => decode([frame(77, 1, Buffer.alloc(3))]), /frame 77/);
  t.throws(() => decode([frame(133, 1, Buffer.alloc(3))]), /frame 133 of 3 bytes/);
  t.throws(() => decode([frame(134, 1, Buffer.alloc(600))]), /frame 134 of 600 bytes/);
  t.throws(() => decode([Buffer.from("0000000082", "hex"), Buffer.alloc(20)]), /of -5 bytes/);
  t.throws(() => decode([Buffer.from("ffffffff87", "hex"), Buffer.alloc(20)]), /frame 135/);
});

t.test("commands that were taken are not written over by later ones", async (t) => {
  const encoder = new CommandEncoder();
  t.equal(encoder.take(), undefined);
  const env = encodeEnv({ A: "b" }) ?? t.fail("an ordinary environment");
  if (typeof env === "boolean") return;
  const spec = { argv: ["x".repeat(3000)], env: {}, cwd: "/", graceMs: 1 };
  const taken: Buffer[] = [];
  const copies: Buffer[] = [];
  for (let id = 1; id < 40; id++) {
    encoder.spawn(id, spec, env);
    if (id % 3 === 0) encoder.kill(id, 5);
    const bytes = encoder.take() ?? Buffer.alloc(0);
    taken.push(bytes);
    copies.push(Buffer.from(bytes));
  }
  t.strictSame(taken, copies);
});

t.test("an environment that cannot be is refused", async (t) => {
  t.equal(encodeEnv({ "A=B": "" }), undefined);
  t.equal(encodeEnv({ "": "x" }), undefined);
  t.equal(encodeEnv({ A: "\0" }), undefined);
  t.match(encodeEnv({ A: "ü", B: "" }), { count: 2, bytes: Buffer.from("A=ü\0B=\0") });
});
