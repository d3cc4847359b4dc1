// One text for one JSON value, so that equal documents have equal digests. Pure.
// Keys are sorted by UTF-16 code units and nothing is indented, as in RFC 8785.
import { hash } from "node:crypto";
import type { DagArtifact } from "./artifact.ts";

/** Fields that are undefined are left out, as JSON.stringify does. */
export function canonicalJson(value: unknown): string {
  if (value === null || typeof value !== "object") return JSON.stringify(value) ?? "null";
  if (Array.isArray(value)) {
    let text = "[";
    for (let i = 0; i < value.length; i++) {
      text += (i === 0 ? "" : ",") + canonicalJson(value[i]);
    }
    return `${text}]`;
  }
  let text = "{";
  for (const key of Object.keys(value).sort()) {
    const member = Reflect.get(value, key);
    if (member === undefined) continue;
    text += `${text === "{" ? "" : ","}${JSON.stringify(key)}:${canonicalJson(member)}`;
  }
  return `${text}}`;
}

export function sha256Hex(data: string | Uint8Array): string {
  return hash("sha256", data, "hex");
}

/** The name of an artifact everywhere: the SHA-256 of its canonical JSON, in hex. */
export function artifactDigest(artifact: DagArtifact): string {
  return sha256Hex(canonicalJson(artifact));
}
