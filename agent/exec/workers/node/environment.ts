// process.env as each call of a worker shall see it. What a task changes is gone after its call,
// because the object behind process.env is another one then: nothing has to be put back.
import { syncBuiltinESMExports } from "node:module";
import type { Call } from "./protocol.ts";

type Variables = { [name: string]: string };

export class Environment {
  /** The process's own: what C code and the time zone look at. */
  readonly #real = process.env;
  #base: Variables;
  #current: Variables;
  /** What `#current` has is not that of all calls: the call or its task has changed it. */
  #isOwn = true;
  readonly #proxy: NodeJS.ProcessEnv;

  constructor() {
    this.#base = plain(this.#real);
    this.#current = { ...this.#base };
    this.#proxy = this.#makeProxy();
    process.env = this.#proxy;
    syncBuiltinESMExports();
  }

  get current(): Variables {
    return this.#current;
  }

  enter(call: Call): void {
    const { env, own } = call;
    if (env !== undefined) this.#setBase(env);
    if (this.#isOwn || env !== undefined || own !== undefined) {
      this.#current = { ...this.#base, ...own };
      this.#isOwn = own !== undefined;
    }
    this.#current.EDGEDAG_TASK = call.task;
    this.#current.EDGEDAG_ATTEMPT = String(call.attempt);
    if (process.env !== this.#proxy) process.env = this.#proxy;
  }

  #setBase(env: Variables): void {
    for (const name of Object.keys(this.#base)) if (!(name in env)) delete this.#real[name];
    for (const [name, value] of Object.entries(env)) this.#real[name] = value;
    this.#base = env;
  }

  #makeProxy(): NodeJS.ProcessEnv {
    const set = (name: string, value: unknown): boolean => {
      this.#current[name] = String(value);
      this.#isOwn = true;
      // Node.js takes the time zone from the real one.
      if (name === "TZ") this.#real[name] = String(value);
      return true;
    };
    return new Proxy<NodeJS.ProcessEnv>(
      {},
      {
        get: (_target, name) => (typeof name === "string" ? this.#current[name] : undefined),
        set: (_target, name, value: unknown) => typeof name === "string" && set(name, value),
        has: (_target, name) => typeof name === "string" && Object.hasOwn(this.#current, name),
        deleteProperty: (_target, name) => {
          if (typeof name === "string") delete this.#current[name];
          this.#isOwn = true;
          return true;
        },
        ownKeys: () => Object.keys(this.#current),
        getOwnPropertyDescriptor: (_target, name) => {
          const value = typeof name === "string" ? this.#current[name] : undefined;
          if (value === undefined) return undefined;
          return { value, writable: true, enumerable: true, configurable: true };
        },
        defineProperty: (_target, name, descriptor) =>
          typeof name === "string" && set(name, descriptor.value),
      },
    );
  }
}

function plain(env: NodeJS.ProcessEnv): Variables {
  const copy: Variables = {};
  for (const [name, value] of Object.entries(env)) if (value !== undefined) copy[name] = value;
  return copy;
}
