// Files that sandboxes leave, on their way into the run's working folder: nothing there is followed.
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { dropOutputs, outputFiles, publishOutputs } from "../../agent/sandbox-outputs.ts";

function folders(t: Test) {
  const dir = t.testdir({ kept: {}, work: {}, outside: { secret: "secret" } });
  const keep = (name: string, text: string) => {
    const keptAt = join(dir, "kept", name);
    writeFileSync(keptAt, text);
    return keptAt;
  };
  return { dir, work: join(dir, "work"), keep };
}

t.test("outputs are moved to where their task had them", async (t) => {
  const { work, keep, dir } = folders(t);
  const refused = await publishOutputs(work, [
    { path: "a.txt", keptAt: keep("1", "one"), sizeBytes: 3 },
    { path: "deep/er/b.txt", keptAt: keep("2", "two"), sizeBytes: 3 },
  ]);
  t.same(refused, []);
  t.equal(readFileSync(join(work, "deep/er/b.txt"), "utf8"), "two");
  t.same(readdirSync(join(dir, "kept")), []);
  t.same(outputFiles(work, ["**/*.txt"]).sort(), ["a.txt", "deep/er/b.txt"]);
});

t.test("links of other tasks lead nowhere", async (t) => {
  const { dir, work, keep } = folders(t);
  symlinkSync(join(dir, "outside"), join(work, "out"));
  symlinkSync(join(dir, "outside/secret"), join(work, "link"));
  mkdirSync(join(work, "taken"));
  const refused = await publishOutputs(work, [
    { path: "out/a.txt", keptAt: keep("1", "one"), sizeBytes: 3 },
    { path: "link", keptAt: keep("2", "two"), sizeBytes: 3 },
    { path: "taken", keptAt: keep("3", "x"), sizeBytes: 1 },
  ]);
  t.same(
    refused.map(({ path }) => path),
    ["out/a.txt", "taken"],
  );
  t.same(readdirSync(join(dir, "outside")), ["secret"]);
  t.equal(readFileSync(join(dir, "outside/secret"), "utf8"), "secret");
  t.equal(readFileSync(join(work, "link"), "utf8"), "two", "it took the place of the link");
  t.same(outputFiles(work, ["out/*", "link"]), ["link"], "nor is anything read through one");
});

t.test("what a failed attempt left is forgotten", async (t) => {
  const { dir, keep } = folders(t);
  await dropOutputs([{ path: "a", keptAt: keep("1", "x"), sizeBytes: 1 }]);
  t.same(readdirSync(join(dir, "kept")), []);
});
