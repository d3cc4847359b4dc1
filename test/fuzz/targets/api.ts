// The API of a master without snippets: a real server in this process, broken and odd requests, and
// never an internal error, a stack, or a master that is not there for the next caller.
import { rmSync } from "node:fs";
import type { Logger } from "../../../master/clock.ts";
import { helloOf, ScriptedAgent, testMaster } from "../../master/rig.ts";
import type { OpenApi } from "../../rig/open-api.ts";
import { must, shown, type Target } from "../target.ts";
import { dagWords } from "./dag.ts";
import { ask, httpWords, mustBeAnswers, mutateRequest, requestOf, seedsOf } from "./http.ts";

const words = [
  ...dagWords,
  "artifact",
  "files",
  "run",
  "node",
  "labels",
  "role",
  "token",
  "name",
  "expires",
  "after",
  "limit",
  "state",
];

export async function open(): Promise<Target> {
  const errors: string[] = [];
  const log: Logger = {
    debug() {},
    info() {},
    warn() {},
    error: (fields: unknown, text?: unknown) => {
      errors.push(shown([fields, text]));
    },
  };
  const master = await testMaster({ log, token: "the-token-of-the-fuzzer", failureRate: null });
  const port = Number(new URL(master.url).port);
  const { agent } = await ScriptedAgent.join(master.url, helloOf("n1"), {
    token: "the-token-of-the-fuzzer",
  });
  const api = (await (await master.get("/openapi.json")).json()) as OpenApi; // it describes itself
  const headers = {
    Host: `127.0.0.1:${port}`,
    Authorization: "Bearer the-token-of-the-fuzzer",
    Connection: "close",
  };
  const parts = { port, api, headers, names: ["n1", "r1", "none", "a.txt"] };
  return {
    covers:
      /\/(master\/(api|access|runs|nodes|gateway|results|logs|storage)\/|protocol\/(pack|load-dag|json)|master\/\w+\.ts)/,
    dictionary: [...httpWords, ...words],
    boundMs: 15_000,
    maxBytes: 24 * 1024,
    grows: false,
    seeds: () => [
      ...seedsOf(parts),
      requestOf(
        "POST",
        "/api/runs",
        headers,
        '{"artifact":{"artifact":1,"dag":{},"files":[]},"node":"n1"}',
      ),
      requestOf("GET", "/api/runs?limit=2&state=running", headers),
      `${requestOf("POST", "/api/runs", { ...headers, "Transfer-Encoding": "chunked" }).toString(
        "latin1",
      )}2\r\n{}\r\n0\r\n\r\n`,
      requestOf("POST", "/api/runs", headers, `${'{"a":'.repeat(900)}1${"}".repeat(900)}`),
      requestOf(
        "POST",
        "/api/runs",
        headers,
        '{"__proto__":{"isAdmin":true},"constructor":{"prototype":{"x":1}}}',
      ),
      requestOf("GET", "/api/nodes", { ...headers, "X-Large": "x".repeat(20_000) }),
      "GET / HTTP/1.1\r\n\r\n",
      "\r\n\r\nGET",
      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
      Buffer.from([0x16, 3, 1, 0, 5, 1, 0, 0, 1, 3]),
    ],
    mutate: (input, random, other) => mutateRequest(input, random, other, words),
    async run(input) {
      mustBeAnswers(await ask(port, input));
      must(errors.length === 0, `the master says: ${errors[0]}`);
    },
    async check() {
      const response = await master.get("/api/nodes");
      must(response.status === 200, `the next caller gets ${response.status}`);
      await response.text();
    },
    async close() {
      await agent[Symbol.asyncDispose]();
      await master[Symbol.asyncDispose]();
      rmSync(master.dataDir, { recursive: true, force: true });
    },
  };
}
