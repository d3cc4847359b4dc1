import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer as createPlain } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import t from "tap";
import { WebSocketServer } from "ws";
import { LinkRig } from "./rig.ts";

/** A certificate for localhost that nobody trusts; undefined where there is no openssl. */
function certificate(folder: string): { key: string; cert: string } | undefined {
  const [key, cert] = [`${folder}/key.pem`, `${folder}/cert.pem`];
  const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
  const make = [
    "req",
    "-x509",
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:prime256v1",
    "-nodes",
  ];
  try {
    const files = ["-keyout", key, "-out", cert, "-days", "2"];
    execFileSync("openssl", [...make, ...files, ...subject], { stdio: "ignore" });
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") {
      return undefined;
    }
    throw error;
  }
  return { key, cert };
}

const files = certificate(t.testdir());
const skip = files === undefined ? "there is no openssl to make a certificate with" : false;

t.test("wss works with a CA file, and an unknown certificate is refused", { skip }, async (t) => {
  if (files === undefined) {
    return;
  }
  const folder = t.testdir();
  const server = createServer({ key: readFileSync(files.key), cert: readFileSync(files.cert) });
  const sockets = new WebSocketServer({ server, path: "/link" });
  sockets.on("connection", (socket) => {
    const welcome = { type: "welcome", version: 1, acked: 0, heartbeatMs: 200, time: 0 };
    socket.on("message", (data) => {
      const message = JSON.parse(String(data));
      if (message.type === "hello") socket.send(JSON.stringify(welcome));
      if (message.type !== "records") return;
      socket.send(JSON.stringify({ type: "ack", seq: message.records.at(-1).seq }));
    });
  });
  server.listen(0);
  await once(server, "listening");
  const url = `wss://localhost:${(server.address() as AddressInfo).port}/link`;
  const trusting = new LinkRig(`${folder}/a`, url, { tlsCa: files.cert });
  await trusting.until(() => trusting.heard("connected").length > 0);
  trusting.record(3);
  const seq = trusting.journal.nextSeq() - 1;
  await trusting.until(() => trusting.heard("acked").some(([acked]) => acked === seq));
  await trusting.end();
  const strict = new LinkRig(`${folder}/b`, url);
  await strict.until(() => strict.heard("disconnected").length > 0);
  t.match(strict.heard("disconnected")[0]?.[0], /self-signed/);
  t.same(strict.heard("connected"), []);
  await strict.end();
  const lost = new LinkRig(`${folder}/c`, url, { tlsCa: `${folder}/none.pem` });
  await lost.until(() => lost.heard("disconnected").length > 1);
  t.match(lost.heard("disconnected")[0]?.[0], /ENOENT.*none\.pem/);
  await lost.end();
  sockets.close();
  server.close();
});

t.test("a wrong token is told as such, another answer as no link", async (t) => {
  let status = 401;
  const server = createPlain().on("upgrade", (_, socket) => {
    socket.end(`HTTP/1.1 ${status} No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}/link`;
  const rig = new LinkRig(t.testdir(), url);
  await rig.until(() => rig.heard("refused").length > 0);
  t.match(rig.heard("refused"), [[{ code: "unauthorized", remedy: /EDGEDAG_TOKEN/ }]]);
  status = 404;
  await rig.until(() => rig.heard("disconnected").length > 0);
  t.match(rig.heard("disconnected")[0]?.[0], /HTTP 404/);
  await rig.end();
  server.close();
});

t.test("an address that is none is said, and tried again", async (t) => {
  const rig = new LinkRig(t.testdir(), "nonsense");
  await rig.until(() => rig.heard("disconnected").length > 1);
  t.match(rig.heard("disconnected")[0]?.[0], /Invalid URL/);
  await rig.end();
});
