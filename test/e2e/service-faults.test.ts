// The promise of the code-execution service, with its parts apart: two masters on one PostgreSQL, one
// RabbitMQ and one Redis, an agent at each. Everything is killed in turn while snippets keep coming in.
// What was accepted gets one end and the right one, and nothing is taken in twice.
import t from "tap";
import { Box } from "../rig/box.ts";
import type { Cli } from "../rig/cli.ts";
import { startPostgres } from "../rig/postgres.ts";
import { startRabbit } from "../rig/rabbitmq.ts";
import { noRedis, startRedis } from "../rig/redis.ts";
import { until } from "../rig/until.ts";

const jobs = 160;
const atOnce = 4;
const isRoot = process.getuid?.() === 0;

interface Running {
  cli: Cli;
  url: string;
}

class Fleet {
  readonly #box: Box;
  readonly #services: { [name: string]: string };
  readonly #running = new Map<string, Running>();

  constructor(box: Box, services: { [name: string]: string }) {
    this.#box = box;
    this.#services = services;
  }

  url(name: string): string {
    return this.#running.get(name)?.url ?? "";
  }

  async startMaster(name: string): Promise<void> {
    const before = this.#running.get(name);
    const cli = this.#box.start(["master"], {
      env: {
        ...this.#services,
        EDGEDAG_DOORS: "on",
        EDGEDAG_DATA: this.#box.path(name),
        EDGEDAG_LISTEN: before === undefined ? "127.0.0.1:0" : new URL(before.url).host,
        EDGEDAG_SNIPPET_ISOLATION: "seccomp",
        EDGEDAG_CODE_POLICY: "off",
        EDGEDAG_ACCESS_LOG: "off",
        EDGEDAG_HEARTBEAT: "500ms",
      },
    });
    const [, url = ""] = await cli.says(/master listens on (http[^\s"]+)/);
    this.#running.set(name, { cli, url });
  }

  async startAgent(name: string, master: string): Promise<void> {
    const cli = this.#box.start(["agent"], {
      env: {
        EDGEDAG_NODE: name,
        EDGEDAG_STATE: this.#box.path(name),
        EDGEDAG_MASTER: this.url(master),
        EDGEDAG_LEVELS: "seccomp",
        EDGEDAG_SNIPPET_SLOTS: "3",
        EDGEDAG_POOL_SIZE: "1",
        // The two share a machine here, as no fleet does: their boxes must not share users.
        EDGEDAG_SANDBOX_UID: name === "n1" ? "1210000000" : "1220000000",
      },
    });
    this.#running.set(name, { cli, url: "" });
    await cli.says(/connected to/);
  }

  async kill(name: string): Promise<void> {
    await this.#running.get(name)?.cli.stop("SIGKILL");
  }

  async stopAll(): Promise<void> {
    for (const { cli } of this.#running.values()) if (!cli.hasEnded) await cli.stop("SIGTERM");
  }
}

