// What passes between the process of a target and who started it.

export interface ChildOptions {
  name: string;
  seed: number;
  seconds: number;
  runs: number;
  currentPath: string;
  /** Where the input that broke it goes; empty when it is the current one. */
  brokenPath: string;
  shouldDistil: boolean;
  /** Only this input. */
  inputBase64?: string;
}

export const brokenCode = 1;
export const missingCode = 3;
export const failedCode = 70;

export interface Figures {
  target: string;
  runs: number;
  replayed: number;
  kept: number;
  blocks: number;
  seconds: number;
  slowestMs: number;
  heapMiB: number;
  rssMiB: number;
}

export type Report =
  | { kind: "clean"; figures: Figures }
  | { kind: "missing"; detail: string }
  | { kind: "broken"; detail: string; path: string };
