// The master's certificate, key and authority for clients, from files that may be replaced while it
// runs. What cannot be used is told in words and changes nothing: the certificate before stays.
import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { createSecureContext } from "node:tls";

export interface TlsPaths {
  cert: string;
  key: string;
  /** Of the authority whose certificates clients show. */
  clientCa?: string;
}

export interface TlsTexts {
  cert: string;
  key: string;
  clientCa?: string;
}

export type TlsRead = { ok: true; texts: TlsTexts } | { ok: false; message: string };

export function readTls(paths: TlsPaths): TlsRead {
  try {
    const texts: TlsTexts = {
      cert: readFileSync(paths.cert, "utf8"),
      key: readFileSync(paths.key, "utf8"),
      ...(paths.clientCa === undefined ? {} : { clientCa: readFileSync(paths.clientCa, "utf8") }),
    };
    // Throws when it is no PEM, or when key and certificate are not of one pair.
    createSecureContext(contextOf(texts));
    if (texts.clientCa !== undefined) new X509Certificate(texts.clientCa);
    return { ok: true, texts };
  } catch (error) {
    return { ok: false, message: error instanceof Error ? error.message : String(error) };
  }
}

export function contextOf({ cert, key, clientCa }: TlsTexts) {
  return {
    cert,
    key,
    ...(clientCa === undefined ? {} : { ca: clientCa }),
    minVersion: "TLSv1.2" as const,
  };
}

/** Looks whether the files have changed, and calls `changed` with what can be used. */
export class TlsWatch {
  readonly #paths: TlsPaths;
  readonly #timer: NodeJS.Timeout;
  readonly #told: { changed(texts: TlsTexts): void; failed(message: string): void };
  #seen: string;

  constructor(
    paths: TlsPaths,
    first: TlsTexts,
    everyMs: number,
    told: { changed(texts: TlsTexts): void; failed(message: string): void },
  ) {
    this.#paths = paths;
    this.#told = told;
    this.#seen = JSON.stringify(first);
    this.#timer = setInterval(() => this.check(), everyMs).unref();
  }

  /** Read, not watched: a mounted secret is replaced by a link that is moved, on any file system. */
  check(): void {
    const read = readTls(this.#paths);
    const seen = JSON.stringify(read.ok ? read.texts : read.message);
    if (seen === this.#seen) return;
    // A pair is written file by file: between them it does not fit, and the next look finds it whole.
    this.#seen = seen;
    if (read.ok) this.#told.changed(read.texts);
    else this.#told.failed(read.message);
  }

  close(): void {
    clearInterval(this.#timer);
  }
}
