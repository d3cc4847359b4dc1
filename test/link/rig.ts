// An agent's half of the link for tests: a journal, a link, and what the link has said.
import { Journal } from "../../agent/journal/journal.ts";
import type { LinkStatus } from "../../agent/link/heartbeat.ts";
import { Link, type LinkEvents, type LinkOptions } from "../../agent/link/link.ts";

export interface Said {
  event: keyof LinkEvents;
  values: unknown[];
}

export class LinkRig {
  readonly journal: Journal;
  readonly link: Link;
  readonly said: Said[] = [];
  status: LinkStatus = { state: "idle", runs: { r: { done: 0, total: 1, running: 1 } } };
  #waiting: { done(): boolean; resolve(): void }[] = [];
  #ended = false;

  constructor(stateDir: string, url: string, more: Partial<LinkOptions> = {}) {
    const opened = Journal.open({ stateDir, durability: "process", ship: true });
    if (!opened.ok) {
      throw new Error(JSON.stringify(opened.diagnostics));
    }
    this.journal = opened.value;
    if (this.journal.openRuns().length === 0) {
      this.journal.beginRun("r", { digest: "d", startedAt: 0 });
      this.journal.commit();
    }
    this.link = Link.start(
      {
        url,
        token: "secret",
        node: "n1",
        boot: this.journal.nodeBoot(),
        agentVersion: "0",
        capabilities: {
          architecture: "x64",
          os: "linux",
          cores: 2,
          memoryBytes: 1,
          levels: ["none"],
          languages: {},
          launcher: false,
        },
        labels: { site: "lab" },
        wantsRuns: true,
        snippetSlots: 0,
        heartbeatMs: 200,
        stateDir,
        backoff: { firstMs: 10, maxMs: 50, slowMs: 300 },
        status: () => this.status,
        ...more,
      },
      this.#events(),
    );
  }

  /** Commits `count` records and tells the link. */
  record(count: number, text = ""): void {
    for (let i = 0; i < count; i++) {
      const attempt = this.journal.nextSeq();
      this.journal.record({
        type: "progress",
        time: 1,
        run: "r",
        task: "a",
        attempt,
        fraction: 0,
        text,
      });
    }
    this.commit();
  }

  commit(): void {
    const committed = this.journal.commit();
    if (!committed.ok) {
      throw new Error(JSON.stringify(committed.diagnostics));
    }
    this.link.notify(this.journal.outboxDepth());
  }

  until(done: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push({ done, resolve });
      this.#look();
    });
  }

  heard(event: keyof LinkEvents): unknown[][] {
    return this.said.filter((said) => said.event === event).map((said) => said.values);
  }

  async end(flushMs = 0): Promise<number> {
    const unsent = await this.link.close({ flushMs });
    if (!this.#ended) {
      this.#ended = true;
      this.journal.close();
    }
    return unsent;
  }

  #events(): LinkEvents {
    const hear =
      (event: keyof LinkEvents) =>
      (...values: unknown[]) => {
        this.said.push({ event, values });
        if (event === "acked" && !this.#ended) {
          this.journal.ack(Number(values[0]));
        }
        if (event === "ahead") {
          this.journal.renumber(Number(values[0]));
          this.link.renumbered();
        }
        if (event === "damaged") {
          this.journal.repairOutbox();
          this.link.renumbered();
        }
        this.#look();
      };
    return {
      acked: hear("acked"),
      offered: hear("offered"),
      cancelled: hear("cancelled"),
      drain: hear("drain"),
      ordered: hear("ordered"),
      connected: hear("connected"),
      disconnected: hear("disconnected"),
      refused: hear("refused"),
      ahead: hear("ahead"),
      behind: hear("behind"),
      problem: hear("problem"),
      damaged: hear("damaged"),
      unreadable: hear("unreadable"),
    };
  }

  #look(): void {
    this.#waiting = this.#waiting.filter((waiting) => {
      const done = waiting.done();
      if (done) {
        waiting.resolve();
      }
      return !done;
    });
  }
}
