// What the master's tests share: a real master on a free port with a folder of its own, and a scripted
// agent, which is a real WebSocket client that sends what the test says and keeps what it hears.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { WebSocket } from "ws";
import type { Logger } from "../../master/clock.ts";
import { type Master, type MasterOptions, startMaster } from "../../master/main.ts";
import type { DagArtifact } from "../../protocol/artifact.ts";
import type { TaskRun } from "../../protocol/dag.ts";
import type { AgentToMaster, LinkRecord, MasterToAgent } from "../../protocol/link.ts";
import { decodeMasterToAgent } from "../../protocol/link-decode.ts";

/** The net under every wait: a test that hangs fails with what it waited for. */
const patienceMs = 10_000;

export const silentLog: Logger = { debug() {}, info() {}, warn() {}, error() {} };

export interface TestMaster extends AsyncDisposable {
  url: string;
  dataDir: string;
  check(): Promise<void>;
  /** Ends the master and starts another one on the same folder. */
  restart(): Promise<void>;
  get(path: string, init?: RequestInit): Promise<Response>;
  /** The JSON answer, with the fields that tests look at. */
  json(path: string, init?: RequestInit): Promise<Shown>;
  /** Posts JSON. */
  post(path: string, body?: unknown): Promise<{ status: number; value: Shown }>;
}

export interface Shown {
  [field: string]: unknown;
  run: string;
  state: string;
  nodes: object[];
  runs: Shown[];
  tasks: object[];
  events: { event: string }[];
  missingRecords: number;
  error: { class: string; code: string; message: string; remedy: string };
}

