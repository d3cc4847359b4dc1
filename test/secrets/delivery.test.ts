// Secrets reach the tasks that name them, and nobody and nothing else: real agent, launcher, workers.
import { randomBytes } from "node:crypto";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { mkdtemp, rm, statfs } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import type { Config } from "../../agent/config.ts";
import { giveSecrets } from "../../agent/exec/isolation/attempt/secret-files.ts";
import { checkPolicy } from "../../agent/policy.ts";
import { NodeSecrets } from "../../agent/secrets/node-secrets.ts";
import { segmentPath } from "../../protocol/state-paths.ts";
import { AgentRig, artifactOf } from "../agent/agent-rig.ts";
import { root } from "../rig/cli.ts";
import { shmFoldersOf } from "../rig/leftovers.ts";
import { until } from "../rig/until.ts";
import { commandLinesWith, filesWith, isIn } from "./leaks.ts";

const password = `pw-${randomBytes(12).toString("hex")}`;
const key = `key-${randomBytes(12).toString("base64url")}`;
const secrets = [password, key];

async function withSecrets(
  config: Partial<Config> = {},
): Promise<{ rig: AgentRig; folder: string }> {
  const folder = await mkdtemp("/tmp/node-secrets-");
  writeFileSync(join(folder, "db-password"), `${password}\n`, { mode: 0o600 });
  writeFileSync(join(folder, "key"), key, { mode: 0o600 });
  const rig = await AgentRig.start({
    secretsDirs: [folder],
    secretValues: { FROM_ENV: password },
    master: "ws://127.0.0.1:1",
    ...config,
  });
  return { rig, folder };
}

// Length and halves, so that the result tells what was there without telling it.
const sizes = `{"env":%d,"file":"%s"}`;
const shellTask = `
    shell: |
      printf '${sizes}' "\${#PGPASSWORD}" "$(wc -c < "$KEY") $(stat -c %a "$KEY") $(stat -f -c %T "$KEY")" > "$EDGEDAG_RESULT"
      echo "I say $PGPASSWORD and" >&2
      cat "$KEY"`;
const pythonTask = `
    python:
      code: |
        import os, sys
        def main():
            path = os.environ["KEY"]
            print("I say", os.environ["PGPASSWORD"], file=sys.stderr)
            with open(path) as file:
                print(file.read(), end="")
            return {"env": len(os.environ["PGPASSWORD"]), "file": "%d %o tmpfs" % (os.path.getsize(path), os.stat(path).st_mode & 0o777)}`;
const nodeTask = `
    node:
      code: |
        const fs = require("node:fs");
        exports.main = () => {
          console.error("I say", process.env.PGPASSWORD);
          process.stdout.write(fs.readFileSync(process.env.KEY, "utf8"));
          const stat = fs.statSync(process.env.KEY);
          return { env: process.env.PGPASSWORD.length, file: stat.size + " " + (stat.mode & 0o777).toString(8) + " tmpfs" };
        };`;
const named = `
    secrets: { PGPASSWORD: db-password, KEY: { secret: key, file: true } }`;

t.test("every kind of task gets what it names, as a variable and as a file", async (t) => {
  const { rig, folder } = await withSecrets();
  await using _ = rig;
  t.teardown(() => rm(folder, { recursive: true }));
  await rig.accept(
    "kinds",
    `dag: kinds
tasks:
  shell:${shellTask}${named}
  python:${pythonTask}${named}
  node:${nodeTask}${named}
  env: { command: [sh, -c, 'test "$FROM_ENV" && test -z "$PGPASSWORD$KEY"'], secrets: [FROM_ENV] }
  code:
    code: { language: bash, code: 'test "$PGPASSWORD" && echo "$PGPASSWORD"' }
    secrets: { PGPASSWORD: db-password }
  none:
    needs: [shell, python, node]
    command: [sh, -c, '! env | grep -E "^(PGPASSWORD|KEY|FROM_ENV)="']
`,
  );
  const { outcome } = await rig.end("kinds");
  t.same(outcome, { kind: "succeeded" }, rig.said.join("\n"));
  const wanted = { env: password.length, file: `${key.length} 600 tmpfs` };
  for (const task of ["shell", "python", "node"]) {
    t.same(rig.ends.get(`${task}#1`)?.[0]?.result, wanted, task);
    const lines = (await rig.log("kinds")).filter((line) => line.task === task);
    t.same(lines.map(({ text }) => text).sort(), [
      "***",
      task === "shell" ? "I say *** and" : "I say ***",
    ]);
    const { stdoutBytes = 0 } = rig.ends.get(`${task}#1`)?.[0]?.facts ?? {};
    t.equal(stdoutBytes, key.length, "what was written is counted, not what is shown");
  }
  t.same(filesWith(rig.dir, secrets), []);
  t.same(await shmFoldersOf(join(rig.dir, "state")), [], "files of secrets are gone with the run");
});

