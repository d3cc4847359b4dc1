// What the targets over HTTP share: requests made from the OpenAPI description and then damaged, as
// bytes on a real connection; and what every answer must be.
import { connect } from "node:net";
import type { OpenApi, Operation, Schema } from "../../rig/open-api.ts";
import { mutateBytes } from "../engine/bytes.ts";
import type { Random } from "../engine/random.ts";
import { mutateTree } from "../engine/tree.ts";
import { must, shown } from "../target.ts";
import { mustBeInnocent } from "./diagnostics.ts";

export interface HttpParts {
  port: number;
  api: OpenApi;
  headers: Readonly<Record<string, string>>;
  /** Values for the names in paths. */
  names: readonly string[];
}

export const httpWords = [
  "Content-Length: 5\r\n",
  "Content-Length: 99999999999\r\n",
  "Content-Length: -1\r\n",
  "Transfer-Encoding: chunked\r\n",
  "Transfer-Encoding: gzip, chunked\r\n",
  "\r\n0\r\n\r\n",
  "ffffffff\r\n",
  "5;a=b\r\nhello\r\n",
  "Expect: 100-continue\r\n",
  "Upgrade: websocket\r\nConnection: Upgrade\r\n",
  "Content-Type: text/plain\r\n",
  "Content-Type: application/json; charset=utf-16\r\n",
  "Content-Type: multipart/form-data\r\n",
  "Content-Encoding: gzip\r\n",
  "Host: evil.example\r\n",
  "Range: bytes=0-9999999999999999999999\r\n",
  "If-None-Match: *\r\n",
  "Origin: null\r\n",
  "OPTIONS",
  "TRACE",
  "HEAD",
  "PUT",
  "HTTP/1.0",
  "HTTP/9.9",
  "%00",
  "%2e%2e%2f",
  "%ff",
  "%",
  "?wait=60s",
  "?limit=-1&limit=1e9",
  "?__proto__[a]=1",
  "//",
  "{{",
  "Bearer ",
  "X-Large: ".padEnd(9000, "x"),
];

/** A value that fits, with something of each field. */
function sampleOf(schema: Schema & { example?: unknown }, api: OpenApi, depth = 0): unknown {
  if (schema.example !== undefined) return schema.example;
  if (depth > 4) return null;
  if (schema.$ref !== undefined) {
    return sampleOf(
      api.components.schemas[schema.$ref.split("/").at(-1) ?? ""] ?? {},
      api,
      depth + 1,
    );
  }
  if (schema.enum !== undefined) return schema.enum[0];
  switch (schema.type) {
    case "array":
      return [sampleOf(schema.items ?? {}, api, depth + 1)];
    case "object":
      return Object.fromEntries(
        Object.entries(schema.properties ?? {}).map(([name, inner]) => [
          name,
          sampleOf(inner, api, depth + 1),
        ]),
      );
    case "integer":
    case "number":
      return 1;
    case "boolean":
      return true;
    default:
      return "a";
  }
}

export function requestOf(
  method: string,
  path: string,
  headers: Readonly<Record<string, string>>,
  body?: string,
): Buffer {
  const all = {
    ...headers,
    ...(body === undefined
      ? {}
      : { "Content-Type": "application/json", "Content-Length": String(Buffer.byteLength(body)) }),
  };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  return Buffer.from(`${method} ${path} HTTP/1.1\r\n${lines.join("")}\r\n${body ?? ""}`);
}

export function seedsOf({ api, headers, names }: HttpParts): Buffer[] {
  const seeds: Buffer[] = [];
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const name = names[seeds.length % names.length] ?? "x";
      const url = path.replaceAll(/\{\w+\}/g, name);
      const body = bodyOf(operation, api);
      seeds.push(requestOf(method.toUpperCase(), url, headers, body));
    }
  }
  return seeds;
}

function bodyOf(operation: Operation, api: OpenApi): string | undefined {
  const content = operation.requestBody?.content["application/json"];
  if (content === undefined) return undefined;
  return JSON.stringify(content.example ?? sampleOf(content.schema, api));
}

