// A network that loses packets: a network namespace of the test's own behind a veth pair, in which a
// forwarder listens and nftables drops a share of what comes in and goes out. Nothing outside of it is
// touched; both legs of a connection go through it.
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { connect, createServer, type Server } from "node:net";
import { createInterface } from "node:readline";

/** Why there is none here, or false. */
export const noLossyNetwork: string | false = whyNot();

function whyNot(): string | false {
  if (process.getuid?.() !== 0) return "network namespaces need root here";
  const tools = ["ip", "nft"].filter(
    (name) => !["/usr/sbin", "/sbin", "/usr/bin"].some((folder) => existsSync(`${folder}/${name}`)),
  );
  return tools.length === 0 ? false : `${tools.join(" and ")} cannot be found`;
}

const forwarder = `
const net = require("node:net");
const [host, port] = process.argv.slice(1);
const server = net.createServer((near) => {
  const far = net.connect(Number(port), host);
  for (const [a, b] of [[near, far], [far, near]]) {
    a.setNoDelay(true);
    a.pipe(b);
    a.on("error", () => b.destroy());
    a.on("close", () => b.destroy());
  }
});
server.listen(0, "0.0.0.0", () => console.log(server.address().port));
`;

export class LossyNetwork implements AsyncDisposable {
  /** Where the far end is reached through the namespace. */
  readonly address: string;
  readonly #name: string;
  readonly #child: ChildProcess;
  readonly #server: Server;

  private constructor(parts: {
    address: string;
    name: string;
    child: ChildProcess;
    server: Server;
  }) {
    this.address = parts.address;
    this.#name = parts.name;
    this.#child = parts.child;
    this.#server = parts.server;
  }

  /** `port`: of the far end, on this machine's loopback. */
  static async start(port: number): Promise<LossyNetwork> {
    const name = `edgedag-t${process.pid}`;
    const [here, there] = [`edh${process.pid}`, `edn${process.pid}`];
    const net = `10.213.${process.pid % 250}`;
    run("ip", "netns", "add", name);
    try {
      run("ip", "link", "add", here, "type", "veth", "peer", "name", there, "netns", name);
      run("ip", "address", "add", `${net}.1/30`, "dev", here);
      run("ip", "link", "set", here, "up");
      run("ip", "-n", name, "address", "add", `${net}.2/30`, "dev", there);
      run("ip", "-n", name, "link", "set", there, "up");
      const server = createServer((near) => {
        const far = connect(port, "127.0.0.1");
        near.pipe(far);
        far.pipe(near);
        for (const [one, other] of [
          [near, far],
          [far, near],
        ] as const) {
          one.on("error", () => other.destroy());
          one.on("close", () => other.destroy());
        }
      });
      await new Promise<void>((resolve) => server.listen(0, `${net}.1`, resolve));
      const back = server.address();
      if (back === null || typeof back === "string") throw new Error("no port");
      const child = spawn(
        "ip",
        ["netns", "exec", name, process.execPath, "-e", forwarder, `${net}.1`, `${back.port}`],
        { stdio: ["ignore", "pipe", "inherit"], env: {} },
      );
      const told = await new Promise<string>((resolve, reject) => {
        createInterface({ input: child.stdout }).once("line", resolve);
        child.once("exit", () => reject(new Error("the forwarder has ended")));
      });
      return new LossyNetwork({ address: `${net}.2:${told}`, name, child, server });
    } catch (error) {
      run("ip", "netns", "delete", name);
      throw error;
    }
  }

  /** Of packets, in each direction; 0 heals. */
  lose(percent: number): void {
    const drop = `numgen random mod 100 < ${percent} drop`;
    const chain = (hook: string) =>
      `chain ${hook} { type filter hook ${hook} priority 0; iif lo accept; ${drop}; }`;
    const rules =
      percent === 0
        ? "flush ruleset"
        : `flush ruleset\ntable inet loss {\n${chain("input")}\n${chain("output").replace("iif lo", "oif lo")}\n}`;
    execFileSync("ip", ["netns", "exec", this.#name, "nft", "-f", "-"], { input: rules });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
    // With it goes its end of the pair, and with that the other.
    run("ip", "netns", "delete", this.#name);
  }
}

function run(command: string, ...args: string[]): void {
  execFileSync(command, args, { stdio: ["ignore", "ignore", "inherit"] });
}