t.test("a compiler gets none of what is for the program", async (t) => {
  const { rig, folder } = await withSecrets({ languages: folderOfLanguages() });
  await using _ = rig;
  t.teardown(() => rm(folder, { recursive: true }));
  await rig.accept(
    "compiler",
    `dag: compiler
tasks:
  code:
    code: { language: shown, code: "" }
    secrets: { PGPASSWORD: db-password, KEY: { secret: key, file: true } }
`,
  );
  t.same(
    (await rig.end("compiler")).outcome,
    { kind: "succeeded" },
    JSON.stringify(rig.failure("code#1")),
  );
  const lines = (await rig.log("compiler")).filter(({ source }) => source === "task");
  t.same(
    lines.map(({ text }) => text),
    ["compiled with 0", "run with 2"],
  );

  function folderOfLanguages(): string {
    const folder = mkdtempSync("/tmp/languages-");
    t.teardown(() => rm(folder, { recursive: true }));
    const count = "env | grep -cE '^(PGPASSWORD|KEY)='";
    const shown = {
      name: "shown",
      fileName: "main.txt",
      compile: ["sh", "-c", `echo "compiled with $(${count})" > {out}`],
      run: ["sh", "-c", `cat {out}; echo "run with $(${count})"`],
      image: "debian",
      needs: ["sh"],
      version: ["sh", "-c", "echo 1.0"],
    };
    writeFileSync(join(folder, "shown.json"), JSON.stringify(shown));
    return folder;
  }
});

t.test("no command line has a secret while tasks run with them", async (t) => {
  const { rig, folder } = await withSecrets();
  await using _ = rig;
  t.teardown(() => rm(folder, { recursive: true }));
  // The tasks look themselves: what they are given must not be on any command line meanwhile.
  const look = `
        import os, glob
        def main():
            wanted = os.environ["PGPASSWORD"].encode()
            found = []
            for path in glob.glob("/proc/[0-9]*/cmdline"):
                try:
                    with open(path, "rb") as file:
                        line = file.read()
                except OSError:
                    continue
                if wanted in line:
                    found.append(line.decode("latin1"))
            return found`;
  await rig.accept(
    "argv",
    `dag: argv
tasks:
  python:
    python:
      code: |${look}
    secrets: { PGPASSWORD: db-password }
  command: { command: [sleep, "0.2"], secrets: { PGPASSWORD: db-password } }
`,
  );
  t.same((await rig.end("argv")).outcome, { kind: "succeeded" });
  t.notOk(rig.ends.get("python#1")?.[0]?.result?.toString());
  t.same(commandLinesWith(secrets), []);
});

for (const runtime of ["python", "node"] as const) {
  t.test(`a ${runtime} worker that had a secret is never another task's`, async (t) => {
    const { rig, folder } = await withSecrets();
    await using _ = rig;
    t.teardown(() => rm(folder, { recursive: true }));
    const code = {
      python: (body: string) => `import os\n        def main():\n            ${body}`,
      node: (body: string) => `exports.main = () => { ${body} };`,
    }[runtime];
    const die = { python: "os.kill(os.getpid(), 9)", node: 'process.kill(process.pid, "SIGKILL")' }[
      runtime
    ];
    const tell = {
      python: 'return [os.getpid(), "PGPASSWORD" in os.environ]',
      node: 'return [process.pid, "PGPASSWORD" in process.env]',
    }[runtime];
    // Its whole memory, what was freed as well.
    const search = `return [os.getpid(), found()]`;
    const memory = `import os, re
        def found():
            wanted = ("p" + "w-").encode()
            with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
                for line in maps:
                    match = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line)
                    if not match: continue
                    start, end = (int(part, 16) for part in match.groups())
                    memory.seek(start)
                    if re.search(wanted + b"[0-9a-f]{24}", memory.read(end - start)): return True
            return False
        def main():
            ${search}`;
    const task = (name: string, body: string, more: string) =>
      `  ${name}:\n    ${runtime}:\n      code: |\n        ${body}\n    ${more}\n`;
    await rig.accept(
      "workers",
      `dag: workers\ntasks:\n${[
        task("first", code(tell), "secrets: { PGPASSWORD: db-password }"),
        task("second", code(tell), "secrets: { PGPASSWORD: db-password }\n    needs: [first]"),
        task(
          "crash",
          code(die),
          "secrets: { PGPASSWORD: db-password }\n    needs: [second]\n    allow_failure: true",
        ),
        task("other", code(tell), "secrets: { X: key }\n    needs: [{ task: crash, on: any }]"),
        task(
          "plain",
          runtime === "python" ? memory : code(tell),
          "needs: [{ task: crash, on: any }]",
        ),
      ].join("")}`,
    );
    t.same((await rig.end("workers")).outcome, { kind: "succeeded" }, rig.said.join("\n"));
    const result = (name: string) => rig.ends.get(`${name}#1`)?.[0]?.result as [number, boolean];
    t.equal(rig.failure("crash#1")?.reason, "signal");
    const [first, second, other, plain] = ["first", "second", "other", "plain"].map(result);
    t.equal(first?.[1], true);
    t.equal(second?.[0], first?.[0], "tasks with the same secrets share one");
    t.not(other?.[0], first?.[0], "those with others do not");
    t.not(plain?.[0], first?.[0], "nor those without");
    t.not(plain?.[0], other?.[0]);
    t.same([other?.[1], plain?.[1]], [false, false]);
    // With the run its workers are gone.
    const isAlive = (pid = 0) => readdirSync("/proc").includes(String(pid));
    await rig.stop();
    t.same([first?.[0], other?.[0]].map(isAlive), [false, false]);
  });
}

