// A real RabbitMQ of a test's own, started by scripts/test-rabbitmq: it can be killed and started
// again on the same folder and port, and asked by its own command line.
import { mkdtempSync, realpathSync, rmSync } from "node:fs";
import { join } from "node:path";
import { root, run } from "../e2e/command.ts";

const script = join(root, "scripts/test-rabbitmq");

export interface TestRabbit extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  /** Like the loss of power, but for what the kernel has already. */
  kill(): void;
  /** After it was killed. */
  startAgain(): Promise<void>;
  /** Words of rabbitmqctl; gives what it prints. */
  ctl(...words: string[]): Promise<string>;
}

/** A sentence instead of a broker: why this machine has none. */
export async function startRabbit(): Promise<TestRabbit | string> {
  const scratch = realpathSync(mkdtempSync("/tmp/edgedag-rabbit-"));
  const folder = join(scratch, "r");
  const start = () => run(script, ["start", folder], { timeoutMs: 300_000 });
  const stop = async () => {
    await run(script, ["stop", folder]);
    rmSync(scratch, { recursive: true, force: true });
  };
  const started = await start();
  if (started.code !== 0) {
    await stop();
    return `no RabbitMQ: ${started.stderr.trim().split("\n").at(-1)}`;
  }
  const url = /^AMQP_URL=(\S+)$/m.exec(started.stdout)?.[1] ?? "";
  let pid = pidOf(started.stdout);
  return {
    url,
    port: Number(new URL(url).port),
    kill: () => process.kill(pid, "SIGKILL"),
    startAgain: async () => {
      const again = await start();
      if (again.code !== 0) throw new Error(again.stderr);
      pid = pidOf(again.stdout);
    },
    ctl: async (...words) => {
      const ended = await run(script, ["ctl", folder, "--silent", ...words]);
      if (ended.code !== 0) throw new Error(`${words.join(" ")}: ${ended.stdout}${ended.stderr}`);
      return ended.stdout;
    },
    [Symbol.asyncDispose]: stop,
  };
}

function pidOf(stdout: string): number {
  return Number(/^RABBITMQ_PID=(\d+)$/m.exec(stdout)?.[1]);
}
