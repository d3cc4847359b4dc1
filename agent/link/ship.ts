// Turns records into frames: as many as fit a frame and the window, never more. Outcomes and results
// behind much log go ahead in frames of their own. Says nothing about when to send; the thread asks for
// the next frame whenever the socket has room.
import type { EarlyLane } from "./early-lane.ts";
import type { RecordSource } from "./record-source.ts";
import type { ShipWindow } from "./ship-window.ts";

export const frameBytes = 256 * 1024;

export class Shipper {
  readonly #source: RecordSource;
  readonly #window: ShipWindow;
  /** Absent: the master takes none. */
  readonly #early: EarlyLane | undefined;
  #isBehind = false;
  #lastCount = 0;

  constructor(source: RecordSource, window: ShipWindow, early?: EarlyLane) {
    this.#source = source;
    this.#window = window;
    this.#early = early;
  }

  /** Records of the frame before. */
  get lastCount(): number {
    return this.#lastCount;
  }

  /** False: the frame before held all that there was, and nothing stands behind anything. */
  get isBehind(): boolean {
    return this.#isBehind;
  }

  close(): void {
    this.#source.close();
  }

  earlyAcked(seq: number): void {
    this.#early?.acked(seq);
  }

  /**
   * "empty": nothing to send. "full": acks must come first. A frame has at most about `limitBytes`, one
   * record at least.
   */
  next(now: number, limitBytes: number = frameBytes): { frame: string } | "empty" | "full" {
    const early = this.#isBehind ? this.#nextEarly(limitBytes) : undefined;
    if (early !== undefined) return early;
    const room = Math.min(frameBytes, limitBytes, this.#window.roomBytes);
    const texts: string[] = [];
    let bytes = 0;
    let lastSeq = 0;
    let record = this.#source.peek();
    for (; record !== undefined; record = this.#source.peek()) {
      const turn = this.#early?.turnOf(record.seq) ?? "whole";
      if (turn === "wait") break;
      const text = turn === "whole" ? record.text : bareNumber(record);
      const textBytes = turn === "whole" ? record.bytes : text.length;
      // A record above the limit goes alone; one above the window, when nothing else is on the way.
      const { unackedBytes, roomBytes } = this.#window;
      const mayGoAlone = texts.length === 0 && (unackedBytes === 0 || textBytes <= roomBytes);
      if (bytes + textBytes > room && !mayGoAlone) {
        break;
      }
      texts.push(text);
      bytes += textBytes;
      lastSeq = record.seq;
      this.#source.take();
      this.#early?.took(lastSeq);
    }
    const wasBehind = this.#isBehind;
    this.#isBehind = record !== undefined;
    if (texts.length === 0) {
      if (record === undefined) return "empty";
      // Found out only now: what may overtake goes before the acks are waited for.
      return (wasBehind ? undefined : this.#nextEarly(limitBytes)) ?? "full";
    }
    this.#window.sent(lastSeq, bytes, now);
    this.#lastCount = texts.length;
    return { frame: `{"type":"records","records":[${texts.join(",")}]}` };
  }

  #nextEarly(limitBytes: number): { frame: string } | undefined {
    const early = this.#early;
    if (early === undefined || early.unackedCount > 0) return undefined;
    const behindBytes = Math.min(behindMostBytes, this.#window.limitBytes / 4, limitBytes);
    const limit = Math.min(earlyFrameBytes, limitBytes);
    const { texts } = early.next(this.#source.nextSeq, limit, behindBytes);
    if (texts.length === 0) return undefined;
    return { frame: `{"type":"early","records":[${texts.join(",")}]}` };
  }
}

/** Time and run are fields of every record; here they say nothing. */
function bareNumber({ seq }: { seq: number }): string {
  return `{"seq":${seq},"time":0,"run":"none","type":"sent-early"}`;
}

const earlyFrameBytes = 64 * 1024;
/** Less bulk than this is no reason to say anything twice. */
const behindMostBytes = 64 * 1024;
