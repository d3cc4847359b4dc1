// What a box shows and what it hides: files, processes, network, users; and that nothing is left.
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import {
  type BoxUser,
  folder,
  folderOf,
  launcher,
  runInBox,
  startInBox,
  systemArguments,
  users,
} from "./box-rig.ts";
import { root } from "./launcher-rig.ts";

function sh(user: BoxUser, script: string, options: readonly string[] = []) {
  return runInBox(user, ["/bin/sh", "-c", script], options);
}

function withArgument(text: string): string[] {
  return readdirSync("/proc").filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(text);
    } catch {
      return false; // gone between the two looks
    }
  });
}

/** Where a box mounts what it makes, as the host sees it; others on this machine mount elsewhere. */
function ownMounts(): string[] {
  const points = readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .map((line) => line.split(" ")[4] ?? "");
  const own = ["/", "/tmp", "/dev", "/dev/shm", "/dev/pts", "/proc", "/sys", "/usr", "/work"];
  return points.filter((point) => own.includes(point) || point.startsWith(folder)).sort();
}

const connect = `import socket, sys
try:
    family = socket.AF_UNIX if sys.argv[1] == "unix" else socket.AF_INET
    s = socket.socket(family)
    s.settimeout(5)
    s.connect("\\0" + sys.argv[2] if family == socket.AF_UNIX else ("127.0.0.1", int(sys.argv[2])))
    print("connected")
except OSError as e:
    print("refused", e.errno)
`;