export async function testMaster(options: Partial<MasterOptions> = {}): Promise<TestMaster> {
  const dataDir = await mkdtemp(join(tmpdir(), "edgedag-master-"));
  const start = (): Promise<Master> =>
    startMaster({ listen: { host: "127.0.0.1", port: 0 }, dataDir, log: silentLog, ...options });
  let master = await start();
  const get = (path: string, init?: RequestInit): Promise<Response> =>
    fetch(`${master.url}${path}`, {
      ...init,
      headers: {
        ...(options.token === undefined ? {} : { authorization: `Bearer ${options.token}` }),
        ...init?.headers,
      },
    });
  // The tests compare the fields; the shape is only what they may name.
  const json = async (response: Response): Promise<Shown> => (await response.json()) as Shown;
  return {
    get url() {
      return master.url;
    },
    dataDir,
    check: () => master.check(),
    restart: async () => {
      await master.close();
      master = await start();
    },
    get,
    json: async (path, init) => json(await get(path, init)),
    post: async (path, body) => {
      const response = await get(
        path,
        body === undefined
          ? { method: "POST" }
          : {
              method: "POST",
              body: JSON.stringify(body),
              headers: { "content-type": "application/json" },
            },
      );
      return { status: response.status, value: await json(response) };
    },
    [Symbol.asyncDispose]: async () => {
      await master.close();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

type Hello = AgentToMaster & { type: "hello" };

export function helloOf(node: string, changes: Partial<Hello> = {}): Hello {
  return {
    type: "hello",
    version: 1,
    node,
    boot: "boot-1",
    agentVersion: "0.1.0",
    capabilities: {
      architecture: "x64",
      os: "linux",
      cores: 2,
      memoryBytes: 4 * 2 ** 30,
      levels: ["none"],
      languages: { python: "3.11.7", node: "26.10.0" },
      launcher: true,
    },
    labels: {},
    firstHeldSeq: 1,
    nextSeq: 1,
    runs: [],
    wantsRuns: false,
    ...changes,
  };
}

export const idleHeartbeat: AgentToMaster = {
  type: "heartbeat",
  state: "idle",
  runs: {},
  load: 0,
  rssBytes: 1,
  outbox: 0,
  loopLagMs: 0,
};

export interface ScriptedOptions {
  token?: string;
  ca?: string;
  headers?: { [name: string]: string };
  autoPong?: boolean;
}

export class ScriptedAgent implements AsyncDisposable {
  readonly socket: WebSocket;
  readonly heard: MasterToAgent[] = [];
  readonly #closed: Promise<number>;
  #wake: () => void = () => {};
  #taken = 0;

  constructor(url: string, options: ScriptedOptions = {}) {
    const { token, headers = {} } = options;
    this.socket = new WebSocket(`${url.replace(/^http/, "ws")}/link`, {
      headers: token === undefined ? headers : { authorization: `Bearer ${token}`, ...headers },
      autoPong: options.autoPong ?? true,
      ...(options.ca === undefined ? {} : { ca: options.ca }),
    });
    this.socket.on("message", (data: Buffer) => {
      const decoded = decodeMasterToAgent(data.toString());
      if (!decoded.ok)
        throw new Error(`not a message: ${data}: ${decoded.diagnostics[0]?.message}`);
      this.heard.push(decoded.value);
      this.#wake();
    });
    this.#closed = new Promise((resolve) => {
      this.socket.on("error", () => {});
      this.socket.on("close", (code) => {
        resolve(code);
        this.#wake();
      });
    });
  }

  /** Connects and says hello; resolves with the welcome. */
  static async join(url: string, hello: Hello, options: { token?: string; ca?: string } = {}) {
    const agent = new ScriptedAgent(url, options);
    agent.send(hello);
    const welcome = await agent.next("welcome");
    return { agent, welcome };
  }

  send(message: AgentToMaster): void {
    this.sendText(JSON.stringify(message));
  }

  sendText(text: string | Buffer): void {
    if (this.socket.readyState === WebSocket.CONNECTING) {
      this.socket.once("open", () => this.socket.send(text));
    } else {
      this.socket.send(text);
    }
  }

  records(...records: LinkRecord[]): void {
    this.send({ type: "records", records });
  }

  /** The next message of this type that no earlier call took; others in between are passed over. */
  next<T extends MasterToAgent["type"]>(type: T): Promise<MasterToAgent & { type: T }> {
    return this.either(type);
  }

  /** The next message of one of these types. */
  async either<T extends MasterToAgent["type"]>(
    ...types: readonly T[]
  ): Promise<MasterToAgent & { type: T }> {
    const what = types.join(" or ");
    const until = Date.now() + patienceMs;
    while (true) {
      while (this.#taken < this.heard.length) {
        const message = this.heard[this.#taken++];
        if (message !== undefined && isType(message, types)) return message;
      }
      if (this.socket.readyState === WebSocket.CLOSED) throw new Error(`closed before ${what}`);
      await this.#change(until - Date.now(), what);
    }
  }

  /** Waits until records up to this number are acknowledged. */
  async acked(seq: number): Promise<void> {
    while ((await this.next("ack")).seq < seq);
  }

  /** The close code. */
  closed(): Promise<number> {
    return this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.socket.terminate();
    await this.#closed;
  }

  #change(withinMs: number, what: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no ${what} came`)), Math.max(0, withinMs));
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

function isType<T extends MasterToAgent["type"]>(
  message: MasterToAgent,
  types: readonly T[],
): message is MasterToAgent & { type: T } {
  return types.some((type) => type === message.type);
}

// ---- records ----
const time = 1_795_440_000_000;

export function runStarted(seq: number, run: string, tasks = 1): LinkRecord {
  return { type: "run-started", seq, time, run, dag: "weather", digest: "d", tasks };
}

export function finished(seq: number, run: string, task: string, result?: number): LinkRecord {
  return {
    type: "attempt-finished",
    seq,
    time,
    run,
    task,
    attempt: 1,
    outcome: { kind: "succeeded" },
    facts: { wallMs: 1 },
    final: true,
    ...(result === undefined ? {} : { result }),
  };
}

export function runFinished(seq: number, run: string, tasks = 1): LinkRecord {
  return {
    type: "run-finished",
    seq,
    time,
    run,
    outcome: { kind: "succeeded" },
    summary: {
      tasks,
      succeeded: tasks,
      failed: 0,
      skipped: 0,
      cancelled: 0,
      attempts: tasks,
      wallMs: 1,
    },
  };
}

export function logged(
  seq: number,
  run: string,
  firstLine: number,
  count = 1,
  task = "t",
): LinkRecord {
  return {
    type: "log",
    seq,
    time,
    run,
    lines: Array.from({ length: count }, (_, index) => ({
      time,
      seq: firstLine + index,
      source: "task" as const,
      level: index % 2 === 0 ? ("info" as const) : ("error" as const),
      stream: index % 2 === 0 ? ("stdout" as const) : ("stderr" as const),
      task,
      attempt: 1,
      text: `line ${firstLine + index}`,
    })),
  };
}

export function artifactOf(run: TaskRun = { kind: "command", argv: ["true"] }): DagArtifact {
  return {
    artifact: 1,
    dag: {
      options: { type: "directed", multi: false, allowSelfLoops: false },
      attributes: { edgedag: 1, dag: "weather" },
      nodes: [
        {
          key: "clean",
          attributes: {
            run,
            graceMs: 5000,
            retries: { limit: 0, lost: 0, backoffMs: 0, factor: 1, maxBackoffMs: 0, jitter: 0 },
            priority: 0,
            isolation: "none",
          },
        },
      ],
      edges: [],
    },
    files: [],
  };
}

/** Asks until the answer passes: for what the master does after it answered. */
export async function eventually<T>(
  ask: () => Promise<T>,
  isDone: (value: T) => boolean,
): Promise<T> {
  const until = Date.now() + patienceMs;
  while (true) {
    const value = await ask();
    if (isDone(value)) return value;
    if (Date.now() > until) throw new Error(`still ${JSON.stringify(value)}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
