// TLS between agent and master: what is wrong with a certificate is said in words that name the remedy,
// and tried again; a proof of a key is good for one channel alone.
import { readFileSync } from "node:fs";
import { createServer as createHttps } from "node:https";
import type { AddressInfo } from "node:net";
import { connect as connectPlain } from "node:net";
import { connect as connectTls, createServer, type TLSSocket } from "node:tls";
import t from "tap";
import { WebSocket, WebSocketServer } from "ws";
import { Authority, missing, selfSigned } from "./certificates.ts";
import { adminToken, ask, Fleet, isIn, isRefused } from "./rig.ts";

const skip = missing;

t.test(
  "an agent says what is wrong with the master's certificate, and tries again",
  { skip },
  async (t) => {
    const dir = t.testdir();
    const authority = new Authority(dir);
    const other = new Authority(dir, "other");
    const self = selfSigned(dir);
    const right = authority.issue();
    const cases = [
      {
        pair: authority.issue({ days: -1 }),
        ca: authority.cert,
        said: /has expired by this machine's clock.*CERT_HAS_EXPIRED/,
      },
      {
        pair: authority.issue({ names: "DNS:elsewhere.example" }),
        ca: authority.cert,
        said: /for other names than the one in EDGEDAG_MASTER.*elsewhere\.example/,
      },
      {
        pair: self,
        ca: undefined,
        said: /self-signed; name it, or its authority, in EDGEDAG_MASTER_CA/,
      },
      {
        pair: right,
        ca: undefined,
        said: /authority that is not trusted here; name it in EDGEDAG_MASTER_CA/,
      },
      { pair: right, ca: other.cert, said: /authority that is not trusted here/ },
      { pair: right, ca: `${dir}/none.pem`, said: /ENOENT.*none\.pem/ },
      { pair: right, ca: right.key, said: /is no PEM|authority that is not trusted/ },
    ];
    for (const [i, { pair, ca, said }] of cases.entries()) {
      await using fleet = await Fleet.start(`${dir}/case-${i}`, { tlsFiles: pair });
      const agent = await fleet.agent("pump-7", {
        token: adminToken,
        ...(ca === undefined ? {} : { tlsCa: ca }),
      });
      await agent.until(() => agent.heard("disconnected").length >= 2);
      t.match(agent.heard("disconnected")[0]?.[0], said);
      t.ok(Number(agent.heard("disconnected")[1]?.[1]) > 0, "and when it tries again");
      t.same(agent.heard("connected"), []);
    }
    for (const pair of [right, self]) {
      await using fleet = await Fleet.start(`${dir}/right-${pair === self}`, { tlsFiles: pair });
      const agent = await fleet.agent("pump-7", {
        token: adminToken,
        tlsCa: pair === self ? self.cert : authority.cert,
      });
      await agent.until(() => isIn(agent));
    }
  },
);

t.test(
  "TLS that meets plain, and plain that meets TLS, is said at both ends",
  { skip },
  async (t) => {
    const dir = t.testdir();
    const authority = new Authority(dir);
    const tlsFiles = authority.issue();
    const ca = readFileSync(authority.cert, "utf8");
    await using plain = await Fleet.start(`${dir}/plain`);
    const wants = await plain.agent("pump-7", {
      token: adminToken,
      url: plain.link.replace("ws:", "wss:"),
    });
    await wants.until(() => wants.heard("disconnected").length >= 2);
    t.match(
      wants.heard("disconnected")[0]?.[0],
      /does not speak TLS: use http:\/\/ in EDGEDAG_MASTER/,
    );

    await using secure = await Fleet.start(`${dir}/secure`, { tlsFiles });
    const naive = await secure.agent("pump-7", {
      token: adminToken,
      url: secure.link.replace("wss:", "ws:"),
    });
    await naive.until(() => naive.heard("disconnected").length >= 2);
    t.match(naive.heard("disconnected")[0]?.[0], /speaks TLS.*use https:\/\/ in EDGEDAG_MASTER/);
    const http = secure.url.replace("https:", "http:");
    t.match(await ask(`${http}/healthz`), {
      status: 426,
      value: { error: { code: "E_API_TLS", remedy: /https:/ } },
    });
    t.match(await ask(`${secure.url}/healthz`, { ca }), { status: 200 });

    const { port } = new URL(secure.url);
    const mute = connectPlain(Number(port), "127.0.0.1");
    await new Promise((resolve) => mute.once("connect", resolve));
    const garbage = connectPlain(Number(port), "127.0.0.1");
    garbage.end("\0\0\0\0 nothing that is known");
    const came = await new Promise<number>((resolve) => {
      let bytes = 0;
      garbage.on("data", (chunk) => {
        bytes += chunk.length;
      });
      garbage.on("error", () => resolve(bytes));
      garbage.on("close", () => resolve(bytes));
    });
    t.equal(came, 0, "what is neither is hung up on");
    t.equal(await version(secure, ca, "TLSv1.3"), "TLSv1.3");
    t.equal(await version(secure, ca, "TLSv1.2"), "TLSv1.2");
    await t.rejects(version(secure, ca, "TLSv1.1"));
    mute.on("error", () => {});
  },
);

