// Level seccomp, with the real launcher and real processes.
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import t from "tap";
import type { BoxKind } from "../../agent/exec/isolation/box.ts";
import { kindOf, newFolder, runIn, smallLimits } from "./isolation-rig.ts";
import { startParts } from "./level-rig.ts";
import { levelSuite } from "./level-suite.ts";

levelSuite("seccomp");

t.test("seccomp: what can be seen and reached from inside", async (t) => {
  const folder = newFolder(t);
  await using parts = await startParts(folder, `t${process.pid}see`);
  const pool = parts.pool({ size: 0 });

  const run = async (script: string, more: Partial<BoxKind> = {}) => {
    const warm = await pool.take(kindOf("seccomp", more), smallLimits);
    await warm.box.arm(smallLimits, { graceMs: 0 });
    const story = await runIn(warm.box, ["/bin/sh", "-c", script]);
    await warm.release();
    return story;
  };

  await t.test("the root holds the system, the box's folders and nothing else", async (t) => {
    const { stdout } = await run(
      "ls -A /; ls /work /run /edgedag; hostname; ls /proc | grep -c '^[0-9]'",
    );
    t.notMatch(stdout, /root\n|home\n|var\n/);
    t.match(stdout, /launcher\nnode\nsdk\nworkers\n/);
    const { stdout: file } = await run(
      "cat /etc/shadow; cat /edgedag/launcher >/dev/null && echo ok",
    );
    t.equal(file, "ok\n");
  });

  await t.test("only its own folders can be written", async (t) => {
    const script =
      "for f in / /usr /etc /edgedag /work /run/edgedag /tmp /dev/shm; do touch $f/x 2>/dev/null && echo $f; done";
    const { stdout } = await run(script);
    t.equal(stdout, "/work\n/run/edgedag\n/tmp\n/dev/shm\n");
  });

  await t.test("the host's network is there only when the kind has it", async (t) => {
    const server = createServer((_request, response) => response.end("hello"));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    t.teardown(() => server.close());
    const address = server.address();
    const port = typeof address === "object" ? address?.port : 0;
    const script = `exec /usr/bin/python3 -c 'import urllib.request as u; print(u.urlopen("http://127.0.0.1:${port}").read())'`;
    t.not((await run(script)).stdout, "b'hello'\n");
    t.equal((await run(script, { network: true })).stdout, "b'hello'\n");
  });

  await t.test("mounts are there as the kind has them", async (t) => {
    const data = join(folder, "data");
    mkdirSync(data, { mode: 0o777 });
    writeFileSync(join(data, "f"), "content", { mode: 0o666 });
    const script = "cat /data/deep/f; echo more 2>/dev/null >>/data/deep/f || echo no";
    const mount = { source: data, target: "/data/deep", isWritable: false };
    t.equal((await run(script, { mounts: [mount] })).stdout, "contentno\n");
    t.equal(readFileSync(join(data, "f"), "utf8"), "content");
    await run(script, { mounts: [{ ...mount, isWritable: true }] });
    t.match(readFileSync(join(data, "f"), "utf8"), /^content/);
  });

  await t.test("a system call that is denied is allowed to a kind that names it", async (t) => {
    const script = "unshare -U true 2>/dev/null && echo made; echo end";
    t.equal((await run(script)).stdout, "end\n");
    t.equal((await run(script, { syscalls: ["unshare"] })).stdout, "made\nend\n");
  });

  await t.test("links in the task's folder lead nowhere outside", async (t) => {
    const { box, release } = await pool.take(kindOf("seccomp"), smallLimits);
    symlinkSync(join(folder, "secret"), join(box.folder.work, "link"));
    writeFileSync(join(folder, "secret"), "secret", { mode: 0o644 });
    const { stdout } = await runIn(box, ["/bin/sh", "-c", "cat link 2>/dev/null; echo end"]);
    t.equal(stdout, "end\n");
    await release();
  });
});
