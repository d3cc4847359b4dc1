// The registry of languages: what its files may say, what is found on this host, and that every
// language that is found compiles and runs a program, with little more than nothing around it.
import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { javaUnit } from "../../agent/exec/isolation/languages/java-unit.ts";
import {
  commandOf,
  type Language,
  languageEnv,
  sourceName,
  unitOf,
} from "../../agent/exec/isolation/languages/language.ts";
import { findLanguages } from "../../agent/exec/isolation/languages/language-find.ts";
import { LanguageRegistry, loadLanguages } from "../../agent/exec/isolation/languages/languages.ts";

const path = process.env.PATH ?? "";
const limitMs = 120_000;
// A first Go build compiles the standard library: that is long on a busy machine of two cores.
t.setTimeout(4 * limitMs);

/** Prints its first argument and what it reads. */
const sources: { readonly [language: string]: string } = {
  bash: 'read -r line; echo "$1 $line"',
  c: `#include <stdio.h>
int main(int argc, char **argv) { char line[99]; if (!fgets(line, 99, stdin)) return 1;
  printf("%s %s", argv[argc - 1], line); return 0; }`,
  cpp: `#include <iostream>
#include <string>
int main(int, char **argv) { std::string line; std::getline(std::cin, line);
  std::cout << argv[1] << " " << line << std::endl; }`,
  go: `package main
import ("bufio"; "fmt"; "os")
func main() { line, _ := bufio.NewReader(os.Stdin).ReadString('\\n'); fmt.Print(os.Args[1], " ", line) }`,
  java: `package demo;
import java.util.*;
interface Shape {}
public class Hello { record Pair(int a, int b) {}
  public static void main(String[] args) { System.out.println(args[0] + " " + new Scanner(System.in).nextLine()); } }`,
  javascript:
    'process.stdin.on("data", (data) => process.stdout.write(`$' +
    "{process.argv[2]} $" +
    "{data}`));",
  python: "import sys; print(sys.argv[1], sys.stdin.readline().strip())",
  rust: `use std::io;
fn main() { let mut line = String::new(); io::stdin().read_line(&mut line).unwrap();
  print!("{} {}", std::env::args().nth(1).unwrap(), line); }`,
  typescript:
    'process.stdin.on("data", (data: Buffer): boolean => process.stdout.write(`$' +
    "{process.argv[2]} $" +
    "{data}`));",
};

function builtIn(): LanguageRegistry {
  const loaded = loadLanguages("");
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.diagnostics));
  return loaded.value;
}

t.test(
  "each language that the host has compiles and runs a program",
  { timeout: 4 * limitMs },
  async (t) => {
    const registry = builtIn();
    t.strictSame(
      registry
        .list()
        .map(({ name }) => name)
        .sort(),
      Object.keys(sources),
    );
    const options = { env: { HOME: process.env.HOME }, programs: { node: process.execPath } };
    const found = await findLanguages(path, registry, options);
    for (const { name } of registry.list()) {
      const one = found.get(name);
      await t.test(
        name,
        { skip: one === undefined && `this host has no ${name}`, timeout: limitMs },
        async (t) => {
          if (one === undefined) throw new Error("not skipped");
          t.match(one.version, /^\d+\.\d+/);
          const { language, programs } = one;
          const dir = t.testdir();
          const source = sources[name] ?? "";
          const places = {
            dir,
            file: join(dir, sourceName(language, source)),
            out: join(dir, "out"),
            tmp: join(dir, "tmp"),
            ...unitOf(language, source),
          };
          mkdirSync(places.tmp);
          writeFileSync(places.file, source);
          const env = { PATH: "/usr/bin:/bin", ...languageEnv(language, places) };
          const run = (argv: readonly string[]) => {
            const [program = "", ...args] = commandOf(argv, places, ["a b"], programs);
            const input = "läuft\n";
            return execFileSync(program, args, {
              cwd: dir,
              env,
              input,
              timeout: limitMs,
            }).toString();
          };
          if (language.compile !== undefined) run(language.compile);
          t.equal(run(language.run), "a b läuft\n");
        },
      );
    }
  },
);