function version(
  fleet: Fleet,
  ca: string,
  most: "TLSv1.1" | "TLSv1.2" | "TLSv1.3",
): Promise<unknown> {
  const port = Number(new URL(fleet.url).port);
  const ciphers = "DEFAULT:@SECLEVEL=0";
  return new Promise((resolve, reject) => {
    const socket = connectTls({
      port,
      host: "localhost",
      ca,
      minVersion: "TLSv1",
      maxVersion: most,
      ciphers,
    });
    socket.on("error", reject);
    socket.on("secureConnect", () => {
      resolve(socket.getProtocol());
      socket.destroy();
    });
  });
}

t.test(
  "certificate files that change are used without a restart; broken ones change nothing",
  { skip },
  async (t) => {
    const dir = t.testdir();
    const authority = new Authority(dir);
    const first = authority.issue({ common: "first" });
    const second = authority.issue({ common: "second" });
    const third = authority.issue({ common: "third" });
    const { copyFileSync, writeFileSync } = await import("node:fs");
    const tlsFiles = { cert: `${dir}/cert.pem`, key: `${dir}/key.pem` };
    const put = ({ cert, key }: { cert: string; key: string }) => {
      copyFileSync(cert, tlsFiles.cert);
      copyFileSync(key, tlsFiles.key);
    };
    put(first);
    const lines: string[] = [];
    const told = new EventTarget();
    const say = (_: object, text: string) => {
      lines.push(text);
      told.dispatchEvent(new Event("line"));
    };
    const log = { debug: say, info: say, warn: say, error: say };
    const until = async (pattern: RegExp, count = 1) => {
      while (lines.filter((line) => pattern.test(line)).length < count) {
        await new Promise((resolve) => told.addEventListener("line", resolve, { once: true }));
      }
    };
    await using fleet = await Fleet.start(dir, { tlsFiles, tlsCheckMs: 20, log });
    const ca = readFileSync(authority.cert, "utf8");
    const agent = await fleet.agent("pump-7", { token: adminToken, tlsCa: authority.cert });
    await agent.until(() => isIn(agent));
    t.equal(await commonName(fleet, ca), "first");
    put(second);
    await until(/have changed and are in use/);
    t.equal(await commonName(fleet, ca), "second");
    writeFileSync(tlsFiles.key, "half a k");
    await until(/cannot be used; the ones before stay/);
    t.equal(await commonName(fleet, ca), "second");
    put(third);
    await until(/have changed and are in use/, 2);

    t.equal(await commonName(fleet, ca), "third");

    agent.record(1);

    const seq = agent.journal.nextSeq() - 1;
    await agent.until(() => agent.heard("acked").some(([acked]) => Number(acked) >= seq));

    t.same(agent.heard("disconnected"), [], "and who is connected stays so");
  },
);

function commonName(fleet: Fleet, ca: string): Promise<unknown> {
  const port = Number(new URL(fleet.url).port);
  return new Promise((resolve, reject) => {
    const socket = connectTls({ port, host: "localhost", ca }, () => {
      resolve(socket.getPeerCertificate().subject.CN);
      socket.destroy();
    });
    socket.on("error", reject);
  });
}

