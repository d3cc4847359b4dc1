// What a key may do at the HTTP API. Every route names the least that it needs. Pure.

/**
 * open: anybody. snippets: sends snippets and asks for its own. read: sees nodes, runs, logs and
 * results. submit: both, and begins and cancels runs. admin: everything, and lets nodes in.
 */
export const roles = ["snippets", "read", "submit", "admin"] as const;
export type Role = (typeof roles)[number];
export type Need = Role | "open";

const grants: { readonly [role in Role]: readonly Role[] } = {
  snippets: ["snippets"],
  read: ["read"],
  submit: ["snippets", "read", "submit"],
  admin: ["snippets", "read", "submit", "admin"],
};

export function allows(role: Role, need: Need): boolean {
  return need === "open" || grants[role].includes(need);
}

/** The roles that are enough, the least first. */
export function rolesFor(need: Role): Role[] {
  return roles.filter((role) => grants[role].includes(need));
}
