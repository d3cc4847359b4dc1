// amqps: what is not trusted is said, what is trusted works, and a silent peer is given up. TLS ends
// in front of a real RabbitMQ, as it often does.
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { type AddressInfo, connect } from "node:net";
import { createServer, type Server } from "node:tls";
import t from "tap";
import { root, run } from "../e2e/command.ts";
import type { TestRabbit } from "../rig/rabbitmq.ts";
import { TcpProxy } from "../rig/tcp-proxy.ts";
import { until } from "../rig/until.ts";
import { startBroker, withRabbit } from "./rabbit-rig.ts";

await withRabbit(register);

function register(rabbit: TestRabbit): void {
  t.test("a certificate that nobody trusts is said", async (t) => {
    const { port } = await tlsBefore(t, rabbit);
    const { broker } = await startBroker(t, `amqps://localhost:${port}`);
    t.match(broker.problem(), /not trusted: self-signed certificate.*name .*NODE_EXTRA_CA_CERTS/);
  });

  t.test("with its authority named it works", async (t) => {
    const { port, cert } = await tlsBefore(t, rabbit);
    const script = `
      import { RabbitBroker } from "./master/snippets/broker/rabbitmq.ts";
      import { AmqpAddress } from "./master/snippets/broker/rabbitmq/address.ts";
      const address = AmqpAddress.parse("amqps://localhost:${port}").value;
      const log = { debug() {}, info() {}, warn: console.error, error: console.error };
      const broker = new RabbitBroker({ address, log });
      const item = { id: "a", language: "python", priority: 5, owner: "", createdAt: 1 };
      const { promise, resolve } = Promise.withResolvers();
      await broker.start(["python"], 1, { delivered: resolve, lost() {}, ready() {} });
      await broker.publish([item]);
      (await promise).done();
      await broker.close();
    `;
    const ended = await run(process.execPath, ["--input-type=module", "-e", script], {
      cwd: root,
      env: { NODE_EXTRA_CA_CERTS: cert },
      timeoutMs: 20_000,
    });
    t.strictSame([ended.code, ended.stderr], [0, ""]);
  });

  t.test("a peer that never says a word of TLS is given up", async (t) => {
    await using proxy = await TcpProxy.start(rabbit.port);
    proxy.isSilent = true;
    const url = `amqps://localhost:${proxy.port}`;
    const { broker } = await startBroker(t, url, { openMs: 100 });
    t.match(broker.problem(), /no answer within 100 ms/);
    await broker.close();
    await until(
      "no socket is left",
      () => proxy.connections,
      (connections) => connections === 0,
    );
  });
}

/** TLS with a certificate for localhost that nobody knows. */
async function tlsBefore(
  t: { testdir(): string; teardown(end: () => void): void },
  rabbit: TestRabbit,
): Promise<{ port: number; cert: string }> {
  const folder = t.testdir();
  const [key, cert] = [`${folder}/key.pem`, `${folder}/cert.pem`];
  const kind = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
  const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
  const files = ["-keyout", key, "-out", cert];
  execFileSync("openssl", [...kind.split(" "), ...files, ...subject], { stdio: "ignore" });
  const options = { key: readFileSync(key), cert: readFileSync(cert) };
  const server: Server = createServer(options, (near) => {
    const far = connect(rabbit.port, "127.0.0.1");
    near.pipe(far).pipe(near);
    near.on("error", () => far.destroy());
    far.on("error", () => near.destroy());
  });
  server.on("tlsClientError", () => {});
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.teardown(() => {
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, cert }; // it listens on TCP
}