t.test(
  "a run that names what the node lacks or cannot give is refused before it begins",
  async (t) => {
    const { rig, folder } = await withSecrets();
    await using _ = rig;
    t.teardown(() => rm(folder, { recursive: true }));
    writeFileSync(join(folder, "short"), "abc\n");
    writeFileSync(join(folder, "binary"), randomBytes(32).fill(255, 0, 4));
    writeFileSync(join(folder, "huge"), "x".repeat(100_000));
    mkdirSync(join(folder, "folder"));
    const artifact = await artifactOf(`dag: refused
tasks:
  a: { command: ["true"], secrets: { A: nosuch, B: short, C: binary, D: huge, E: folder } }
  b: { command: ["true"], secrets: { C: { secret: binary, file: true }, F: db-password } }
`);
    const accepted = await rig.agent.accept("refused", artifact, {}, "cli");
    t.equal(accepted.ok, false);
    const found = accepted.ok ? [] : accepted.diagnostics;
    t.same(
      found.map(({ code, path }) => `${code} ${path}`),
      [
        "E_SECRET_MISSING tasks.a.secrets.A",
        "E_SECRET_VALUE tasks.a.secrets.B",
        "E_SECRET_VALUE tasks.a.secrets.C",
        "E_SECRET_VALUE tasks.a.secrets.D",
        "E_SECRET_VALUE tasks.a.secrets.E",
      ],
    );
    for (const { message, remedy } of found) t.ok(message !== "" && remedy !== "", message);
    t.same(rig.agent.openRuns(), []);
  },
);

t.test("what fails, and what is said through the SDK, says nothing", async (t) => {
  const { rig, folder } = await withSecrets();
  await using _ = rig;
  t.teardown(() => rm(folder, { recursive: true }));
  await rig.accept(
    "says",
    `dag: says
tasks:
  python:
    python:
      code: |
        import os
        from edgedag import log, progress, store, artifact
        def main():
            word = os.environ["PGPASSWORD"]
            store.set("word", word)
            log.info("the word is " + word, word=word, list=[word])
            progress(0.5, "at " + word)
            open("a-" + word, "w").close()
            artifact("a-" + word)
            raise KeyError(word)
    secrets: { PGPASSWORD: db-password }
    allow_failure: true
  node:
    node:
      code: "exports.main = () => { throw new Error('no ' + process.env.PGPASSWORD); };"
    secrets: { PGPASSWORD: db-password }
    allow_failure: true
  result:
    shell: |
      printf '{"%s": ["%s"]}' "$PGPASSWORD" "$(printf %s "x$PGPASSWORD" | base64)" > "$EDGEDAG_RESULT"
    secrets: { PGPASSWORD: db-password }
  large:
    python:
      code: |
        import os
        def main():
            return [os.environ["PGPASSWORD"]] * 5000
    secrets: { PGPASSWORD: db-password }
  # It was never given any, and hands on what it was told.
  smuggled:
    needs: [{ task: python, on: any }, large]
    shell: |
      python3 -c 'from edgedag import store; print(store.get("word"))'
      echo {{ needs.large.result[0] }}
`,
  );
  t.same((await rig.end("says")).outcome, { kind: "succeeded" }, rig.said.join("\n"));
  t.match(rig.failure("python#1"), { detail: "KeyError: '***'", trace: /KeyError: '\*\*\*'/ });
  t.match(rig.failure("node#1"), { detail: "Error: no ***" });
  t.match(rig.ends.get("result#1")?.[0]?.result, { "***": [/^e.\*\*\*.?.?=*$/] });
  const lines = await rig.log("says");
  const said = lines.find(({ stream }) => stream === "log");
  t.match(said, { text: "the word is ***", fields: { word: "***", list: ["***"] } });
  const smuggled = lines.filter(({ task }) => task === "smuggled").map(({ text }) => text);
  t.same(smuggled.sort(), ["***", "***"]);
  t.ok(rig.outbox().length > 5, "there is an outbox");
  // The working folder is the task's: it wrote a file of that name there.
  const found = filesWith(rig.dir, secrets);
  t.same(
    found.filter((path) => !path.split("/").includes("work")),
    [],
  );
  t.ok(found.length > 0, "what looks for them finds that one");
  t.notOk(isIn(rig.said.join("\n"), secrets));
});

