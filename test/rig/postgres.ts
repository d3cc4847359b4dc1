// A real PostgreSQL of a test's own, started by scripts/test-postgres: it can be killed and started
// again on the same folder and port, frozen, and asked for databases with nothing in them.
import { chmodSync, mkdtempSync, readFileSync, realpathSync, rmSync } from "node:fs";
import { join } from "node:path";
import pg from "pg";
import { root, run } from "../e2e/command.ts";

const script = join(root, "scripts/test-postgres");

export interface TestPostgres extends AsyncDisposable {
  readonly port: number;
  readonly password: string;
  /** URL of a new database, empty. */
  database(): Promise<string>;
  /** Rows of one statement, of a connection of its own. */
  ask(url: string, text: string): Promise<Record<string, unknown>[]>;
  /** All of its processes, with SIGKILL. */
  kill(): void;
  /** After it was killed. */
  startAgain(): Promise<void>;
  /** It keeps its connections and answers nothing until `thaw`. */
  freeze(): void;
  thaw(): void;
}

/** A sentence instead of a server: why this machine has none. */
export async function startPostgres(): Promise<TestPostgres | string> {
  const scratch = realpathSync(mkdtempSync("/tmp/edgedag-pg-"));
  // The server is another user's where root runs the tests.
  chmodSync(scratch, 0o755);
  const folder = join(scratch, "p");
  const start = () => run(script, ["start", folder], { timeoutMs: 300_000 });
  const stop = async () => {
    await run(script, ["stop", folder]);
    rmSync(scratch, { recursive: true, force: true });
  };
  const started = await start();
  if (started.code !== 0) {
    await stop();
    return `no PostgreSQL: ${started.stderr.trim().split("\n").at(-1)}`;
  }
  const url = new URL(/^DATABASE_URL=(\S+)$/m.exec(started.stdout)?.[1] ?? "");
  let pid = pidOf(started.stdout);
  let databases = 0;
  const ask = async (at: string, text: string) => {
    const client = new pg.Client({ connectionString: at });
    client.on("error", () => {});
    await client.connect();
    try {
      return (await client.query(text)).rows;
    } finally {
      await client.end();
    }
  };
  const signal = (name: NodeJS.Signals) => {
    // The first one first: it would start others in the place of those that died.
    for (const process_ of [pid, ...childrenOf(pid)]) process.kill(process_, name);
  };
  return {
    port: Number(url.port),
    password: url.password,
    database: async () => {
      databases++;
      const name = `test_${databases}`;
      await ask(url.href, `CREATE DATABASE ${name}`);
      return new URL(`/${name}`, url).href;
    },
    ask,
    kill: () => signal("SIGKILL"),
    startAgain: async () => {
      const again = await start();
      if (again.code !== 0) throw new Error(again.stderr);
      pid = pidOf(again.stdout);
    },
    freeze: () => signal("SIGSTOP"),
    thaw: () => signal("SIGCONT"),
    [Symbol.asyncDispose]: stop,
  };
}

function childrenOf(pid: number): number[] {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8");
  return text
    .split(" ")
    .filter((word) => word !== "")
    .map(Number);
}

function pidOf(stdout: string): number {
  return Number(/^POSTGRES_PID=(\d+)$/m.exec(stdout)?.[1]);
}