t.test(
  "a proof is worth nothing on another channel, whatever stands between says",
  { skip },
  async (t) => {
    const dir = t.testdir();
    const authority = new Authority(dir);
    const tlsFiles = authority.issue();
    const ca = readFileSync(authority.cert, "utf8");
    await using fleet = await Fleet.start(dir, { tlsFiles });
    const agent = await fleet.agent("pump-7", {
      enrollToken: await enrollOver(fleet, ca),
      tlsCa: authority.cert,
    });
    await agent.until(() => isIn(agent));
    await agent.end();
    t.pass("straight, it is let in");

    const pair = authority.issue();
    const keys = { cert: readFileSync(pair.cert), key: readFileSync(pair.key) };
    const port = Number(new URL(fleet.url).port);
    const relay = createServer(keys, (near) => {
      const far = connectTls({ port, host: "localhost", ca });
      near.pipe(far).pipe(near);
      for (const socket of [near, far]) socket.on("error", () => near.destroy());
    });
    relay.listen(0);
    const relayed = await fleet.agent("pump-7", { url: linkAt(relay), tlsCa: authority.cert });
    await relayed.until(() => isRefused(relayed));
    t.match(relayed.heard("refused")[0], [{ code: "unauthorized", detail: /proof .* is wrong/ }]);
    await relayed.end();
    relay.close();

    // This one also claims that the master has no TLS.
    const liar = createHttps(keys);
    const sockets = new WebSocketServer({ server: liar, path: "/link" });
    sockets.on("connection", (near, request) => {
      const key = String(request.headers["edgedag-key"]);
      const far = new WebSocket(`${fleet.link}`, { ca, headers: { "edgedag-key": key } });
      const opened = new Promise((resolve) => far.once("open", resolve));
      near.on("message", async (data) => {
        await opened;
        far.send(String(data));
      });
      far.on("message", (data) =>
        near.send(String(data).replace('"channel":"tls"', '"channel":"plain"')),
      );
      far.on("close", (code, reason) => near.close(code, reason));
      near.on("close", () => far.terminate());
    });
    liar.listen(0);
    const fooled = await fleet.agent("pump-7", { url: linkAt(liar), tlsCa: authority.cert });
    await fooled.until(() => isRefused(fooled));
    t.match(fooled.heard("refused")[0], [{ code: "unauthorized", detail: /proof .* is wrong/ }]);
    t.same(fooled.heard("connected"), []);
    await fooled.end();
    liar.closeAllConnections();
    for (const socket of sockets.clients) socket.terminate();
    liar.close();
  },
);

t.test(
  "behind a proxy that ends the TLS, a key is proven to a master without TLS",
  { skip },
  async (t) => {
    const dir = t.testdir();
    const authority = new Authority(dir);
    const pair = authority.issue();
    await using fleet = await Fleet.start(dir);
    const port = Number(new URL(fleet.url).port);
    const proxy = createServer(
      { cert: readFileSync(pair.cert), key: readFileSync(pair.key) },
      (near: TLSSocket) => {
        const far = connectPlain(port, "127.0.0.1");
        near.pipe(far).pipe(near);
        for (const socket of [near, far]) socket.on("error", () => near.destroy());
      },
    );
    proxy.listen(0);
    const enrollToken = await fleet.enrollToken("pump-7");
    const agent = await fleet.agent("pump-7", {
      url: linkAt(proxy),
      tlsCa: authority.cert,
      enrollToken,
    });
    await agent.until(() => isIn(agent));
    t.pass();
    await agent.end();
    proxy.close();
  },
);

async function enrollOver(fleet: Fleet, ca: string): Promise<string> {
  const url = `${fleet.url}/api/nodes/pump-7/enroll-token`;
  return (await ask(url, { method: "POST", token: adminToken, body: "{}", ca })).value.token;
}

function linkAt(server: { address(): unknown }): string {
  return `wss://localhost:${(server.address() as AddressInfo).port}/link`;
}
