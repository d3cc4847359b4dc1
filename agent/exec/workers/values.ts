// References in the arguments of a call: instead of a value, where the worker finds it.
// `{"$ref": ...}` objects in data of users are escaped, so that data can never become a reference.
import type { Json } from "../../../protocol/json.ts";

export type JsonPath = (string | number)[];

/** `value` with every object of the user's that looks like a reference marked as literal. */
export function escapeRefs(value: Json): Json {
  if (value === null || typeof value !== "object") return value;
  if (Array.isArray(value)) {
    // Most data hold no such object: then nothing is copied.
    let copy: Json[] | undefined;
    for (const [index, member] of value.entries()) {
      const escaped = escapeRefs(member);
      if (escaped !== member) {
        copy ??= [...value];
        copy[index] = escaped;
      }
    }
    return copy ?? value;
  }
  let copy: { [key: string]: Json } | undefined;
  let isRefLike = false;
  let size = 0;
  for (const [name, member] of Object.entries(value)) {
    size += 1;
    isRefLike = name === "$ref";
    const escaped = escapeRefs(member);
    if (escaped !== member) {
      copy ??= { ...value };
      copy[name] = escaped;
    }
  }
  if (size === 1 && isRefLike) return { $ref: { literal: copy ?? value } };
  return copy ?? value;
}

/** The member at `path` of the JSON file `file`. */
export function refToFile(file: string, path: JsonPath = []): Json {
  return { $ref: path.length === 0 ? { file } : { file, path } };
}

/** What a task needs of one that has run, or is to run before it, as call `id`. */
export function refToNeed(id: number): Json {
  return { $ref: { need: id } };
}

/** The member at `path` of the result of call `id`: one of the last 96 of the same worker. */
export function refToCall(id: number, path: JsonPath = []): Json {
  return { $ref: path.length === 0 ? { call: id } : { call: id, path } };
}