t.test("names and aliases are found in any case, and a user's language wins", (t) => {
  const registry = builtIn();
  t.equal(registry.find("C++")?.name, "cpp");
  t.equal(registry.find("node")?.name, "javascript");
  t.equal(registry.find("cobol"), undefined);
  t.ok(registry.names().includes("golang"));
  const c: Language = {
    name: "C",
    aliases: ["js"],
    fileName: "a.c",
    run: ["tcc", "-run", "{file}"],
    image: "x",
    needs: [],
    version: ["tcc"],
    env: {},
    toolchains: [],
  };
  const own = new LanguageRegistry([...registry.list(), c]);
  t.equal(own.find("c"), c);
  t.equal(own.find("js"), c);
  t.equal(own.list().length, registry.list().length);
  t.end();
});

t.test("a folder of languages is read, and all that is wrong in it is told", (t) => {
  const lua = {
    name: "lua",
    fileName: "main.lua",
    run: ["lua", "{file}", "{args}"],
    image: "lua:5",
    needs: ["lua"],
    version: ["lua", "-v"],
  };
  const good = t.testdir({ "lua.json": JSON.stringify(lua), "readme.md": "no language" });
  const loaded = loadLanguages(good);
  t.match(loaded, { ok: true });
  t.strictSame(loaded.ok && loaded.value.find("lua"), {
    ...lua,
    aliases: [],
    env: {},
    toolchains: [],
  });

  const bad = t.testdir({
    "a.json": "{",
    "b.json": "[]",
    "c.json": JSON.stringify({ ...lua, compil: ["x"] }),
    "d.json": JSON.stringify({ name: "d d", fileName: "../x", run: [], image: "", needs: [""] }),
    "e.json": JSON.stringify({ ...lua, run: ["lua", "{fil}"], env: { "A B": "" } }),
    "f.json": JSON.stringify({ ...lua, run: ["lua", "x{args}"], env: { A: "{args}" } }),
    "g.json": JSON.stringify({ ...lua, toolchains: ["opt"], unit: "c", env: [], aliases: "l" }),
    "h.json": JSON.stringify({ ...lua, env: { A: 5 }, compile: [5], needs: ["{file}"] }),
    "i.json": JSON.stringify({ ...lua, fileName: "a\0b" }),
    "j.json": JSON.stringify({ ...lua, aliases: ["LUA5"] }),
    "k.json": JSON.stringify({ ...lua, name: "lua5" }),
    "l.json": `"${"x".repeat(70_000)}"`,
  });
  const refused = loadLanguages(bad);
  const told = refused.ok ? [] : refused.diagnostics.map((d) => d.path.slice(bad.length + 1));
  t.strictSame(told, [
    "a.json",
    "b.json",
    "c.json: compil",
    "d.json: name",
    "d.json: fileName",
    "d.json: run",
    "d.json: image",
    "d.json: needs",
    "d.json: version",
    "e.json: run",
    "e.json: env",
    "f.json: run",
    "f.json: env",
    "g.json: aliases",
    "g.json: env",
    "g.json: toolchains",
    "g.json: unit",
    "h.json: compile",
    "h.json: needs",
    "h.json: env",
    "i.json: fileName",
    "k.json",
    "l.json",
  ]);
  for (const { code, message, remedy } of refused.ok ? [] : refused.diagnostics) {
    t.equal(code, "E_CONFIG_LANGUAGE");
    t.match(message, /\.$/);
    t.not(remedy, "");
  }
  t.match(loadLanguages(join(good, "none")), { diagnostics: [{ message: /ENOENT/ }] });
  t.end();
});

