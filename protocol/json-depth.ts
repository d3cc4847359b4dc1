// How deep JSON values may be nested. JSON.parse takes any depth, JSON.stringify and every recursion
// over a value overflow the stack at some thousand levels: what comes from outside is measured
// before it is kept. Pure.

/** Python's parser stops at about a thousand levels; nobody writes half of that by hand. */
export const maxJsonDepth = 500;

/** Whether lists and objects are nested more than `limit` deep. */
export function isTooDeep(value: unknown, limit = maxJsonDepth): boolean {
  if (value === null || typeof value !== "object") return false;
  if (limit === 0) return true;
  const members = Array.isArray(value) ? value : Object.values(value);
  return members.some((member) => isTooDeep(member, limit - 1));
}
