// Files in and out of boxes: paths that lead elsewhere, names and kinds that hurt, and a task that
// exchanges files for links while they are collected.
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import t from "tap";
import { maxSamples, SampleRing } from "../../agent/exec/isolation/attempt/samples.ts";
import { writeInputFiles, writeIoFile } from "../../agent/exec/isolation/files/input-files.ts";
import { keepOutputs } from "../../agent/exec/isolation/files/output-files.ts";
import { matchesPath, parsePattern } from "../../agent/exec/isolation/files/output-pattern.ts";
import { readResultFile } from "../../agent/exec/isolation/files/result-file.ts";
import { isRoot, newFolder } from "./isolation-rig.ts";

function put(folder: string, path: string, content = "x"): void {
  mkdirSync(join(folder, dirname(path)), { recursive: true });
  writeFileSync(join(folder, path), content);
}

async function keep(work: string, patterns: string[], more: object = {}) {
  const keepIn = join(newFolder(t), "kept");
  const outputs = await keepOutputs(
    work,
    { patterns, maxCount: 100, maxBytes: 2 ** 20, ...more },
    keepIn,
  );
  return { paths: outputs.artifacts.map(({ path }) => path), keepIn, ...outputs };
}

t.test("inputs are written with mode and owner", async (t) => {
  const work = newFolder(t);
  const uid = isRoot ? 910_009 : undefined;
  const files = [
    { path: "a/b/c.txt", content: "text" },
    { path: "a/run", content: Buffer.from([0, 255]), isExecutable: true },
    { path: "new\nline", content: "" },
  ];
  t.equal(await writeInputFiles({ work, uid }, files, ["empty/one", "a/b"]), undefined);
  t.strictSame(readdirSync(join(work, "empty/one")), []);
  t.equal(readFileSync(join(work, "a/b/c.txt"), "utf8"), "text");
  t.equal(statSync(join(work, "a/run")).mode & 0o777, 0o755);
  if (uid === undefined) return;
  for (const path of ["a", "a/b", "a/b/c.txt", "empty", "empty/one"])
    t.equal(statSync(join(work, path)).uid, uid);
});

t.test("inputs never leave the folder and replace nothing", async (t) => {
  const work = newFolder(t);
  const outside = newFolder(t);
  symlinkSync(outside, join(work, "link"));
  symlinkSync(join(outside, "target"), join(work, "file"));
  put(work, "known");
  for (const path of [
    "../x",
    "/etc/x",
    "a/../../x",
    "a//b",
    "./x",
    "",
    "a\0b",
    "link/x",
    "file",
    "known",
    "known/x",
  ]) {
    const problem = await writeInputFiles({ work, uid: undefined }, [{ path, content: "evil" }]);
    t.match(problem, { kind: "refused" }, path);
    const folder = await writeInputFiles({ work, uid: undefined }, [], [path]);
    t.match(folder, { kind: "refused" }, `${path} as a folder`);
  }
  t.strictSame(readdirSync(outside), []);
  t.equal(readFileSync(join(work, "known"), "utf8"), "x");
  t.match(await writeIoFile({ io: join(work, "none"), uid: undefined }, "x", ""), {
    kind: "refused",
  });
});

t.test("patterns", async (t) => {
  const cases: [pattern: string, meant: string[], not: string[]][] = [
    ["*.csv", ["a.csv", ".csv"], ["a/b.csv", "a.csvx"]],
    ["**/*.csv", ["a.csv", "a/b.csv", "a/b/c.csv"], ["a/b.txt"]],
    ["out", ["out", "out/a", "out/a/b"], ["outer", "a/out"]],
    ["a/**/b", ["a/b", "a/x/b", "a/x/y/b/c"], ["b", "a"]],
    ["**", ["a", "a/b"], []],
    ["?[a-c][!x].[^y]", ["qby.x"], ["qdy.x", "qbx.x", "qby.y"]],
    ["a[", ["a["], ["a"]],
  ];
  for (const [pattern, meant, not] of cases) {
    const parsed = parsePattern(pattern);
    for (const path of meant) t.ok(matchesPath(parsed, path.split("/")), `${pattern} ${path}`);
    for (const path of not) t.notOk(matchesPath(parsed, path.split("/")), `${pattern} ${path}`);
  }
  const slow = parsePattern(`${"*a".repeat(50)}b`);
  const begun = performance.now();
  t.notOk(matchesPath(slow, ["a".repeat(255)]));
  t.ok(performance.now() - begun < 1000);
});

