// Packing, checking and unpacking artifacts on a real file system, and the commands around them.
import { chmodSync, lstatSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { unpackArtifact } from "../../agent/unpack-artifact.ts";
import { packDag } from "../../cli/pack.ts";
import { pack as packCommand } from "../../cli/pack-command.ts";
import { validate } from "../../cli/validate.ts";
import { artifactDigest, canonicalJson, sha256Hex } from "../../protocol/canonical.ts";
import { fileBytes, loadArtifact } from "../../protocol/pack.ts";

const document = `
dag: d
files: ["data/*.csv", "lib/**/*.py"]
tasks:
  a: { python: "./tasks.py:f" }
  b: { command: [sh, run.sh, nothing.txt, /etc/passwd] }
  c: { shell: "cat <notes.txt; ls data" }
`;

function folder(t: Test): string {
  const root = t.testdir({
    "dag.yaml": document,
    "tasks.py": "def f(): pass\n",
    "run.sh": "#!/bin/sh\n",
    "notes.txt": "ä",
    "unused.txt": "x",
    data: { "a.csv": Buffer.from([0xff, 0x00, 0x80]), "b.txt": "no" },
    lib: { deep: { "m.py": "x = 1\n" } },
    outside: {},
  });
  chmodSync(join(root, "run.sh"), 0o755);
  return root;
}

async function packed(path: string) {
  const result = await packDag(path);
  if (!result.ok) throw new Error(JSON.stringify(result.diagnostics));
  return result.value;
}

function io() {
  const text = { out: "", err: "" };
  const stdout = { write: (chunk: string) => (text.out += chunk) };
  const stderr = { write: (chunk: string) => (text.err += chunk) };
  return { text, stdout, stderr };
}

function codes(result: Awaited<ReturnType<typeof packDag>>): string[] {
  return result.ok ? [] : result.diagnostics.map(({ code, path }) => `${code} ${path}`);
}

t.test("an artifact has every file that the tasks need, and no other", async (t) => {
  const artifact = await packed(join(folder(t), "dag.yaml"));
  t.same(
    artifact.files.map(({ path }) => path),
    ["data/a.csv", "lib/deep/m.py", "notes.txt", "run.sh", "tasks.py"],
  );
  t.match(artifact.files[0], { base64: "/wCA", sha256: sha256Hex(Buffer.from([0xff, 0, 0x80])) });
  t.equal(artifact.files[3]?.executable, true);
});

t.test("packing twice gives the same digest, and the file loads again", async (t) => {
  const root = folder(t);
  const artifact = await packed(join(root, "dag.yaml"));
  t.equal(artifactDigest(artifact), artifactDigest(await packed(join(root, "dag.yaml"))));
  const out = join(root, "dag.artifact.json");
  const streams = io();
  t.equal(await packCommand(join(root, "dag.yaml"), { out }, streams), 0);
  t.match(streams.text.out, artifactDigest(artifact));
  const loaded = await loadArtifact(readFileSync(out, "utf8"));
  t.same(loaded, { ok: true, value: artifact });
  t.equal(sha256Hex(readFileSync(out, "utf8").trimEnd()), artifactDigest(artifact));
});

t.test("what is unpacked is what was packed", async (t) => {
  const root = folder(t);
  const artifact = await packed(join(root, "dag.yaml"));
  const target = join(root, "work");
  t.same(await unpackArtifact(artifact, target), { ok: true, value: 5 });
  t.same(await unpackArtifact(artifact, target), { ok: true, value: 5 }, "and again");
  for (const file of artifact.files) t.same(readFileSync(join(target, file.path)), fileBytes(file));
  t.equal(lstatSync(join(target, "run.sh")).mode & 0o777, 0o755);
});

t.test("unpacking never follows a link", async (t) => {
  const root = folder(t);
  const artifact = await packed(join(root, "dag.yaml"));
  const target = join(root, "work");
  mkdirSync(target);
  symlinkSync(join(root, "outside"), join(target, "data"));
  t.match(await unpackArtifact(artifact, target), { ok: false });
  const second = join(root, "second");
  mkdirSync(second);
  symlinkSync(join(root, "unused.txt"), join(second, "notes.txt"));
  t.match(await unpackArtifact(artifact, second), { ok: false });
  t.equal(readFileSync(join(root, "unused.txt"), "utf8"), "x");
});

t.test("missing files and links that lead out are refused", async (t) => {
  const root = folder(t);
  symlinkSync("/etc/hostname", join(root, "leak.py"));
  symlinkSync("nowhere", join(root, "dangling.txt"));
  const path = join(root, "bad.yaml");
  writeFileSync(
    path,
    'dag: d\nfiles: ["*.none"]\ntasks: { a: {python: "none.py:f"}, b: {python: "leak.py:f"}, c: {command: [cat, dangling.txt]}, d: {python: "data:f"} }',
  );
  t.same(codes(await packDag(path)).sort(), [
    "E_DAG_FILE files[0]",
    "E_DAG_FILE tasks.a",
    "E_DAG_FILE tasks.b",
    "E_DAG_FILE tasks.c",
    "E_DAG_FILE tasks.d",
  ]);
});

t.test("an artifact that was changed is refused", async (t) => {
  const artifact = await packed(join(folder(t), "dag.yaml"));
  const changed = (
    change: (copy: { files: Record<string, unknown>[]; [k: string]: unknown }) => void,
  ) => {
    const copy = JSON.parse(JSON.stringify(artifact));
    change(copy);
    return loadArtifact(copy);
  };
  const first = (fields: object) =>
    changed((copy) => {
      Object.assign(copy.files[2] ?? {}, fields);
    });
  const table: [string, ReturnType<typeof loadArtifact>, string][] = [
    ["text", first({ text: "other" }), "E_DAG_ARTIFACT files[2]"],
    ["upwards", first({ path: "../x" }), "E_DAG_ARTIFACT files[2]"],
    ["absolute", first({ path: "/x" }), "E_DAG_ARTIFACT files[2]"],
    ["twice", first({ path: "data/a.csv" }), "E_DAG_ARTIFACT files[2]"],
    ["below a file", first({ path: "data/a.csv/x" }), "E_DAG_ARTIFACT files[2]"],
    ["both contents", first({ base64: "" }), "E_DAG_ARTIFACT files[2]"],
    ["a field", first({ mode: 1 }), "E_DAG_ARTIFACT files[2]"],
    [
      "version",
      changed((copy) => {
        copy.artifact = 2;
      }),
      "E_DAG_VERSION artifact",
    ],
    [
      "no code",
      changed((copy) => {
        copy.files = [];
      }),
      "E_DAG_FILE dag.nodes[0].attributes.run.file",
    ],
    [
      "no files",
      changed((copy) => {
        Reflect.deleteProperty(copy, "files");
      }),
      "E_DAG_ARTIFACT files",
    ],
    [
      "a bad DAG",
      changed((copy) => {
        copy.dag = { nodes: [], edges: [] };
      }),
      "E_DAG_REQUIRED dag.attributes",
    ],
    ["another file", loadArtifact("hello"), "E_DAG_ARTIFACT "],
  ];
  for (const [name, result, expected] of table) {
    const found = await result;
    const all = found.ok ? [] : found.diagnostics.map(({ code, path }) => `${code} ${path}`);
    t.ok(all.includes(expected), `${name}: ${all}`);
  }
});

t.test("validate tells people and programs, with the exit code", async (t) => {
  const root = folder(t);
  writeFileSync(join(root, "bad.yaml"), "dag: d\ntasks: {a: {}}");
  const fine = io();
  t.equal(await validate([join(root, "dag.yaml")], {}, fine), 0);
  t.match(fine.text.out, /tasks 3, edges 0, files 5/);
  const bad = io();
  t.equal(await validate([join(root, "bad.yaml")], {}, bad), 65);
  t.match(bad.text.err, /E_DAG_RUN at tasks.a/);
  const json = io();
  t.equal(
    await validate([join(root, "dag.yaml"), join(root, "none.yaml")], { json: true }, json),
    66,
  );
  t.match(JSON.parse(json.text.out), [
    { ok: true },
    { ok: false, diagnostics: [{ code: "E_DAG_FILE" }] },
  ]);
  t.equal(await packCommand(join(root, "dag.yaml"), { out: join(root, "no/where") }, io()), 73);
});

t.test("canonical JSON is one text for equal values", async (t) => {
  t.equal(
    canonicalJson({ b: [1, "ä"], a: { d: null, c: undefined } }),
    '{"a":{"d":null},"b":[1,"ä"]}',
  );
});
