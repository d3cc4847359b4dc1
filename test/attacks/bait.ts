// What attacks go for, laid out on this host: files, a victim process, listeners. All of it is ours
// and is gone after the round; whether somebody bit is seen here.
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Bait } from "./attack.ts";

export class LaidBait implements AsyncDisposable {
  readonly bait: Bait;
  readonly #folder: string;
  readonly #victim: ChildProcess;
  readonly #servers: Server[];
  #contacts = 0;

  /** Several with one secret, for attacks side by side. */
  static async layMany(
    count: number,
  ): Promise<AsyncDisposable & { all: LaidBait[]; secret: string }> {
    const secret = `secret-${randomUUID()}`;
    const all = await Promise.all(Array.from({ length: count }, () => LaidBait.lay(secret)));
    return {
      all,
      secret,
      [Symbol.asyncDispose]: async () => {
        await Promise.all(all.map((laid) => laid[Symbol.asyncDispose]()));
      },
    };
  }

  static async lay(secret = `secret-${randomUUID()}`): Promise<LaidBait> {
    const folder = mkdtempSync(join(tmpdir(), "bait-"));
    chmodSync(folder, 0o755);
    const openFolder = join(folder, "open");
    const closedFolder = join(folder, "closed");
    mkdirSync(openFolder);
    chmodSync(openFolder, 0o777);
    mkdirSync(closedFolder, { mode: 0o700 });
    writeFileSync(join(openFolder, "secret"), secret, { mode: 0o666 });
    writeFileSync(join(closedFolder, "secret"), secret, { mode: 0o600 });
    writeFileSync(join(closedFolder, "secret.json"), JSON.stringify(secret), { mode: 0o600 });
    const sharedMemoryFile = `/dev/shm/bait-${randomUUID()}`;
    writeFileSync(sharedMemoryFile, secret, { mode: 0o666 });
    const victim = spawn(process.execPath, ["-e", victimProgram, "--", `--password=${secret}`], {
      stdio: ["ignore", "pipe", "inherit"],
      env: { VICTIM_SECRET: secret },
    });
    await once(victim.stdout, "data");
    const laid = new LaidBait(folder, victim, {
      openFolder,
      closedFolder,
      secret,
      victimPid: victim.pid ?? 0,
      port: 0,
      abstractName: `bait-${randomUUID()}`,
      socketPath: join(openFolder, "engine.sock"),
      sharedMemoryId: makeIpc("-M", "4096"),
      messageQueueId: makeIpc("-Q"),
      sharedMemoryFile,
    });
    await laid.#listen();
    return laid;
  }

  private constructor(folder: string, victim: ChildProcess, bait: Bait) {
    this.#folder = folder;
    this.#victim = victim;
    this.bait = bait;
    const server = () =>
      createServer((socket) => {
        this.#contacts += 1;
        socket.destroy();
      });
    this.#servers = [server(), server(), server()];
  }

  /** What has happened to the bait since the last look; undefined: nothing. */
  bitten(): string | undefined {
    const contacts = this.#contacts;
    this.#contacts = 0;
    if (contacts > 0) return `${contacts} connections reached the host`;
    if (this.#victim.exitCode !== null || this.#victim.signalCode !== null) {
      return "a process of the host was ended";
    }
    return undefined;
  }

  /** Text of an attack with the bait's names in it. */
  name(text: string): string {
    const { bait } = this;
    const names: { [word: string]: string } = {
      OPEN: bait.openFolder,
      CLOSED: bait.closedFolder,
      SECRET: bait.secret,
      VICTIM: String(bait.victimPid),
      PORT: String(bait.port),
      ABSTRACT: bait.abstractName,
      SOCKET: bait.socketPath,
      SHMID: String(bait.sharedMemoryId),
      MSGID: String(bait.messageQueueId),
      SHMFILE: bait.sharedMemoryFile,
    };
    return text.replaceAll(/\{([A-Z]+)\}/g, (whole, word: string) => names[word] ?? whole);
  }

  /** Puts back what an attack has changed. */
  restore(): void {
    const { openFolder, secret, socketPath } = this.bait;
    rmSync(join(openFolder, "planted"), { force: true });
    writeFileSync(join(openFolder, "secret"), secret, { mode: 0o666 });
    chmodSync(socketPath, 0o777);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#victim.exitCode === null && this.#victim.signalCode === null) {
      const exited = once(this.#victim, "exit");
      this.#victim.kill("SIGKILL");
      await exited;
    }
    await Promise.all(
      this.#servers.map(async (server) => {
        const closed = once(server, "close");
        server.close();
        await closed;
      }),
    );
    const { sharedMemoryId, messageQueueId, sharedMemoryFile } = this.bait;
    execFileSync("ipcrm", ["-m", String(sharedMemoryId), "-q", String(messageQueueId)]);
    rmSync(sharedMemoryFile, { force: true });
    clearLeftovers();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #listen(): Promise<void> {
    const [tcp, abstract, file] = this.#servers;
    if (tcp === undefined || abstract === undefined || file === undefined) return;
    const up = this.#servers.map((server) => once(server, "listening"));
    tcp.listen(0, "127.0.0.1");
    abstract.listen(`\0${this.bait.abstractName}`);
    file.listen(this.bait.socketPath);
    await Promise.all(up);
    const address = tcp.address();
    if (address !== null && typeof address === "object") this.bait.port = address.port;
    chmodSync(this.bait.socketPath, 0o777);
  }
}

/** What attacks leave on the host where a level does not claim to hold that. */
function clearLeftovers(): void {
  for (const path of leftOnHost) rmSync(path, { force: true });
  // It tells by its code that there is no such segment, as it should be.
  spawnSync("ipcrm", ["-M", "0xed6f"], { stdio: "ignore" });
}

const leftOnHost = [
  "/tmp/edgedag-left",
  "/tmp/bomb",
  "/dev/shm/edgedag-left",
  "/dev/shm/edgedag-bomb",
];

/** Its id; everybody may use it. */
function makeIpc(...words: string[]): number {
  const said = execFileSync("ipcmk", [...words, "-p", "0666"], { encoding: "utf8" });
  const id = /: (\d+)/.exec(said)?.[1];
  if (id === undefined) throw new Error(`ipcmk said ${said}`);
  return Number(id);
}

const victimProgram = "setInterval(() => {}, 1000); console.log('ready')";