/** Head and body apart: the body is changed as JSON and told with its true length, mostly. */
export function mutateRequest(
  input: Buffer,
  random: Random,
  other: Buffer,
  words: readonly string[],
): Buffer {
  const text = input.toString("latin1");
  const end = text.indexOf("\r\n\r\n");
  if (end < 0 || random.once(5)) return mutateBytes(input, random, other, httpWords);
  let head: Buffer = Buffer.from(text.slice(0, end), "latin1");
  let body: Buffer = input.subarray(end + 4);
  const otherBody = other.subarray(other.indexOf("\r\n\r\n") + 4);
  if (body.length > 0 && !random.once(4)) {
    body =
      mutateTree(body, random, otherBody, words) ?? mutateBytes(body, random, otherBody, words);
  } else {
    head = mutateBytes(
      head,
      random,
      other.subarray(0, Math.max(0, other.indexOf("\r\n\r\n"))),
      httpWords,
    );
  }
  if (random.once(8) && body.length > 1) {
    const middle = random.below(body.length);
    const pieces = [body.subarray(0, middle), body.subarray(middle)].filter(
      (piece) => piece.length > 0,
    );
    const chunked = Buffer.concat([
      ...pieces.map((piece) =>
        Buffer.concat([
          Buffer.from(`${piece.length.toString(16)}\r\n`),
          piece,
          Buffer.from("\r\n"),
        ]),
      ),
      Buffer.from("0\r\n\r\n"),
    ]);
    const plain = head.toString("latin1").replace(/\r\nContent-Length: \d+/, "");
    return Buffer.concat([
      Buffer.from(`${plain}\r\nTransfer-Encoding: chunked\r\n\r\n`, "latin1"),
      chunked,
    ]);
  }
  let told = head.toString("latin1");
  if (!random.once(10))
    told = told.replace(/\r\nContent-Length: \d+/, `\r\nContent-Length: ${body.length}`);
  return Buffer.concat([Buffer.from(`${told}\r\n\r\n`, "latin1"), body]);
}

/** What the server says until it closes, or for a while: some answers wait or stream by right. */
export function ask(port: number, bytes: Buffer, patienceMs = 250): Promise<string> {
  return new Promise((resolve) => {
    let answer = "";
    const socket = connect(port, "127.0.0.1");
    const timer = setTimeout(() => socket.destroy(), patienceMs);
    // Node.js answers nobody who has ended its side; what is only a part is ended after a while.
    const ending = setTimeout(() => socket.end(), patienceMs / 4);
    socket.setEncoding("latin1").on("data", (text: string) => {
      if (answer.length < 4 * 2 ** 20) answer += text;
      // One request is answered once and closed; only what is open on purpose waits.
      if (isWhole(answer)) socket.destroy();
    });
    socket.on("error", () => undefined);
    socket.on("close", () => {
      clearTimeout(timer);
      clearTimeout(ending);
      resolve(answer);
    });
    socket.write(bytes);
  });
}

function isWhole(answer: string): boolean {
  const end = answer.indexOf("\r\n\r\n");
  const length = /\r\ncontent-length: (\d+)/i.exec(answer.slice(0, end))?.[1];
  return end >= 0 && length !== undefined && answer.length - end - 4 >= Number(length);
}

interface Answer {
  status: number;
  head: string;
  /** Undefined when its length is not told, or not all of it came. */
  body: string | undefined;
}

/** One connection may hear several answers, one right behind the other. */
function answersOf(text: string): Answer[] {
  const answers: Answer[] = [];
  for (let rest = text; rest !== ""; ) {
    const status = /^HTTP\/1\.[01] (\d{3})/.exec(rest)?.[1];
    must(status !== undefined, `it answers ${shown(rest)}`);
    const end = rest.indexOf("\r\n\r\n");
    const head = end < 0 ? rest : rest.slice(0, end);
    if (Number(status) < 200 && end >= 0) {
      rest = rest.slice(end + 4);
      continue;
    }
    const length = Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1] ?? Number.NaN);
    const from = end + 4;
    const isWhole = end >= 0 && rest.length >= from + length;
    // Of a request with HEAD, the next answer may come at once: then there is no body here.
    const hasBody = isWhole && !/^HTTP\/1\.[01] \d{3} /.test(rest.slice(from));
    answers.push({
      status: Number(status),
      head,
      body: hasBody ? rest.slice(from, from + length) : undefined,
    });
    if (!isWhole) break;
    rest = rest.slice(hasBody ? from + length : from);
  }
  return answers;
}

export function mustBeAnswers(text: string): void {
  for (const { status, head, body } of answersOf(text)) {
    // 501: a method or coding that HTTP leaves open; 503: the service says that it is busy.
    const isOurs = status < 500 || status === 501 || status === 503 || status === 505;
    must(isOurs, `it answers ${status}: ${shown(`${head} ${body}`)}`);
    if (status >= 400) mustBeInnocent(`${head} ${body ?? ""}`);
    if (body === undefined || body === "" || !/content-type: application\/json/i.test(head))
      continue;
    const value: unknown = JSON.parse(Buffer.from(body, "latin1").toString("utf8"));
    must(typeof value === "object" && value !== null, `no object: ${shown(body)}`);
  }
}
