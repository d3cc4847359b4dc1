// What the tests of identities share: a real master, real links of agents to it, and HTTP that trusts an
// authority of the test.

import { mkdir } from "node:fs/promises";
import { type IncomingHttpHeaders, request as plainRequest } from "node:http";
import { request as tlsRequest } from "node:https";
import { join } from "node:path";
import type { LinkOptions } from "../../agent/link/link.ts";
import { type Master, type MasterOptions, startMaster } from "../../master/main.ts";
import { LinkRig } from "../link/rig.ts";
import { silentLog } from "../master/rig.ts";

export const adminToken = "token-of-the-admin";

export interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
  // biome-ignore lint/suspicious/noExplicitAny: tests look at what the schemas say
  value: any;
}

export interface Asked {
  method?: "GET" | "POST";
  token?: string;
  headers?: { [name: string]: string };
  body?: string | Buffer;
  /** PEM texts. */
  ca?: string;
  cert?: string;
  key?: string;
  /** The name that the certificate must be for. */
  servername?: string;
}

/** Any answer is a value; only a connection that breaks rejects. */
export function ask(url: string, asked: Asked = {}): Promise<Answer> {
  const { method = "GET", token, body, ca, cert, key } = asked;
  const send = url.startsWith("https:") ? tlsRequest : plainRequest;
  return new Promise((resolve, reject) => {
    const request = send(url, {
      method,
      agent: false,
      headers: {
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...asked.headers,
      },
      ...(ca === undefined ? {} : { ca }),
      ...(asked.servername === undefined ? {} : { servername: asked.servername }),
      ...(cert === undefined ? {} : { cert, key }),
    });
    request.on("error", reject);
    request.on("response", (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => {
        const text = Buffer.concat(chunks).toString("utf8");
        const isJson = (response.headers["content-type"] ?? "").startsWith("application/json");
        const value = isJson ? JSON.parse(text) : undefined;
        resolve({ status: response.statusCode ?? 0, headers: response.headers, text, value });
      });
    });
    request.end(body);
  });
}

export class Fleet implements AsyncDisposable {
  readonly dir: string;
  readonly #options: Partial<MasterOptions>;
  readonly #links: LinkRig[] = [];
  #master: Master;

  private constructor(dir: string, options: Partial<MasterOptions>, master: Master) {
    this.dir = dir;
    this.#options = options;
    this.#master = master;
  }

  /** `token: null`: without one. */
  static async start(
    dir: string,
    {
      token = adminToken,
      ...options
    }: Partial<Omit<MasterOptions, "token">> & { token?: string | null } = {},
  ): Promise<Fleet> {
    const all = { ...options, ...(token === null ? {} : { token }) };
    return new Fleet(dir, all, await begin(dir, all));
  }

  get url(): string {
    return this.#master.url;
  }

  get dataDir(): string {
    return join(this.dir, "master");
  }

  /** The address that agents are given, with the name that certificates have. */
  get link(): string {
    return `${this.url.replace(/^http/, "ws").replace("127.0.0.1", "localhost")}/link`;
  }

  async restart(options: Partial<MasterOptions> = {}): Promise<void> {
    const { port } = new URL(this.url);
    await this.stop();
    await this.begin({ listen: { host: "127.0.0.1", port: Number(port) }, ...options });
  }

  /** After `stop`. */
  async begin(options: Partial<MasterOptions>): Promise<void> {
    this.#master = await begin(this.dir, { ...this.#options, ...options });
  }

  async stop(): Promise<void> {
    await this.#master.close();
  }

  /** A real link of an agent with a state folder of this name; by itself without any secret. */
  async agent(
    name: string,
    more: Partial<LinkOptions> & { state?: string } = {},
  ): Promise<LinkRig> {
    const { state = name, ...options } = more;
    const stateDir = join(this.dir, state);
    await mkdir(stateDir, { recursive: true });
    const rig = new LinkRig(stateDir, options.url ?? this.link, {
      node: name,
      token: "",
      ...options,
    });
    this.#links.push(rig);
    return rig;
  }

  async post(path: string, body: object = {}, token = adminToken): Promise<Answer> {
    return ask(`${this.url}${path}`, { method: "POST", token, body: JSON.stringify(body) });
  }

  /** Of an agent whose link has ended or goes on. */
  async enrollToken(node: string, expiresMs?: number): Promise<string> {
    const body = expiresMs === undefined ? {} : { expiresMs };
    const answer = await this.post(`/api/nodes/${node}/enroll-token`, body);
    if (answer.status !== 201) throw new Error(answer.text);
    return answer.value.token;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#links.map((link) => link.end()));
    await this.stop();
  }
}

function begin(dir: string, options: Partial<MasterOptions>): Promise<Master> {
  return startMaster({
    listen: { host: "127.0.0.1", port: 0 },
    dataDir: join(dir, "master"),
    log: silentLog,
    // A scripted agent sends no heartbeats: it must not be taken for lost on a busy machine.
    heartbeatMs: 2000,
    ...options,
  });
}

export const isIn = (rig: LinkRig): boolean => rig.heard("connected").length > 0;
export const isRefused = (rig: LinkRig): boolean => rig.heard("refused").length > 0;
