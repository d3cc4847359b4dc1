// The process that parses Python: python_policy.py, asked over its stdin and stdout in frames of a
// length (4 bytes, little endian) and that many bytes. It limits its own memory, and ends by itself
// when it is not read any more.
import { spawn } from "node:child_process";
import type { Cell, CellListener } from "./checker.ts";
import { readVerdict } from "./read-verdict.ts";

export interface PythonCellOptions {
  /** Path or name of the interpreter. */
  python: string;
  /** python_policy.py */
  script: string;
  memoryBytes: number;
  timeLimitMs: number;
  /** Names of rules that are not applied. */
  off: readonly string[];
}

/** More than 50 findings of any length that a program of 1 MiB can cause. */
const mostAnswerBytes = 4 * 2 ** 20;

/** From its start to its first answer, beside the time of a check. */
export function openPythonCell(options: PythonCellOptions, listener: CellListener): Cell {
  const { python, script, memoryBytes, timeLimitMs, off } = options;
  const limits = [String(memoryBytes), String(timeLimitMs / 1000), off.join(",")];
  const child = spawn(python, ["-I", "-S", "-B", script, ...limits], {
    env: { PATH: process.env.PATH ?? "", LC_ALL: "C.UTF-8" },
    stdio: ["pipe", "pipe", "ignore"],
  });
  let buffer: Buffer = Buffer.alloc(0);
  let isReady = false;
  const gone = (detail: string) => listener.gone(`the Python that checks code: ${detail}`);
  child.once("error", (error) => gone(error.message));
  child.once("close", (code, signal) => gone(`it ended (${signal ?? code})`));
  // Its end is told by `close`; a pipe that breaks first says nothing more.
  child.stdin.on("error", () => {});
  child.stdout.on("data", (chunk: Buffer) => {
    buffer = buffer.length === 0 ? chunk : Buffer.concat([buffer, chunk]);
    while (buffer.length >= 4) {
      const size = buffer.readUInt32LE(0);
      if (size > mostAnswerBytes) return gone("it sent too much");
      if (buffer.length < 4 + size) return;
      const text = buffer.toString("utf8", 4, 4 + size);
      buffer = buffer.subarray(4 + size);
      // The first frame says that it is ready.
      if (isReady) {
        const read = readVerdict(text);
        if (read === undefined) return gone("it sent what is no answer");
        listener.answered(read.verdict, read.isLast);
      }
      isReady = true;
    }
  });
  // It must not keep this process.
  child.unref();
  unrefStream(child.stdin);
  unrefStream(child.stdout);
  return {
    check: (code) => {
      const bytes = Buffer.from(code, "utf8");
      const head = Buffer.alloc(4);
      head.writeUInt32LE(bytes.length);
      child.stdin.write(Buffer.concat([head, bytes]));
    },
    end: () => {
      child.kill("SIGKILL");
    },
  };
}

/** Pipes of a child are sockets, which their types do not say. */
function unrefStream(stream: object): void {
  if ("unref" in stream && typeof stream.unref === "function") stream.unref();
}