t.test(
  "kills of broker, database, cache, master and agent lose nothing that was accepted",
  { skip: isRoot ? noRedis : "level seccomp is tried as root", timeout: 170_000 },
  async (t) => {
    await using box = await Box.create();
    const [rabbit, postgres] = await Promise.all([startRabbit(), startPostgres()]);
    if (typeof rabbit === "string") return t.plan(0, rabbit);
    await using _rabbit = rabbit;
    if (typeof postgres === "string") return t.plan(0, postgres);
    await using _postgres = postgres;
    await using redis = await startRedis();
    const databaseUrl = await postgres.database();
    const fleet = new Fleet(box, {
      AMQP_URL: rabbit.url,
      DATABASE_URL: databaseUrl,
      REDIS_URL: redis.url,
    });
    await fleet.startMaster("a");
    await fleet.startMaster("b");
    await Promise.all([fleet.startAgent("n1", "a"), fleet.startAgent("n2", "b")]);

    const accepted = new Map<number, string>();
    /** Asks either master until one answers; the key makes a second try harmless. */
    const submit = async (job: number): Promise<void> => {
      const body = JSON.stringify({
        language: "bash",
        code: `sleep 0.0${job % 10}; echo "$0 did ${job}" | sed 's/.* did/did/'`,
        idempotency_key: `job-${job}`,
      });
      await until(
        `job ${job} is accepted`,
        async () => {
          const master = (job + Math.floor(Math.random() * 2)) % 2 === 0 ? "a" : "b";
          try {
            const response = await fetch(`${fleet.url(master)}/submit`, {
              method: "POST",
              body,
              headers: { "content-type": "application/json" },
              signal: AbortSignal.timeout(10_000),
            });
            const text = await response.text();
            return { status: response.status, text };
          } catch (error) {
            return { status: 0, text: String(error) };
          }
        },
        ({ status, text }) => {
          if (status !== 202) return false;
          const { task_id: id } = JSON.parse(text) as { task_id: string };
          accepted.set(job, id);
          return true;
        },
        { withinMs: 60_000 },
      );
    };

    const faults: { after: number; what: string; happen(): Promise<void> }[] = [
      {
        after: 20,
        what: "RabbitMQ is killed and started again",
        happen: async () => {
          rabbit.kill();
          await rabbit.startAgain();
        },
      },
      {
        after: 50,
        what: "PostgreSQL is killed and started again",
        happen: async () => {
          postgres.kill();
          await postgres.startAgain();
        },
      },
      {
        after: 80,
        what: "a master is killed and started again",
        happen: async () => {
          await fleet.kill("a");
          await fleet.startMaster("a");
        },
      },
      {
        after: 110,
        what: "an agent is killed and started again",
        happen: async () => {
          await fleet.kill("n2");
          await fleet.startAgent("n2", "b");
        },
      },
      {
        after: 130,
        what: "Redis is killed for good",
        happen: async () => {
          await redis.kill();
        },
      },
    ];
    const happened: string[] = [];
    let next = 0;
    const lane = async (): Promise<void> => {
      while (next < jobs) {
        const job = next;
        next += 1;
        const fault = faults.find(({ after }) => after === job);
        if (fault === undefined) await submit(job);
        else {
          // The other lanes go on meanwhile.
          await Promise.all([fault.happen(), submit(job)]);
          happened.push(fault.what);
        }
      }
    };
    await Promise.all(Array.from({ length: atOnce }, lane));
    t.equal(happened.length, faults.length, happened.join("; "));
    t.equal(accepted.size, jobs, "all were accepted in the end");

    const wrong: string[] = [];
    for (const [job, id] of accepted) {
      const end = await until(
        `job ${job} has ended`,
        async () => {
          try {
            const response = await fetch(`${fleet.url("b")}/result/${id}?wait=5s`);
            return (await response.json()) as { state: string; stdout?: string; attempt: number };
          } catch (error) {
            return { state: String(error), attempt: 0 };
          }
        },
        ({ state }) => ["succeeded", "failed", "cancelled"].includes(state),
        { withinMs: 60_000 },
      );
      if (end.state !== "succeeded" || end.stdout !== `did ${job}\n`) {
        wrong.push(`${job}: ${JSON.stringify(end)}`);
      }
    }
    t.strictSame(wrong, [], "each has its own right end");
    t.equal(new Set(accepted.values()).size, jobs, "no two jobs share a task");
    const rows = await postgres.ask(
      databaseUrl,
      "SELECT count(*)::int AS n, count(DISTINCT id)::int AS ids FROM edgedag_snippets",
    );
    t.strictSame(rows, [{ n: jobs, ids: jobs }], "nothing was taken in twice");
    await until(
      "the queues are empty",
      async () => await rabbit.ctl("list_queues", "name", "messages"),
      (text) =>
        text
          .split("\n")
          .filter((line) => line.startsWith("edgedag.snippets."))
          .every((line) => line.endsWith("\t0")),
      { withinMs: 30_000 },
    );
    await fleet.stopAll();
    await box.empty();
  },
);
