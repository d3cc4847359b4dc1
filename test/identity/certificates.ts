// Certificates for tests, made with the openssl command: an authority, and certificates of it that are
// right, expired, or for others. Where there is no openssl, `missing` says so.
import { execFileSync, spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

export const missing =
  spawnSync("openssl", ["version"]).status === 0
    ? false
    : "there is no openssl to make certificates with";

export interface Pair {
  cert: string;
  key: string;
}

const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

function openssl(...args: string[]): void {
  execFileSync("openssl", args, { stdio: ["ignore", "ignore", "pipe"] });
}

/** Paths of PEM files in a folder; each call makes new ones. */
export class Authority {
  readonly #folder: string;
  readonly #key: string;
  readonly cert: string;
  #count = 0;

  constructor(folder: string, name = "fleet") {
    this.#folder = folder;
    this.#key = join(folder, `${name}-ca.key`);
    this.cert = join(folder, `${name}-ca.pem`);
    const files = ["-keyout", this.#key, "-out", this.cert, "-days", "30"];
    openssl("req", "-x509", ...curve, ...files, "-subj", `/CN=${name} authority`);
  }

  /** `names`: alternative names as openssl writes them; a negative number of days has expired. */
  issue({ common = "localhost", names = "DNS:localhost,IP:127.0.0.1", days = 2 } = {}): Pair {
    this.#count += 1;
    const at = (suffix: string) => join(this.#folder, `${common}-${this.#count}.${suffix}`);
    const pair = { cert: at("pem"), key: at("key") };
    openssl("req", ...curve, "-keyout", pair.key, "-out", at("csr"), "-subj", `/CN=${common}`);
    writeFileSync(at("ext"), names === "" ? "" : `subjectAltName=${names}\n`);
    const by = ["-CA", this.cert, "-CAkey", this.#key, "-extfile", at("ext")];
    openssl("x509", "-req", "-in", at("csr"), ...by, "-out", pair.cert, "-days", String(days));
    return pair;
  }
}

/** A certificate that nobody has signed but its own key. */
export function selfSigned(folder: string, common = "localhost"): Pair {
  const pair = {
    cert: join(folder, `self-${common}.pem`),
    key: join(folder, `self-${common}.key`),
  };
  const files = ["-keyout", pair.key, "-out", pair.cert, "-days", "2"];
  const names = ["-subj", `/CN=${common}`, "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"];
  openssl("req", "-x509", ...curve, ...files, ...names);
  return pair;
}
