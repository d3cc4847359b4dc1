// The door of a sandbox manager: when all sandboxes are taken, and when a caller asks too often.
import t, { type Test } from "tap";
import { until } from "../rig/until.ts";
import type { RunAnswer } from "./answers.ts";
import { base64, Service } from "./serve-rig.ts";

const slots = 3;
const quick = "def main(n=0):\n    return n\n";
const busy = {
  status: "program_runner_error",
  stdout: "",
  stderr: "Container pool is busy",
  exit_code: -10,
  detail: "no_available_container",
  artifacts: [],
};

/** Takes slots, and gives them back one by one. */
class Holders {
  readonly #service: Service;
  readonly #held: { gone: AbortController; call: Promise<unknown> }[] = [];

  constructor(service: Service) {
    this.#service = service;
  }

  async take(count: number): Promise<void> {
    for (let n = 0; n < count; n++) {
      const gone = new AbortController();
      const code = "import time\ndef main():\n    time.sleep(600)\n";
      const call = this.#service.run("python", code, {}, { signal: gone.signal }).catch(String);
      this.#held.push({ gone, call });
    }
    await this.#running(this.#held.length);
  }

  async giveBack(count = this.#held.length): Promise<void> {
    for (const { gone, call } of this.#held.splice(0, count)) {
      gone.abort();
      await call;
    }
  }

  async #running(count: number): Promise<void> {
    await until(
      `${count} run`,
      () => this.#service.metric("edgedag_snippets_running"),
      (running) => running === count,
    );
  }
}

function waiting(service: Service, count: number): Promise<number> {
  return until(
    `${count} callers wait`,
    () => service.metric("edgedag_snippet_calls_waiting"),
    (found) => found === count,
  );
}

async function isBusyAtOnce(t: Test, service: Service): Promise<void> {
  const since = performance.now();
  const answers = await Promise.all(
    Array.from({ length: 10 }, (_, n) => service.run("python", quick, { n })),
  );
  t.ok(performance.now() - since < 1000, `${performance.now() - since} ms`);
  for (const answer of answers) t.same(answer, busy);
}

t.test("those who may wait are served in turn, everybody else hears at once", async (t) => {
  await using service = await Service.start({
    EDGEDAG_SNIPPET_SLOTS: `${slots}`,
    EDGEDAG_SNIPPET_TIMEOUT: "5m",
    EDGEDAG_RUN_WAITING: "2",
    EDGEDAG_RUN_WAIT: "1m",
  });
  const holders = new Holders(service);
  await holders.take(slots);
  const order: number[] = [];
  const patient: Promise<void>[] = [];
  for (const n of [1, 2]) {
    const call = service.run("python", quick, { n }).then((answer) => {
      t.equal(answer.result?.value, n);
      order.push(n);
    });
    patient.push(call);
    await waiting(service, n);
  }
  await isBusyAtOnce(t, service);
  t.equal(await service.metric("edgedag_snippets_busy_total", { language: "python" }), 10);
  await holders.giveBack(1);
  await Promise.all(patient);
  t.same(order, [1, 2], "the one who came first is first");
  await holders.giveBack();
  t.same((await service.run("python", quick, { n: 3 })).result?.value, 3);
});

t.test(
  "nobody need wait: a free sandbox is always given, and no more than there are",
  async (t) => {
    await using service = await Service.start({
      EDGEDAG_SNIPPET_SLOTS: `${slots}`,
      EDGEDAG_SNIPPET_TIMEOUT: "5m",
      EDGEDAG_RUN_WAITING: "0",
    });
    const holders = new Holders(service);
    await holders.take(slots - 1);
    for (let n = 0; n < 5; n++)
      t.equal((await service.run("python", quick, { n })).result?.value, n);
    await holders.take(1);
    await isBusyAtOnce(t, service);
    await holders.giveBack();
    await until(
      "all slots are free",
      () => service.metric("edgedag_snippets_running"),
      (running) => running === 0,
    );
    const together = await Promise.all(
      Array.from({ length: slots }, (_, n) => service.run("python", quick, { n })),
    );
    t.same(
      together.map(({ result }) => result?.value),
      [0, 1, 2],
      "as many at once as there are",
    );
  },
);

t.test("who has waited as long as the operator allows is told: busy", async (t) => {
  await using service = await Service.start({
    EDGEDAG_SNIPPET_SLOTS: "1",
    EDGEDAG_SNIPPET_TIMEOUT: "5m",
    EDGEDAG_RUN_WAIT: "500ms",
  });
  const holders = new Holders(service);
  await holders.take(1);
  const since = performance.now();
  t.same(await service.run("python", quick), busy);
  const waitedMs = performance.now() - since;
  t.ok(waitedMs >= 490 && waitedMs < 5000, `${waitedMs} ms`);
  await holders.giveBack();
  t.equal((await service.run("python", quick, { n: 1 })).result?.value, 1);
});

t.test("too many requests: 429 with exit code -429, for each key by itself", async (t) => {
  await using service = await Service.start({
    SANDBOX_RUN_RATE_LIMIT: "3/minute",
    EDGEDAG_API_KEYS: "one=key-of-one-1,two=key-of-two-2",
  });
  const body = { code_b64: base64(quick) };
  const ask = (key: string) =>
    service.post<RunAnswer>("/run", body, { headers: { "x-api-key": key } });
  for (let n = 0; n < 3; n++) t.equal((await ask("key-of-one-1")).status, 200);
  const refused = await ask("key-of-one-1");
  t.equal(refused.status, 429);
  t.match(refused.value, {
    status: "program_runner_error",
    exit_code: -429,
    stderr: "Too many requests, please try again later",
    detail: "Too many requests, please try again later",
    artifacts: [],
  });
  const seconds = Number(refused.headers.get("retry-after"));
  t.ok(seconds >= 1 && seconds <= 60, `Retry-After: ${seconds}`);
  t.equal((await ask("key-of-two-2")).status, 200, "another key has its own");
  for (let n = 0; n < 9; n++) t.equal((await ask("a-wrong-key")).status, 401);
  t.equal((await ask("key-of-two-2")).status, 200, "requests without a key cost nobody anything");
  t.equal((await service.get("/healthz")).status, 200);
});
