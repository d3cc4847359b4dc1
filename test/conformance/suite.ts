// The whole conformance suite, for one level, on what this machine has of it: called by one test file
// for each level, so that each is a process of its own.
import { accessSync, constants, readFileSync, statSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import type { Test } from "tap";
import type { BoxLevel } from "../../agent/exec/isolation/box.ts";
import { run } from "../e2e/command.ts";
import { root } from "../isolation/isolation-rig.ts";
import { type OpenedLevel, openLevel } from "../isolation/open-level.ts";
import { edges } from "./edges.ts";
import { functions, languages } from "./functions.ts";
import { limits } from "./limits.ts";
import { programs } from "./programs.ts";
import { Subject } from "./subject.ts";

/** What is in the image that scripts/test-image makes. */
const imageLanguages = ["bash", "c", "javascript", "python"];

const parts = { programs, limits, edges, functions };

export async function registerConformance(t: Test, level: BoxLevel): Promise<void> {
  // Programs in another user's closed home are none for the users of boxes without a root of their own.
  if (level === "subprocess") process.env.PATH = openPath(process.env.PATH ?? "");
  const env = { EDGEDAG_POOL_SIZE: "2", EDGEDAG_LANGUAGES: await ownLanguages(t) };
  const opened = await openLevel(level, { env });
  if (typeof opened === "string") {
    t.plan(0, opened);
    return;
  }
  const subject = new Subject(level, opened.isolation);
  t.teardown(async () => {
    subject.close();
    await opened[Symbol.asyncDispose]();
  });
  const { report } = opened;
  if (report !== undefined && !report.holds) {
    t.fail(`level ${level} does not hold: ${report.detail}. ${report.remedy}`);
    return;
  }
  for (const [name, part] of Object.entries(parts)) {
    await t.test(name, async (t) => await part(t, subject));
  }
  await t.test("languages", async (t) => {
    await languages(t, subject, (language) => lacking(opened, language));
  });
  t.same(opened.problems, [], "nothing went wrong unasked");
}

function lacking({ level, isolation }: OpenedLevel, language: string): string | undefined {
  if (level === "docker") {
    return imageLanguages.includes(language)
      ? undefined
      : `the image of the test has no ${language}`;
  }
  return isolation.languages.has(language) ? undefined : `this host has no ${language}`;
}

/** Go with its standard library compiled, as an operator would have it who waits for it often. */
async function ownLanguages(t: Test): Promise<string> {
  const service = `${root}/scripts/test-services`;
  for (const name of ["rust", "go-cache"]) {
    const made = await run(service, [name], { timeoutMs: 200_000 });
    if (made.code === 0) continue;
    t.comment(`${name}: ${made.stderr.trim()}`);
    if (name === "go-cache") return "";
  }
  const file = join(root, "agent/exec/isolation/languages/go.json");
  const go = JSON.parse(readFileSync(file, "utf8"));
  const cache = "/var/cache/edgedag-test-go";
  go.env.GOCACHE = cache;
  go.toolchains.push(cache);
  return t.testdir({ "go.json": JSON.stringify(go) });
}

function openPath(path: string): string {
  return path
    .split(delimiter)
    .filter((folder) => isOpen(folder))
    .join(delimiter);
}

function isOpen(folder: string): boolean {
  try {
    accessSync(folder, constants.X_OK);
    for (let at = folder; at !== "/"; at = dirname(at)) {
      if ((statSync(at).mode & 0o001) === 0) return false;
    }
    return true;
  } catch {
    // Not there.
    return false;
  }
}
