// All targets by name; each is loaded only where it is fuzzed.
import type { OpenTarget } from "./target.ts";

export const targets: Readonly<Record<string, () => Promise<{ open: OpenTarget }>>> = {
  dag: () => import("./targets/dag.ts"),
  artifact: () => import("./targets/artifact.ts"),
  template: () => import("./targets/template.ts"),
  resp: () => import("./targets/resp.ts"),
  store: () => import("./targets/store.ts"),
  "sdk-resp": () => import("./targets/sdk-resp.ts"),
  workers: () => import("./targets/workers.ts"),
  runners: () => import("./targets/runners.ts"),
  launcher: () => import("./targets/launcher.ts"),
  "launcher-c": () => import("./targets/launcher-c.ts"),
  link: () => import("./targets/link.ts"),
  "link-master": () => import("./targets/link-master.ts"),
  "link-agent": () => import("./targets/link-agent.ts"),
  api: () => import("./targets/api.ts"),
  doors: () => import("./targets/doors.ts"),
  policy: () => import("./targets/policy.ts"),
  signing: () => import("./targets/signing.ts"),
  secrets: () => import("./targets/secrets.ts"),
  env: () => import("./targets/env.ts"),
  state: () => import("./targets/state.ts"),
};

/** Not fuzzed: its test shows that what breaks is noticed. */
export const selfTest = { "self-test": () => import("./targets/self-test.ts") };
