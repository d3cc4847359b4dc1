// What a confined program may not call, and that the languages which tasks are written in work all
// the same.
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import t from "tap";
import { type BoxUser, folder, folderOf, runInBox, users } from "./box-rig.ts";
import { fixture, root } from "./launcher-rig.ts";

const EPERM = 1;
const ENOSYS = 38;
const SIGSYS = 31;

const programs = mkdtempSync(join(folder, "programs-"));
execFileSync("chmod", ["755", programs]);
execFileSync("cc", ["-o", join(programs, "refused"), fixture("refused-calls.c")]);
const withPrograms = ["--bind-ro", programs, "/programs"];

/** A toolchain that PATH leads to, perhaps in somebody's home. */
function rustRoot(): string | undefined {
  const ran = spawnSync("rustc", ["--print", "sysroot"], { encoding: "utf8" });
  return ran.status === 0 ? ran.stdout.trim() : undefined;
}

interface Language {
  name: string;
  /** Absolute path inside; without it the language is not tried. */
  needs: string | undefined;
  options?: string[];
  files?: Record<string, string>;
  script: string;
}

const nodeFolder = join(root, "node_modules/node");
// A toolchain in root's home cannot be seen by the ordinary user.
const rust = existsSync("/usr/bin/rustc") ? "/usr" : rustRoot();
const java = "/etc/java-17-openjdk";
const languages: Language[] = [
  {
    name: "bash",
    needs: "/bin/bash",
    script: `bash -c 'set -e; x=$(echo a | tr a b); cat <(echo $x) >/tmp/y; [[ $(</tmp/y) = b ]]; echo ok'`,
  },
  {
    name: "python",
    needs: "/usr/bin/python3",
    files: {
      "a.py": `import multiprocessing, socket, subprocess, tempfile, threading
t = threading.Thread(target=len, args=("x",)); t.start(); t.join()
assert subprocess.check_output(["echo", "x"]) == b"x\\n"
tempfile.NamedTemporaryFile().write(b"x")
assert socket.gethostbyname("localhost") == "127.0.0.1"
with multiprocessing.Pool(2) as p: assert p.map(abs, [-1]) == [1]
print("ok")
`,
    },
    script: "/usr/bin/python3 a.py",
  },
  {
    name: "Node.js",
    needs: join(nodeFolder, "bin/node"),
    options: ["--bind-ro", nodeFolder, "/edgedag/node"],
    files: {
      "a.mjs": `import { execFileSync } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { Worker } from "node:worker_threads";
await new Promise((done) => new Worker("1", { eval: true }).on("exit", done));
await writeFile("x", execFileSync("echo", ["ok"]));
await new Promise((done) => { const s = createServer().listen(0, () => s.close(done)); });
process.stdout.write(await readFile("x"));
`,
    },
    script: "/edgedag/node/bin/node a.mjs",
  },
  {
    name: "C",
    needs: "/usr/bin/gcc",
    files: {
      "a.c": `#include <pthread.h>
#include <stdio.h>
static void *say(void *p) { puts("ok"); return p; }
int main(void) { pthread_t t; return pthread_create(&t, 0, say, 0) || pthread_join(t, 0); }
`,
    },
    script: "gcc -pthread a.c -o a && ./a",
  },
  {
    name: "C++",
    needs: "/usr/bin/g++",
    files: { "a.cc": '#include <iostream>\nint main() { std::cout << "ok\\n"; }\n' },
    script: "g++ a.cc -o a && ./a",
  },
  {
    name: "Java",
    needs: "/usr/bin/javac",
    options: ["--try-bind-ro", java, java],
    files: {
      "A.java": `public class A { public static void main(String[] a) throws Exception {
  Thread t = new Thread(() -> System.out.println("ok")); t.start(); t.join(); } }
`,
    },
    script: "javac A.java && java A",
  },
  {
    name: "Go",
    needs: "/usr/local/go/bin/go",
    files: {
      "a.go": `package main
import "fmt"
func main() { c := make(chan string); go func() { c <- "ok" }(); fmt.Println(<-c) }
`,
    },
    script: "/usr/local/go/bin/go build -o a a.go && ./a",
  },
  {
    name: "Rust",
    needs: rust && join(rust, "bin/rustc"),
    options: ["--bind-ro", rust ?? "/", "/rust"],
    files: { "a.rs": 'fn main() { std::thread::spawn(|| println!("ok")).join().unwrap(); }\n' },
    script: "/rust/bin/rustc a.rs && ./a",
  },
];