t.test("shims are looked through, and no home becomes readable", async (t) => {
  const dir = t.testdir({ shims: {}, real: { bin: {} }, plain: { bin: {} } });
  const program = (at: string, text: string) => {
    writeFileSync(join(dir, at), `#!/bin/sh\n${text}\n`);
    chmodSync(join(dir, at), 0o755);
    return join(dir, at);
  };
  program("shims/tool", `if [ "$1" = where ]; then echo "${dir}/real"; else echo tool 1.2.3; fi`);
  const real = program("real/bin/tool", "echo real");
  const other = program("plain/bin/other", "echo 4.5 >&2");
  program("plain/bin/silent", "echo no figure");
  program("plain/bin/broken", "exit 3");
  writeFileSync(join(dir, "plain/bin/dead"), "");
  const language = (name: string, more: Partial<Language>): Language => ({
    name,
    aliases: [],
    fileName: "x",
    run: [name],
    image: "x",
    needs: [name],
    version: [name],
    env: {},
    toolchains: [],
    ...more,
  });
  const registry = new LanguageRegistry([
    language("tool", { locate: ["tool", "where"] }),
    language("other", { toolchains: [join(dir, "sh*"), join(dir, "shims")] }),
    language("silent", {}),
    language("broken", {}),
    language("dead", {}),
    language("preset", {}),
    language("absolute", { needs: [real, "other"], version: ["other"] }),
  ]);
  const found = await findLanguages(`${dir}/shims:relative:${dir}/plain/bin`, registry, {
    env: {},
    programs: { preset: other },
  });
  t.strictSame([...found.keys()], ["tool", "other", "preset", "absolute"]);
  t.match(found.get("tool"), {
    version: "1.2.3",
    programs: { tool: real },
    toolchains: [join(dir, "real")],
  });
  t.strictSame(found.get("other")?.toolchains, [join(dir, "plain"), join(dir, "shims")]);
  t.equal(found.get("preset")?.programs.preset, other);
});

t.test("the class of Java source is found", (t) => {
  const unit = (source: string) => {
    const { unit, entry } = javaUnit(source);
    return unit === entry ? unit : `${unit} ${entry}`;
  };
  t.equal(unit(""), "Main");
  t.equal(unit("void main() {}"), "Main");
  t.equal(unit("class A { static class B {} public static void main(String[] a) {} }"), "A");
  t.equal(unit("class A {} class B { static void main(String[] a) {} } class C {}"), "B");
  t.equal(unit("public final class A {} class B { static void main(String... a) {} }"), "A B");
  t.equal(unit("package x.y; public record A() { static void main(String[] a) {} }"), "A x.y.A");
  t.equal(unit('// class X\n/* public class Y { */ class Z { String s = "{ class Q"; }'), "Z");
  t.equal(unit('class A { char c = \'"\'; String s = """\n } public class T {\n"""; }'), "A");
  t.equal(unit('class A { String s = "open \n } }\npublic class B {}'), "A");
  t.equal(unit("class A { /* open"), "A");
  t.equal(unit('class A { String s = "\\'), "A");
  const startedAt = performance.now();
  for (const part of ["/*", '"', "class ", "{", "public ", "'\\", "final\n", "package "]) {
    unit(part.repeat(4 * 2 ** 20));
  }
  t.ok(performance.now() - startedAt < 20_000, "hostile source takes no longer than its length");
  t.end();
});

t.test("placeholders are filled in, each word by itself", (t) => {
  const places = { file: "/w/a $1.c", dir: "/w", out: "/o", tmp: "/t", unit: "U", entry: "E" };
  t.strictSame(
    commandOf(["cc", "-o{out}", "{file}", "{args}", "{entry}"], places, ["{dir}", ""], {
      cc: "/bin/cc",
    }),
    ["/bin/cc", "-o/o", "/w/a $1.c", "{dir}", "", "E"],
  );
  t.strictSame(commandOf(["{out}", "{args}"], places, []), ["/o"]);
  t.end();
});
