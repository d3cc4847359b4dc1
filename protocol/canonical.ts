// One text for one JSON value, so that equal documents have equal digests. Pure.
// Keys are sorted by UTF-16 code units and nothing is indented, as in RFC 8785.
import { hash } from "node:crypto";
import type { DagArtifact } from "./artifact.ts";

/** Fields that are undefined are left out, as JSON.stringify does. */
export function canonicalJson(value: unknown): string {
  return write(value, new Map());
}

/** `names` remembers how names of fields are written: documents repeat a few of them for ever. */
function write(value: unknown, names: Map<string, string>): string {
  if (value === null || typeof value !== "object") return JSON.stringify(value) ?? "null";
  if (Array.isArray(value)) {
    let text = "[";
    for (let i = 0; i < value.length; i++) {
      text += (i === 0 ? "" : ",") + write(value[i], names);
    }
    return `${text}]`;
  }
  let text = "{";
  for (const key of sortedKeys(value)) {
    const member: unknown = Reflect.get(value, key);
    if (member === undefined) continue;
    let name = names.get(key);
    if (name === undefined) {
      name = `${JSON.stringify(key)}:`;
      names.set(key, name);
    }
    text += (text === "{" ? "" : ",") + name + write(member, names);
  }
  return `${text}}`;
}

/**
 * Sorting is the larger part of the work, and most objects have few keys, nearly in order: inserted in
 * place, by code units as `sort` compares, without the copies that it makes.
 */
function sortedKeys(value: object): string[] {
  const keys = Object.keys(value);
  if (keys.length > 32) return keys.sort();
  for (let i = 1; i < keys.length; i++) {
    const key = keys[i] as string; // i < length, and so are those below it
    let at = i;
    for (; at > 0 && (keys[at - 1] as string) > key; at--) keys[at] = keys[at - 1] as string;
    if (at < i) keys[at] = key;
  }
  return keys;
}

export function sha256Hex(data: string | Uint8Array): string {
  return hash("sha256", data, "hex");
}

/** The name of an artifact everywhere: the SHA-256 of its canonical JSON, in hex. */
export function artifactDigest(artifact: DagArtifact): string {
  return sha256Hex(unsignedText(artifact));
}

/** What signatures are about: the artifact without them. */
export function unsignedText({ signatures: _, ...artifact }: DagArtifact): string {
  return canonicalJson(artifact);
}
