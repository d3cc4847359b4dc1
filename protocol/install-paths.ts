// Where the parts of an installation lie, below the folder that holds package.json. Pure string
// functions; the same layout in a checkout, in an image and on a device.

export function pythonRunnerPath(root: string): string {
  return `${root}/agent/exec/workers/python/runner.py`;
}

/** In an installation with a bundle, the runner is bundled too. */
export function nodeRunnerPath(root: string, isBundled: boolean): string {
  return isBundled ? `${root}/dist/node-runner.mjs` : `${root}/agent/exec/workers/node/runner.ts`;
}

export function pythonSdkPath(root: string): string {
  return `${root}/sdk/python`;
}

export function nodeSdkPath(root: string): string {
  return `${root}/sdk/node`;
}

/** The program that parses Python for the code policy. */
export function policyCheckerPath(root: string): string {
  return `${root}/master/policy/python_policy.py`;
}
