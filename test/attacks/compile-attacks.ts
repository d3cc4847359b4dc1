// Attacks by source text on the compiler, which runs in the box as the program does.
import { type Aftermath, type Attack, code } from "./attack.ts";

function toldNoSecret({ stdout, bait }: Aftermath): string | undefined {
  if (stdout.includes(bait.secret)) return "the secret was told";
  return /^root:[^x*]/m.test(stdout) ? "a line of /etc/shadow was told" : undefined;
}

const compileTimeoutMs = 3_000;
const failed = ["exit-code", "timeout", "out-of-memory", "disk-limit", "signal"] as const;

export const compileAttacks: readonly Attack[] = [
  {
    name: "include-shadow",
    does: "lets the compiler read files of the host, and show them in its messages",
    ends: ["exit-code"],
    after: toldNoSecret,
    run: code(
      "c",
      '#include "/etc/shadow"\n#include "{CLOSED}/secret"\n#include "/proc/1/environ"\nint main(void) { return 0; }',
    ),
  },
  {
    name: "embed-secret",
    does: "lets the assembler put a file of the host into the program",
    after: toldNoSecret,
    ends: ["exit-code"],
    run: code(
      "c",
      `#include <stdio.h>
__asm__(".data\\n.globl it\\nit: .incbin \\"{CLOSED}/secret\\"\\n.byte 0\\n.text");
extern char it[]; int main(void) { puts(it); return 0; }`,
    ),
  },
  {
    name: "include-zero",
    does: "lets the compiler read a file without an end",
    isBomb: true,
    compileTimeoutMs,
    ends: failed,
    run: code("c", '#include "/dev/zero"\nint main(void) { return 0; }'),
  },
  {
    name: "include-itself",
    does: "includes itself twice at each of two hundred levels",
    isBomb: true,
    compileTimeoutMs,
    ends: [...failed, "output-limit"],
    run: code("c", "#include __FILE__\n#include __FILE__\nint main(void) { return 0; }"),
  },
  {
    name: "template-bomb",
    does: "instantiates templates without an end",
    isBomb: true,
    compileTimeoutMs,
    ends: failed,
    run: code(
      "cpp",
      `template <int D, unsigned long N> struct bomb { enum { v = bomb<D - 1, 2 * N>::v + bomb<D - 1, 2 * N + 1>::v }; };
template <unsigned long N> struct bomb<0, N> { enum { v = 1 }; };
int main() { return bomb<40, 1>::v; }`,
    ),
  },
  {
    name: "constant-bomb",
    does: "computes for ever in the compiler",
    isBomb: true,
    compileTimeoutMs,
    ends: failed,
    run: code(
      "cpp",
      `constexpr unsigned long f(unsigned long n) { return n < 2 ? n : f(n - 1) + f(n - 2) + (n & 1); }
template <unsigned long N> struct sum { static constexpr unsigned long v = f(24) + N + sum<N - 1>::v; };
template <> struct sum<0> { static constexpr unsigned long v = 0; };
int main() { constexpr unsigned long v = sum<800>::v + f(60); return v; }`,
    ),
  },
  {
    name: "huge-program",
    does: "compiles to a program of gigabytes",
    isBomb: true,
    compileTimeoutMs,
    limits: { diskBytes: 32 * 2 ** 20 },
    ends: failed,
    run: code("c", "char big[1u << 30] = {1};\nint main(void) { return big[5]; }"),
  },
  {
    name: "error-flood",
    does: "makes the compiler complain without an end",
    isBomb: true,
    compileTimeoutMs,
    ends: [...failed, "output-limit"],
    outputLimitBytes: 65_536,
    run: code(
      "c",
      `#define A x y z; x y z; x y z; x y z;
#define B A A A A A A A A
#define C B B B B B B B B
#define D C C C C C C C C
#define E D D D D D D D D
int main(void) { E E E E }`,
    ),
  },
  {
    name: "compiler-preload",
    does: "finds the agent's LD_PRELOAD in force in the compiler and in the program",
    ends: ["succeeded"],
    run: code(
      "c",
      `#include <stdio.h>
#include <stdlib.h>
int main(void) {
  if (getenv("LD_PRELOAD") || getenv("AGENT_SECRET") || getenv("EDGEDAG_TOKEN")) puts("BREACH environment");
  return 0;
}`,
    ),
  },
];