/** Lines of name and errno, in the groups that the program makes. */
function groups(stdout: string): Map<string, number>[] {
  return stdout.split("-\n").map(
    (group) =>
      new Map(
        group
          .split("\n")
          .filter((line) => line !== "")
          .map((line) => {
            const [name = "", code = ""] = line.split(" ");
            return [name, Number(code)] as const;
          }),
      ),
  );
}

function inWork(user: BoxUser, language: Language) {
  const work = folderOf(user);
  for (const [name, text] of Object.entries(language.files ?? {})) {
    writeFileSync(join(work, name), text, { mode: 0o644 });
  }
  const options = ["--bind", work, "/work", "--chdir", "/work", "--tmpfs", "/tmp", "536870912"];
  // What tap puts into the environment of every Node.js lies where the box does not show it.
  const script = `export HOME=/work; unset NODE_OPTIONS; ${language.script}`;
  return runInBox(user, ["/bin/sh", "-c", script], [...options, ...(language.options ?? [])]);
}

for (const user of users) {
  t.test(`confined, box of ${user.name}`, { skip: user.skip }, async (t) => {
    t.test("calls", async (t) => {
      const ran = runInBox(user, ["/programs/refused"], withPrograms);
      t.equal(ran.code, 0, ran.stderr);
      const [refused, unknown, sockets, allowed] = groups(ran.stdout);
      t.ok((refused?.size ?? 0) > 45);
      for (const [name, code] of refused ?? []) t.equal(code, EPERM, `${name} is refused`);
      for (const [name, code] of unknown ?? []) t.equal(code, ENOSYS, `${name} is not there`);
      t.equal(sockets?.size, 5);
      for (const [name, code] of sockets ?? []) t.ok(code > 90, `no ${name} socket`);
      t.equal(allowed?.size, 6);
      for (const [name, code] of allowed ?? []) t.equal(code, 0, `${name} passes`);
    });

    t.test(
      "the other table of calls",
      { skip: process.arch !== "x64" && "x86-64 only" },
      async (t) => {
        const ran = runInBox(user, ["/programs/refused", "int80"], withPrograms);
        t.equal(ran.code, 128 + SIGSYS);
        t.equal(ran.stdout, "");
      },
    );

    t.test("further calls, by name", async (t) => {
      const allow = ["--allow", "personality,kcmp", ...withPrograms];
      const [refused] = groups(runInBox(user, ["/programs/refused"], allow).stdout);
      t.equal(refused?.get("personality"), 0);
      t.not(refused?.get("kcmp"), EPERM);
      t.equal(refused?.get("mount"), EPERM);
      const wrong = runInBox(user, ["true"], ["--allow", "kcmp,no_such_call"]);
      t.equal(wrong.code, 71);
      t.match(wrong.stderr, 'there is no system call "no_such_call"');
    });

    for (const language of languages) {
      const { name, needs } = language;
      const skip = needs !== undefined && existsSync(needs) ? false : "not on this machine";
      const isHidden = name === "Rust" && user.caller !== undefined && needs?.startsWith("/root/");
      t.test(name, { skip: isHidden ? `${dirname(needs ?? "")} is root's` : skip }, async (t) => {
        const ran = inWork(user, language);
        t.equal(ran.stdout, "ok\n", ran.stderr);
        t.equal(ran.code, 0);
      });
    }
  });
}
