// All attacks, in the order and under the headings of the table in docs/attacks.md.
import type { Attack } from "./attack.ts";
import { compileAttacks } from "./compile-attacks.ts";
import { fileAttacks } from "./file-attacks.ts";
import { hostAttacks } from "./host-attacks.ts";
import { kernelAttacks } from "./kernel-attacks.ts";
import { limitAttacks } from "./limit-attacks.ts";
import { processAttacks } from "./process-attacks.ts";
import { workerAttacks } from "./worker-attacks.ts";

export interface AttackGroup {
  title: string;
  attacks: readonly Attack[];
}

export const attackGroups: readonly AttackGroup[] = [
  { title: "Limits, and an end that is the end", attacks: limitAttacks },
  { title: "The host around it", attacks: hostAttacks },
  { title: "The kernel below it", attacks: kernelAttacks },
  { title: "Other processes and their memory", attacks: processAttacks },
  { title: "The compiler", attacks: compileAttacks },
  { title: "The files that it leaves", attacks: fileAttacks },
  { title: "The worker that carries it, and the task after it", attacks: workerAttacks },
];