t.test("regular files are kept, in order, with their content", async (t) => {
  const work = newFolder(t);
  for (const path of ["o/b", "o/a", "o/d/c", "other", "o/new\nline"]) put(work, path, path);
  const { artifacts, refused, keepIn } = await keep(work, ["o", "missing"]);
  t.strictSame(
    artifacts.map(({ path, keptAt }) => [path, readFileSync(keptAt, "utf8")]),
    ["o/a", "o/b", "o/d/c", "o/new\nline"].map((path) => [path, path]),
  );
  t.ok(artifacts.every(({ keptAt }) => dirname(keptAt) === keepIn));
  t.strictSame(refused, []);
});

t.test("what is no plain file is refused, and nothing hangs", async (t) => {
  const work = newFolder(t);
  const outside = newFolder(t);
  put(outside, "secret");
  symlinkSync(join(outside, "secret"), join(work, "link"));
  symlinkSync(outside, join(work, "folder"));
  symlinkSync("/proc/self/environ", join(work, "environ"));
  linkSync(join(outside, "secret"), join(work, "hard"));
  execFileSync("mkfifo", [join(work, "pipe")]);
  put(work, "sparse");
  truncateSync(join(work, "sparse"), 2 ** 40);
  writeFileSync(Buffer.concat([Buffer.from(`${work}/`), Buffer.from([0xff, 0xfe])]), "x");
  put(work, "back\\slash");
  const server = (await import("node:net")).createServer().listen(join(work, "socket"));
  await once(server, "listening");
  t.teardown(() => server.close());
  const { paths, refused } = await keep(work, ["**", "../**", "/etc/*"]);
  t.strictSame(paths, []);
  t.strictSame(Object.fromEntries(refused.map(({ path, why }) => [path, why])), {
    "\ufffd\ufffd": "its name is not UTF-8",
    "back\\slash": "it holds a backslash; the separator is `/`",
    environ: "it is a symbolic link",
    folder: "it is a symbolic link",
    hard: "it has other names (hard links)",
    link: "it is a symbolic link",
    pipe: "it is not a regular file",
    socket: "it is not a regular file",
    sparse: "it has 1099511627776 bytes, and 1048576 are left of what may be kept",
  });
});

t.test("a device is refused", { skip: isRoot ? false : "only root makes one" }, async (t) => {
  const work = newFolder(t);
  execFileSync("mknod", [join(work, "zero"), "c", "1", "5"]);
  t.match((await keep(work, ["*"])).refused, [{ why: "it is not a regular file" }]);
});

t.test("count and size are limited, whatever the order on disk", async (t) => {
  const work = newFolder(t);
  for (let i = 0; i < 9; i++) put(work, `f${i}`, "x".repeat(100));
  t.strictSame((await keep(work, ["*"], { maxCount: 3 })).paths, ["f0", "f1", "f2"]);
  const bySize = await keep(work, ["*"], { maxBytes: 250 });
  t.strictSame(bySize.paths, ["f0", "f1"]);
  t.equal(bySize.refused.length, 7);
});

t.test("many refusals are counted, deep folders are given up", async (t) => {
  const work = newFolder(t);
  for (let i = 0; i < 150; i++) symlinkSync("x", join(work, `l${i}`));
  const { refused } = await keep(work, ["*"]);
  t.equal(refused.length, 101);
  t.match(refused.at(-1), { why: "50 further ones" });
  const deep = newFolder(t);
  mkdirSync(join(deep, "d/".repeat(100)), { recursive: true });
  t.match((await keep(deep, ["**"])).refused, [{ why: /more than 64 folders deep/ }]);
});

