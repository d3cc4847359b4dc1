// Packed artifacts: what is loaded has safe paths, true digests, and is the same when written.
import { isAbsolute, normalize } from "node:path";
import { canonicalJson, sha256Hex } from "../../../protocol/canonical.ts";
import { decodeDag } from "../../../protocol/load-dag.ts";
import { fileBytes, loadArtifact } from "../../../protocol/pack.ts";
import type { Random } from "../engine/random.ts";
import { mutateTree } from "../engine/tree.ts";
import { must, shown, type Target } from "../target.ts";
import { dagWords } from "./dag.ts";
import { mustBeDiagnostics } from "./diagnostics.ts";

async function sample(files: Record<string, string>): Promise<string> {
  const dag = await decodeDag({
    dag: "a",
    tasks: { x: { python: "a.py:f" }, y: { command: ["b"], needs: ["x"] } },
  });
  if (!dag.ok) throw new Error(shown(dag.diagnostics));
  return JSON.stringify({
    artifact: 1,
    dag: dag.value,
    files: Object.entries(files).map(([path, text]) => ({
      path,
      sha256: sha256Hex(Buffer.from(text)),
      text,
    })),
  });
}

/** Digests are put right, else nothing behind them is ever reached. */
function repair(bytes: Buffer): Buffer | undefined {
  try {
    const value = JSON.parse(bytes.toString("utf8"));
    for (const file of value.files) {
      const text =
        typeof file.text === "string" ? Buffer.from(file.text) : Buffer.from(file.base64, "base64");
      file.sha256 = sha256Hex(text);
    }
    return Buffer.from(JSON.stringify(value));
  } catch {
    return undefined; // it is not of the shape: as it is, then
  }
}

const words = [
  ...dagWords,
  "artifact",
  "files",
  "path",
  "sha256",
  "text",
  "base64",
  "executable",
  "lib/",
  "./",
  "a.py/b",
  "C:\\",
  "//",
];

export async function open(): Promise<Target> {
  const seeds = [
    await sample({ "a.py": "def f(): pass", "lib/c.txt": "x" }),
    await sample({ "a.py": "é\u0000", "lib/c.txt": "" }),
  ];
  return {
    covers:
      /\/protocol\/(pack|safe-path|canonical|load-dag|check-graph|graph-checks|explain-graph|sanitize|schema-graph)\.ts$/,
    dictionary: words,
    seeds: () => seeds,
    mutate: (input: Buffer, random: Random, other: Buffer) => {
      const made = mutateTree(input, random, other, words);
      return made === undefined || random.once(3) ? made : (repair(made) ?? made);
    },
    async run(input) {
      const loaded = await loadArtifact(input.toString("utf8"));
      if (!loaded.ok) {
        mustBeDiagnostics(loaded.diagnostics);
        return;
      }
      const { files } = loaded.value;
      for (const file of files) {
        const plain = normalize(file.path);
        must(
          !isAbsolute(plain) && plain !== ".." && !plain.startsWith("../") && plain !== ".",
          `it would write ${shown(file.path)}`,
        );
        must(!file.path.includes("\0"), "a path with NUL");
        must(sha256Hex(fileBytes(file)) === file.sha256, "a digest is not true");
      }
      const text = canonicalJson(loaded.value as never);
      const again = await loadArtifact(text);
      must(again.ok, `refused when written: ${shown(again)}`);
      must(canonicalJson(again.value as never) === text, "another artifact when read again");
    },
  };
}
