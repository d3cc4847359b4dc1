// What an agent allows: every finding at once, each with its path and what to do.
import { mkdirSync, realpathSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { loadLanguages } from "../../agent/exec/isolation/languages/languages.ts";
import { checkPolicy, type PolicyInput } from "../../agent/policy.ts";
import { parseDagText } from "../../protocol/load-dag.ts";

const loaded = loadLanguages("");
if (!loaded.ok) throw new Error("no languages");
const registry = loaded.value;

function realPath(path: string): string | undefined {
  try {
    return realpathSync(path);
  } catch {
    // Nothing is there.
    return undefined;
  }
}

async function check(
  tasks: string,
  more: Partial<PolicyInput["config"]> = {},
  others: Partial<PolicyInput> = {},
) {
  const document = await parseDagText(`dag: d\ntasks: ${tasks}`);
  if (!document.ok) throw new Error(JSON.stringify(document.diagnostics));
  return checkPolicy({
    source: "gateway",
    document: document.value,
    held: ["none", "subprocess", "seccomp", "docker"],
    config: {
      minIsolation: { file: "none", gateway: "none", cli: "none", snippet: "subprocess" },
      allowNetwork: "no",
      allowMounts: [],
      allowSyscalls: [],
      dockerImages: {},
      ...more,
    },
    languages: { registry, languages: new Map() },
    realPath,
    ...others,
  });
}

const codes = (found: Awaited<ReturnType<typeof check>>) =>
  found.map(({ code, path }) => `${code} ${path.replace(/^tasks\.a\./, "")}`);

t.test("what asks for nothing may run", async (t) => {
  t.strictSame(await check("{ a: { shell: x }, b: { shell: x, isolation: seccomp } }"), []);
});

t.test("all findings of all tasks are told at once, with what to do", async (t) => {
  const found = await check(`
  a: { shell: x, isolation: gvisor, sandbox: { network: true, syscalls: [bpf, chroot] } }
  b: { code: { language: cc, code: x } }
  c: { code: { language: rust, code: x }, isolation: seccomp, sandbox: { mounts: [{ source: /etc, target: /m }] } }`);
  t.strictSame(codes(found), [
    "E_DAG_ISOLATION isolation",
    "E_DAG_POLICY sandbox.network",
    "E_DAG_POLICY sandbox.syscalls[0]",
    "E_DAG_POLICY sandbox.syscalls[1]",
    "E_DAG_LANGUAGE tasks.b.code.language",
    "E_DAG_LANGUAGE tasks.c.code.language",
    "E_DAG_POLICY tasks.c.sandbox.mounts[0].source",
  ]);
  for (const { message, remedy } of found) {
    t.match(message, /^Task `[abc]` .*\.$/);
    t.not(remedy, "");
  }
});

t.test("the least level is that of the document's source", async (t) => {
  const minIsolation = {
    file: "none",
    gateway: "seccomp",
    cli: "subprocess",
    snippet: "none",
  } as const;
  const task = "{ a: { shell: x, isolation: subprocess } }";
  t.strictSame(codes(await check(task, { minIsolation })), ["E_DAG_POLICY isolation"]);
  t.strictSame(await check(task, { minIsolation }, { source: "cli" }), []);
  t.strictSame(await check("{ a: { shell: x } }", { minIsolation }, { source: "file" }), []);
});

t.test("what the operator allows may run, and no call more", async (t) => {
  const task =
    "{ a: { shell: x, isolation: docker, sandbox: { network: true, syscalls: [bpf, mount] } } }";
  const found = await check(task, { allowNetwork: "yes", allowSyscalls: ["bpf"] });
  t.strictSame(codes(found), ["E_DAG_POLICY sandbox.syscalls[1]"]);
});

t.test("a language is there by its alias, and in an image without the host", async (t) => {
  const language = registry.find("c");
  if (language === undefined) throw new Error("no C");
  const found = new Map([["c", { language, version: "1.0", programs: {}, toolchains: [] }]]);
  t.strictSame(
    await check(
      "{ a: { code: { language: C, code: x } } }",
      {},
      { languages: { registry, languages: found } },
    ),
    [],
  );
  const docker = "{ a: { code: { language: golang, code: x }, isolation: docker } }";
  t.strictSame(await check(docker), []);
  t.strictSame(codes(await check(docker, { dockerImages: { go: "" } })), [
    "E_DAG_LANGUAGE code.language",
  ]);
});

t.test("mounts are held to the list, through links and by their end", async (t) => {
  const dir = realpathSync(t.testdir({ data: { sub: {} }, database: {}, secret: {} }));
  symlinkSync(join(dir, "secret"), join(dir, "data/out"));
  symlinkSync(join(dir, "data"), join(dir, "alias"));
  mkdirSync(join(dir, "data/rw"));
  const allowMounts = [
    { path: join(dir, "data"), isWritable: false },
    { path: join(dir, "data/rw"), isWritable: true },
    { path: join(dir, "alias"), isWritable: false },
    { path: join(dir, "gone"), isWritable: false },
  ];
  const mount = async (source: string, writable = false) => {
    const sandbox = `{ mounts: [{ source: ${join(dir, source)}, target: /m, writable: ${writable} }] }`;
    const task = `{ a: { shell: x, isolation: seccomp, sandbox: ${sandbox} } }`;
    return (await check(task, { allowMounts })).map(({ message }) => message).join();
  };
  t.equal(await mount("data"), "");
  t.equal(await mount("data/sub"), "");
  t.equal(await mount("alias/sub"), "");
  t.equal(await mount("data/rw", true), "");
  t.match(await mount("data/sub", true), /for reading only/);
  t.match(await mount("data/out"), /leads to a place/);
  t.match(await mount("data/none"), /is not there/);
  t.match(await mount("gone"), /is not there/);
  t.match(await mount("database"), /does not allow/);
  t.match(await mount("secret"), /does not allow/);
  const all = [{ path: "/", isWritable: false }];
  const task =
    "{ a: { shell: x, isolation: seccomp, sandbox: { mounts: [{ source: /etc, target: /m }] } } }";
  t.strictSame(await check(task, { allowMounts: all }), []);
});
