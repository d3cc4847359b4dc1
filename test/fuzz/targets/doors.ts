// The three doors of the code-execution service, as a process of its own: odd requests over real
// connections, and a service that is as it was for the next caller.
import { readFileSync } from "node:fs";
import { Service } from "../../doors/serve-rig.ts";
import type { OpenApi } from "../../rig/open-api.ts";
import { Missing, must, shown, type Target } from "../target.ts";
import { ask, httpWords, mustBeAnswers, mutateRequest, requestOf, seedsOf } from "./http.ts";

const words =
  "code code_b64 language python nodejs bash arguments args stdin files outputs timeout memory_mb priority callback_url ids task_id wait env network isolation batch submissions source_code language_id expected_output cpu_time_limit compile run_timeout main.py ../x /etc/passwd cHJpbnQoMSk= print(1)".split(
    " ",
  );
const mostRssBytes = 700 * 2 ** 20;

export async function open(): Promise<Target> {
  let service: Service;
  try {
    // Without keys: too many wrong ones, and an address is not listened to for a while.
    service = await Service.start({
      EDGEDAG_OPEN: "yes",
      EDGEDAG_LEVELS: "subprocess",
      EDGEDAG_SNIPPET_ISOLATION: "subprocess",
    });
  } catch (error) {
    throw new Missing(`no service here: ${String(error).slice(0, 300)}`);
  }
  const port = Number(new URL(service.url).port);
  const api = (await service.get<OpenApi>("/openapi.json")).value;
  const headers = {
    Host: `127.0.0.1:${port}`,
    Connection: "close",
  };
  const ofDoors = Object.fromEntries(
    Object.entries(api.paths).filter(([path]) => !path.startsWith("/api/")),
  );
  const parts = {
    port,
    api: { ...api, paths: ofDoors },
    headers,
    names: ["none", "00000000-0000-0000-0000-000000000000", "out.txt"],
  };
  let lastRss = 0;
  return {
    dictionary: [...httpWords, ...words],
    boundMs: 20_000,
    maxBytes: 24 * 1024,
    grows: false,
    seeds: () => [
      ...seedsOf(parts),
      requestOf("POST", "/run", headers, '{"code_b64":"","language":"python"}'),
      requestOf(
        "POST",
        "/run",
        headers,
        '{"code_b64":"!","language":"python","arguments":{"__proto__":1}}',
      ),
      requestOf(
        "POST",
        "/submit",
        headers,
        '{"language":"bash","code":"exit 0","files":{"../x":"y"},"timeout":1e9}',
      ),
      requestOf("POST", "/tasks/wait", headers, '{"ids":["a"],"timeout":-1}'),
    ],
    mutate: (input, random, other) => mutateRequest(input, random, other, words),
    async run(input) {
      mustBeAnswers(await ask(port, input, 400));
    },
    async check() {
      const ready = await service.get("/healthz");
      must(ready.status === 200, `the next caller gets ${ready.status}: ${ready.text}`);
      const broken = service
        .logLines()
        .filter(({ level }) => typeof level === "number" && level >= 50);
      must(broken.length === 0, `the service says: ${shown(broken[0])}`);
      const kib = /VmRSS:\s+(\d+) kB/.exec(
        readFileSync(`/proc/${service.pid}/status`, "utf8"),
      )?.[1];
      lastRss = Number(kib) * 1024;
      must(lastRss < mostRssBytes, `the service has ${Math.round(lastRss / 2 ** 20)} MiB`);
    },
    close: () => service.end(),
  };
}