for (const user of users) {
  t.test(`box of ${user.name}`, { skip: user.skip }, async (t) => {
    t.test("the program is nobody special", async (t) => {
      const { stdout } = sh(user, "id -u; id -G; hostname; cat /proc/self/status");
      t.match(stdout, new RegExp(`^${user.uid}\n${user.uid}\nsandbox\n`));
      for (const set of ["Inh", "Prm", "Eff", "Bnd", "Amb"]) {
        t.match(stdout, new RegExp(`Cap${set}:\t0+\n`), `no capability in ${set}`);
      }
      t.match(stdout, "NoNewPrivs:\t1");
      t.match(stdout, "Seccomp:\t2");
    });

    t.test("other processes are invisible, the first one is out of reach", async (t) => {
      const pids = sh(user, "cd /proc; echo [0-9]*").stdout.trim().split(" ");
      t.same(pids, ["1", "2"]);
      for (const path of ["root/", "cwd/", "fd/", "environ", "mem"]) {
        t.not(sh(user, `ls /proc/1/${path} && cat /proc/1/${path}`).code, 0, path);
      }
      t.match(sh(user, "kill -9 1; kill -STOP 1; echo alive").stdout, "alive");
    });

    t.test("the host's files are invisible or read-only", async (t) => {
      writeFileSync(join(folder, "secret"), "of the host");
      for (const path of [root, folder, "/root", "/home", "/var", "/run", "/etc/shadow", "/boot"]) {
        t.not(sh(user, `ls ${path}`).code, 0, `${path} is not there`);
      }
      t.equal(sh(user, "ls -A /sys /tmp /dev/shm | grep -v : ").stdout.trim(), "");
      for (const path of ["/usr/x", "/x", "/etc/passwd", "/dev/x", "/proc/sys/kernel/hostname"]) {
        t.not(sh(user, `echo x >>${path}`).code, 0, `${path} cannot be written`);
      }
      t.equal(sh(user, "cat /proc/keys /proc/timer_list 2>/dev/null; ls -A /proc/acpi").stdout, "");
      const mounts = sh(user, "cat /proc/self/mountinfo").stdout.trim().split("\n");
      t.ok(
        mounts.every((line) => line.includes("nosuid")),
        "no mount honours setuid",
      );
    });

    t.test("what is bound is there, as it was asked for", async (t) => {
      const work = folderOf(user);
      const inside = "/work";
      writeFileSync(join(work, "in"), "given");
      const write = "cat in && echo back >out && ln -s in link && mv out moved";
      const ran = sh(user, write, ["--bind", work, inside, "--chdir", inside]);
      t.equal(ran.stdout, "given", ran.stderr);
      t.equal(readFileSync(join(work, "moved"), "utf8"), "back\n");
      t.not(sh(user, `echo >${inside}/x`, ["--bind-ro", work, inside]).code, 0);
      const file = ["--bind-ro", join(work, "in"), "/deep/down/file"];
      t.equal(sh(user, "cat /deep/down/file", file).stdout, "given");
      t.equal(sh(user, "echo x >/tmp/x && cat /tmp/x && echo y >/dev/shm/y").stdout, "x\n");
      const big = sh(user, "head -c 2000000 /dev/zero >/tmp/big", ["--tmpfs", "/tmp", "1048576"]);
      t.match(big.stderr, "No space left");
      t.equal(sh(user, "head -c 3 /dev/zero | wc -c; echo >/dev/null").stdout.trim(), "3");
    });

    t.test("the host's network is out of reach, unless asked for", async (t) => {
      const server = createServer((socket) => socket.destroy());
      const abstract = createServer((socket) => socket.destroy());
      const name = `edgedag-box-${process.pid}-${user.uid}`;
      server.listen(0, "127.0.0.1");
      abstract.listen(`\0${name}`);
      await Promise.all([once(server, "listening"), once(abstract, "listening")]);
      t.teardown(() => {
        server.close();
        abstract.close();
      });
      const address = server.address();
      const port = typeof address === "object" ? String(address?.port) : "";
      async function told(kind: string, where: string, net: string): Promise<string> {
        const program = ["/usr/bin/python3", "-c", connect, kind, where];
        const child = startInBox(user, program, ["--net", net]);
        let text = "";
        child.stdout.on("data", (bytes: Buffer) => (text += bytes));
        await once(child, "close");
        return text;
      }
      t.match(await told("inet", port, "none"), "refused");
      t.match(await told("inet", port, "host"), "connected");
      t.match(await told("unix", name, "none"), "refused");
      t.match(await told("unix", name, "host"), "refused", "Landlock keeps abstract sockets apart");
      t.match(sh(user, "cat /proc/net/dev").stdout, "lo:");
    });

    t.test("codes and signals come out", async (t) => {
      t.equal(sh(user, "exit 7").code, 7);
      t.equal(sh(user, "kill -9 $$").code, 137);
      t.equal(runInBox(user, ["/no/such"]).code, 127);
    });

    t.test("nothing is left", async (t) => {
      const before = ownMounts();
      t.equal(sh(user, "(setsid sleep 7654.25 &) ; setsid sleep 7654.25 & exit 0").code, 0);
      t.same(withArgument("7654.25"), [], "processes that nobody waits for");
      const child = startInBox(user, [
        "/bin/sh",
        "-c",
        "echo up; (setsid sleep 7654.5 &); sleep 7654.5",
      ]);
      await once(child.stdout, "data");
      child.kill("SIGKILL");
      await once(child, "close"); // the pipes are closed when the last one is dead
      t.same(withArgument("sleep 7654.5"), [], "killed from outside");
      t.same(ownMounts(), before, "the host's mounts");
    });

    t.test("it serves on its channel when a launcher starts it", async (t) => {
      const script = join(root, "test/fixtures/box-outer.ts");
      const words = [String(user.uid), launcher, folderOf(user), ...systemArguments()];
      if (user.caller) words.push("--as-ordinary");
      const node = ["--disable-warning=ExperimentalWarning", script, ...words];
      const ran = spawnSync(process.execPath, node, { encoding: "utf8", timeout: 30_000 });
      t.match(ran.stdout, /^said \d+\nended 0\n$/, ran.stderr);
    });

    t.test("what cannot be made is said", async (t) => {
      const gone = join(tmpdir(), "edgedag-no-such-folder");
      const missing = sh(user, "true", ["--bind-ro", gone, "/x"]);
      t.equal(missing.code, 71);
      t.match(missing.stderr, `copying the view of ${gone}: No such file`);
      t.equal(sh(user, "true", ["--try-bind-ro", gone, "/x"]).code, 0);
      t.equal(sh(user, "true", ["--frobnicate"]).code, 64);
      t.equal(sh(user, "true", ["--tmpfs", "/tmp", "0"]).code, 64, "0 would be no limit");
      t.equal(sh(user, "true", ["--bind", "/usr", "relative"]).code, 64);
    });
  });
}
