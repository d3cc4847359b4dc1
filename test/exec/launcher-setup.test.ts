// What a process finds when it starts: descriptors, signals, limits, the worker channel.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { fixture, run, startLauncher, tell } from "./launcher-rig.ts";

t.test("what a process finds", async (t) => {
  const launcher = await startLauncher();
  t.teardown(() => launcher.close());

  t.test("fds 0, 1 and 2 and no other, while others run", async (t) => {
    const others = Array.from({ length: 5 }, () => tell(launcher, ["sleep", "1000"]));
    await Promise.all(others.map((one) => one.started));
    const { stdout } = await run(launcher, [fixture("lists-fds")]);
    t.equal(stdout.toString(), "0=/dev/null 1=pipe 2=pipe\n");
    for (const one of others) one.process.kill(0);
  });

  t.test("a session of its own, an empty signal mask, default dispositions", async (t) => {
    const { stdout, pid } = await run(launcher, ["cat", "/proc/self/stat", "/proc/self/status"]);
    t.match(stdout.toString(), /SigBlk:\t0+\nSigIgn:\t0+\nSigCgt:\t0+\n/);
    const [, group, session] = /\) \S+ \d+ (\d+) (\d+)/.exec(stdout.toString()) ?? [];
    t.strictSame([Number(group), Number(session)], [pid, pid]);
  });

  t.test("the limits that were asked for, and else those of the agent", async (t) => {
    const rlimits = [
      { name: "nofile", soft: 64, hard: 128 },
      { name: "core", soft: 0, hard: 0 },
      { name: "stack", soft: 1024 * 1024, hard: Number.POSITIVE_INFINITY },
    ] as const;
    const { stdout } = await run(launcher, ["cat", "/proc/self/limits"], { rlimits });
    t.match(stdout.toString(), /Max open files +64 +128 /);
    t.match(stdout.toString(), /Max core file size +0 +0 /);
    t.match(stdout.toString(), /Max stack size +1048576 +unlimited /);
    const free = (await run(launcher, ["cat", "/proc/self/limits"])).stdout.toString();
    const stack = /Max stack size.*/;
    t.equal(stack.exec(free)?.[0], stack.exec(readFileSync("/proc/self/limits", "utf8"))?.[0]);
    const burnt = await run(launcher, ["sh", "-c", "while :; do :; done"], {
      rlimits: [{ name: "cpu", soft: 1, hard: 2 }],
    });
    t.match(burnt.end, { signal: "SIGXCPU" });
    if (burnt.end.kind === "exited") t.ok((burnt.end.facts.cpuUserMs ?? 0) > 500);
  });

  t.test("the memory and the cpu that it used are told", async (t) => {
    const { end } = await run(launcher, ["python3", "-c", "x = bytearray(100 << 20)"]);
    if (end.kind !== "exited") throw new Error("not started");
    const rss = (end.facts.maxRssBytes ?? 0) / 2 ** 20;
    t.ok(rss > 100 && rss < 160, `${rss} MiB`);
    t.ok((end.facts.cpuUserMs ?? -1) + (end.facts.cpuSystemMs ?? -1) > 1);
    const small = await run(launcher, ["true"]);
    if (small.end.kind !== "exited") throw new Error("not started");
    t.ok((small.end.facts.maxRssBytes ?? 2 ** 40) < 8 * 2 ** 20, "not the agent's own");
  });

  t.test("a worker channel on fd 3", async (t) => {
    const folder = mkdtempSync(join(tmpdir(), "edgedag-t-"));
    t.teardown(() => rmSync(folder, { recursive: true }));
    const channel = join(folder, "w.sock");
    const answer = Promise.withResolvers<string>();
    const server = createServer((socket) => {
      socket.on("data", (bytes) => answer.resolve(bytes.toString()));
      socket.on("error", () => {}); // a process that ends without reading resets the connection
      socket.write("world");
    });
    await new Promise<void>((resolve) => server.listen(channel, resolve));
    t.teardown(() => server.close());
    const { end } = await run(launcher, [fixture("answers-on-fd3")], { channel });
    t.match(end, { exitCode: 0 });
    t.equal(await answer.promise, "hello world");
    const listed = await run(launcher, [fixture("lists-fds")], { channel });
    t.equal(listed.stdout.toString(), "0=/dev/null 1=pipe 2=pipe 3=socket\n");
  });

  t.test("a start that fails says at what", async (t) => {
    const cases: [Parameters<typeof run>[1], Parameters<typeof run>[2], string, RegExp][] = [
      [["no-such-program"], {}, "ENOENT", /"no-such-program" was not found in PATH/],
      [["/no/such"], {}, "ENOENT", /\/no\/such does not exist/],
      [["/etc/passwd"], {}, "EACCES", /not executable/],
      [["/etc"], {}, "EACCES", /not executable/],
      [[fixture("missing-interpreter")], {}, "ENOENT", /exists, but its interpreter/],
      [[fixture("no-format")], {}, "ENOEXEC", /#! line/],
      [["true"], { cwd: "/no/such" }, "ENOENT", /working folder \/no\/such does not exist/],
      [["true"], { cwd: "/etc/passwd" }, "ENOTDIR", /cannot be entered/],
      [["true"], { channel: "/no/such.sock" }, "ENOENT", /worker channel .* could not be/],
      [["true"], { channel: `/${"x".repeat(120)}` }, "ENAMETOOLONG", /worker channel/],
      [["true"], { rlimits: [{ name: "core", soft: 2, hard: 1 }] }, "EINVAL", /resource limit/],
      [[], {}, "EINVAL", /the command is empty/],
      [["a\0b"], {}, "EINVAL", /NUL/],
      [["true"], { env: { "A=B": "c" } }, "EINVAL", /variable/],
      [["true", "x".repeat(9_000_000)], {}, "E2BIG", /bytes long/],
      [["true", "x".repeat(200_000)], {}, "E2BIG", /could not be executed/],
    ];
    for (const [argv, more, errno, detail] of cases) {
      const { end } = await run(launcher, argv, more);
      t.match(end, { kind: "spawn-failed", errno, detail }, `${argv[0]} ${JSON.stringify(more)}`);
    }
    t.match((await run(launcher, ["true"])).end, { exitCode: 0 });
  });
});