t.test("a folder that is a link itself, or is gone, is not entered", async (t) => {
  const work = join(newFolder(t), "work");
  symlinkSync("/etc", work);
  const { paths, refused } = await keep(work, ["**"]);
  t.strictSame(paths, []);
  t.match(refused, [{ why: /could not be collected/ }]);
  t.match((await keep(`${work}-gone`, ["**"])).refused, [{ why: /ENOENT/ }]);
});

t.test("links that come and go under the walk never lead outside", async (t) => {
  const work = newFolder(t);
  const outside = newFolder(t);
  put(outside, "f", "SECRET");
  put(work, "d/f", "mine");
  put(work, "g", "mine");
  const swap = `
import os, sys
work, outside = sys.argv[1:]
os.chdir(work)
print("up", flush=True)
while True:
  os.rename("d", "d2"); os.symlink(outside, "d")
  os.unlink("d"); os.rename("d2", "d")
  os.rename("g", "g2"); os.symlink(outside + "/f", "g")
  os.unlink("g"); os.rename("g2", "g")
`;
  const child = spawn("/usr/bin/python3", ["-c", swap, work, outside]);
  await once(child.stdout, "data");
  const seen = { kept: 0, refused: 0 };
  const until = performance.now() + 2000;
  while (performance.now() < until) {
    const { artifacts, refused, keepIn } = await keep(work, ["d/*", "g*"]);
    for (const { keptAt } of artifacts) t.equal(readFileSync(keptAt, "utf8"), "mine");
    if (existsSync(keepIn)) {
      for (const name of readdirSync(keepIn))
        t.not(readFileSync(join(keepIn, name), "utf8"), "SECRET");
    }
    seen.kept += artifacts.length;
    seen.refused += refused.length;
  }
  child.kill("SIGKILL");
  await once(child, "close");
  t.ok(seen.kept > 0 && seen.refused > 0, JSON.stringify(seen));
});

t.test("a result is read as it is looked at", async (t) => {
  const folder = newFolder(t);
  const keepAt = join(folder, "kept", "r.json");
  const read = (name: string) => readResultFile(folder, name, { keepAt, what: "it" });
  put(folder, "ok", '{"a": "[[["}');
  t.strictSame(await read("ok"), { kind: "value", result: { a: "[[[" } });
  put(folder, "blank", " \n");
  t.strictSame(await read("blank"), { kind: "none" });
  t.strictSame(await read("none"), { kind: "none" });
  put(folder, "large", JSON.stringify("x".repeat(100_000)));
  t.match(await read("large"), { kind: "file", file: { path: keepAt, sizeBytes: 100_002 } });
  put(folder, "deep", "[".repeat(2 ** 20));
  put(folder, "sparse");
  truncateSync(join(folder, "sparse"), 2 ** 40);
  symlinkSync("/etc/passwd", join(folder, "link"));
  linkSync(join(folder, "ok"), join(folder, "hard"));
  execFileSync("mkfifo", [join(folder, "pipe")]);
  for (const [name, detail] of [
    ["deep", /nested/],
    ["sparse", /1099511627776 bytes/],
    ["link", /not a regular file/],
    ["pipe", /not a regular file/],
    ["hard", /hard links/],
  ] as const) {
    t.match(await read(name), { kind: "bad", detail }, name);
  }
});

t.test("samples are a ring", async (t) => {
  const ring = new SampleRing();
  t.equal(ring.last, undefined);
  for (let at = 0; at < maxSamples + 5; at++) ring.add({ at });
  const list = ring.list();
  t.equal(list.length, maxSamples);
  t.strictSame([list[0], list.at(-1), ring.last], [{ at: 5 }, { at: 1004 }, { at: 1004 }]);
});
