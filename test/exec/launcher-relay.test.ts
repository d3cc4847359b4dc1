// The relayed channel: fd 3 of a process in frames, both ways, in little memory, holding up nobody.
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { fixture, peakRssBytes, run, startLauncher, tell } from "./launcher-rig.ts";

const launcherRoom = 6 * 1024 * 1024;
const echo = ["python3", "-c", "import os\nwhile b := os.read(3, 65536):\n  os.write(3, b)"];

t.test("what a process finds on fd 3 and on fd 0", async (t) => {
  const launcher = await startLauncher();
  t.teardown(() => launcher.close());
  const folder = mkdtempSync(join(tmpdir(), "edgedag-t-"));
  t.teardown(() => rmSync(folder, { recursive: true }));

  t.test("a socket, whose bytes come and go", async (t) => {
    const told = tell(launcher, echo, { relay: true });
    told.process.send?.(Buffer.from("before it runs "));
    await told.started;
    told.process.send?.(Buffer.from("and after"));
    await told.said("before it runs and after");
    told.process.send?.(Buffer.alloc(0));
    const story = await told.done;
    t.match(story.end, { exitCode: 0, facts: { leaked: undefined } });
    t.equal(story.closes, 1);
    const listed = await run(launcher, [fixture("lists-fds")], { relay: true });
    t.equal(listed.stdout.toString(), "0=/dev/null 1=pipe 2=pipe 3=socket\n");
  });

  t.test("what it wrote last is told before its end, also after its death", async (t) => {
    const script = "import os\nos.write(3, b'x' * 150000)\nos.kill(os.getpid(), 9)";
    const story = await run(launcher, ["python3", "-c", script], { relay: true });
    t.match(story.end, { signal: "SIGKILL" });
    t.equal(story.channel.length, 150_000);
    t.equal(story.closes, 1);
  });

  t.test("10 MB go both ways in little memory", async (t) => {
    const told = tell(launcher, echo, { relay: true });
    const bytes = Buffer.alloc(10_000_000, "0123456789abcdefg");
    told.process.send?.(bytes);
    await told.relayed(bytes.length);
    told.process.send?.(Buffer.alloc(0));
    const story = await told.done;
    t.ok(story.channel.equals(bytes));
    t.ok(peakRssBytes(launcher.pid) < launcherRoom, `${peakRssBytes(launcher.pid)} bytes`);
  });

  t.test("a process that does not read holds up neither others nor its own end", async (t) => {
    const deaf = tell(launcher, ["sleep", "1000"], { relay: true });
    await deaf.started;
    deaf.process.send?.(Buffer.alloc(10_000_000));
    const { end } = await run(launcher, ["true"]);
    t.match(end, { exitCode: 0 });
    t.ok(peakRssBytes(launcher.pid) < launcherRoom, `${peakRssBytes(launcher.pid)} bytes`);
    deaf.process.kill(0);
    t.match((await deaf.done).end, { signal: "SIGKILL", stopped: "killed" });
  });

  t.test("a process that closes it lives on, and sending is no error", async (t) => {
    const script = "import os, sys\nos.close(3)\nprint('closed', flush=True)\nsys.stdin.read()";
    const told = tell(launcher, ["python3", "-c", script], { relay: true });
    await told.said("closed");
    for (let i = 0; i < 20; i++) told.process.send?.(Buffer.alloc(100_000));
    const { end, closes } = await told.done;
    t.match(end, { exitCode: 0 });
    t.equal(closes, 1);
  });

  t.test("the channel as stdin and stdout; stderr is still captured", async (t) => {
    const channel = join(folder, "c.sock");
    const answer = Promise.withResolvers<string>();
    const server = createServer((socket) => {
      let text = "";
      socket.on("data", (bytes) => {
        text += bytes.toString();
      });
      socket.on("end", () => answer.resolve(text));
      socket.end("through cat");
    });
    await new Promise<void>((resolve) => server.listen(channel, resolve));
    t.teardown(() => server.close());
    const argv = ["sh", "-c", "cat; echo told >&2"];
    const { end, stdout, stderr } = await run(launcher, argv, { channel, isChannelStdio: true });
    t.match(end, { exitCode: 0, facts: { stdoutBytes: 0, stderrBytes: 5 } });
    t.equal(stdout.toString(), "");
    t.equal(stderr.toString(), "told\n");
    t.equal(await answer.promise, "through cat");
    const relayed = tell(launcher, ["cat"], { relay: true, isChannelStdio: true });
    relayed.process.send?.(Buffer.from("once more"));
    relayed.process.send?.(Buffer.alloc(0));
    t.equal((await relayed.done).channel.toString(), "once more");
  });

  t.test("a file as stdin, and no way to make the launcher wait or follow", async (t) => {
    const stdin = join(folder, "in");
    writeFileSync(stdin, "from a file");
    t.equal((await run(launcher, ["cat"], { stdin })).stdout.toString(), "from a file");
    const missing = await run(launcher, ["cat"], { stdin: join(folder, "no") });
    t.match(missing.end, { kind: "spawn-failed", errno: "ENOENT", detail: /as its stdin/ });
    symlinkSync("/etc/shadow", join(folder, "link"));
    const link = await run(launcher, ["cat"], { stdin: join(folder, "link") });
    t.match(link.end, { kind: "spawn-failed", errno: "ELOOP" });
    await run(launcher, ["mkfifo", join(folder, "fifo")]);
    const fifo = await run(launcher, ["cat"], { stdin: join(folder, "fifo") });
    t.match(fifo.end, { exitCode: 0 });
  });

  t.test("a channel of two kinds, or none as stdio, is refused", async (t) => {
    for (const more of [{ relay: true, channel: "/x" }, { isChannelStdio: true }]) {
      const { end } = await run(launcher, ["true"], more);
      t.match(end, { kind: "spawn-failed", errno: "EINVAL", detail: /did not understand/ });
    }
  });
});