t.test("what an agent that ends has held back is in the log", async (t) => {
  const { rig, folder } = await withSecrets();
  await using _ = rig;
  t.teardown(() => rm(folder, { recursive: true }));
  // The beginning of the secret, too short to be told from anything else, and too long to be shown.
  const begun = password.slice(0, 8);
  await rig.accept(
    "ends",
    `dag: ends
tasks:
  a: { shell: "printf 'so far: ${begun}'; sleep 100", secrets: { P: db-password } }
`,
  );
  const file = segmentPath(rig.config.stateDir, "ends", 1);
  await until(
    "all but that is in the log",
    () => (existsSync(file) ? readFileSync(file, "utf8") : ""),
    (text) => text.includes("so far: "),
  );
  t.notOk(readFileSync(file, "utf8").includes(begun));
  await rig.stop();
  const said = (await rig.log("ends")).filter(({ task }) => task === "a");
  t.equal(said.map(({ text }) => text).join(""), `so far: ${begun}`);
});

t.test("code that somebody sends in gets no secret of the node", async (t) => {
  const { dag } = await artifactOf(
    'dag: snippet\ntasks: { main: { command: ["true"], secrets: [FROM_ENV] } }',
  );
  const config: Parameters<typeof checkPolicy>[0]["config"] = {
    minIsolation: { file: "none", gateway: "none", cli: "none", snippet: "none" },
    allowNetwork: "no",
    allowMounts: [],
    allowSyscalls: [],
    dockerImages: {},
  };
  const judge = (source: "snippet" | "gateway") =>
    checkPolicy({ source, document: dag, held: ["none"], config, realPath: () => undefined }).map(
      ({ code, path }) => `${code} ${path}`,
    );
  t.same(judge("snippet"), ["E_DAG_POLICY tasks.main.secrets"]);
  t.same(judge("gateway"), []);
});

t.test("a box whose folders lie on a disk gets no file of a secret", async (t) => {
  // The checkout is on a disk, or the test says nothing.
  const io = mkdtempSync(join(root, "build/io-"));
  t.teardown(() => rm(io, { recursive: true }));
  const { type } = await statfs(io);
  if (type === 0x0102_1994) {
    t.pass("the checkout is in memory");
    return;
  }
  const folder = { io, work: io, uid: undefined };
  const inside = { io: "/io", work: "/work" };
  const content = Buffer.from(key);
  const given = await giveSecrets(
    { folder, inside },
    { secrets: { env: {}, files: [{ variable: "KEY", content }] } },
  );
  t.match(given.problem, { kind: "refused", detail: /lies on a disk/ });
  t.same(readdirSync(io), []);
  const variables = await giveSecrets(
    { folder, inside },
    { secrets: { env: { A: "b" }, files: [] } },
  );
  t.same(variables, { env: { A: "b" } });
});

t.test(
  "files of secrets that everybody may read are told of, and folders that are missing",
  async (t) => {
    const folder = await mkdtemp("/tmp/node-secrets-");
    t.teardown(() => rm(folder, { recursive: true }));
    chmodSync(folder, 0o755);
    writeFileSync(join(folder, "open"), password, { mode: 0o644 });
    writeFileSync(join(folder, "closed"), password, { mode: 0o600 });
    // As Kubernetes mounts them.
    mkdirSync(join(folder, "..data"));
    writeFileSync(join(folder, "..data", "linked"), key);
    symlinkSync("..data/linked", join(folder, "linked"));
    for (const name of ["open", "..data/linked"]) chmodSync(join(folder, name), 0o644);
    chmodSync(join(folder, "..data"), 0o755);
    const node = new NodeSecrets({
      folders: [folder, `${folder}/nosuch`],
      variables: {},
      hostEnv: {},
    });
    t.same(node.openFiles().sort(), [join(folder, "linked"), join(folder, "open")]);
    t.same(node.missingFolders(), [`${folder}/nosuch`]);
    t.equal(String(node.read("linked")), key);
    for (const name of ["..data", "../open", ".", "", "linked/x"]) {
      t.match(node.read(name), { code: "E_SECRET_MISSING" }, JSON.stringify(name));
    }
    chmodSync(folder, 0o700);
    t.same(node.openFiles(), []);
  },
);
