// Who is running: the task, its attempt and its inputs. In a warm worker they come from the call that
// runs now, in a process of its own from the environment; both are looked up at each use.
import { readFileSync } from "node:fs";
import { OutsideOfRun } from "./errors.js";

const key = Symbol.for("edgedag.worker");

/** The warm worker's context while a call runs, else undefined. */
export function worker() {
  const found = Reflect.get(globalThis, key);
  return found?.call === undefined ? undefined : found;
}

/** @param {string} name */
export function variable(name) {
  const value = process.env[name];
  if (value === undefined || value === "") throw new OutsideOfRun(name);
  return value;
}

const resolved = new WeakMap();

function readInputs() {
  const current = worker();
  if (current !== undefined) {
    let found = resolved.get(current.call);
    if (found === undefined) {
      found = current.resolve(current.call.inputs ?? {});
      resolved.set(current.call, found);
    }
    return found;
  }
  const file = process.env.EDGEDAG_INPUTS_FILE;
  return JSON.parse(file === undefined ? variable("EDGEDAG_INPUTS") : readFileSync(file, "utf8"));
}

/**
 * An object that is looked up at each use, so that importing it once is safe.
 * @param {() => Record<string, unknown>} read
 */
function live(read) {
  return new Proxy(
    {},
    {
      get: (_target, name) => (typeof name === "string" ? read()[name] : undefined),
      has: (_target, name) => typeof name === "string" && Object.hasOwn(read(), name),
      ownKeys: () => Object.keys(read()),
      getOwnPropertyDescriptor: (_target, name) => {
        const data = read();
        if (typeof name !== "string" || !Object.hasOwn(data, name)) return undefined;
        return { value: data[name], enumerable: true, configurable: true, writable: false };
      },
      set: (_target, name) => {
        throw new TypeError(`inputs cannot be changed (${String(name)})`);
      },
    },
  );
}

export const inputs = live(readInputs);
export const needs = live(() => readInputs().needs ?? {});
export const params = live(() => readInputs().params ?? {});

export function item() {
  return readInputs().item;
}

export function index() {
  return readInputs().index;
}

let isTermSeen = false;
let isListening = false;

export const task = {
  get key() {
    return worker()?.call.task ?? variable("EDGEDAG_TASK");
  },
  get attempt() {
    return worker()?.call.attempt ?? Number(variable("EDGEDAG_ATTEMPT"));
  },
  get run() {
    return variable("EDGEDAG_RUN");
  },
  get cancelled() {
    if (!isListening) {
      isListening = true;
      process.on("SIGTERM", () => {
        isTermSeen = true;
      });
    }
    return isTermSeen;
  },
};
