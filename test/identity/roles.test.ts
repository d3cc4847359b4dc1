// Who may do what at the HTTP API: every route names the least role, 401 is for strangers and 403 for
// those whose role is not enough.
import { createHash } from "node:crypto";
import t from "tap";
import { allows, roles, rolesFor } from "../../master/access/roles.ts";
import { doors } from "./doors.ts";
import { adminToken, ask, Fleet } from "./rig.ts";

const keyOf = (role: string) => `the-key-for-${role}`;
const apiKeys = roles.map((role) => ({ name: `${role}-user`, role, key: keyOf(role) }));

interface Operation {
  "x-roles"?: string[];
  security: object[];
}

t.test("each route answers as its role in the description says, to each role", async (t) => {
  await using fleet = await Fleet.start(t.testdir(), { apiKeys, snippets: await doors() });
  const { paths } = (await ask(`${fleet.url}/openapi.json`)).value as {
    paths: { [path: string]: { [method: string]: Operation } };
  };
  let closed = 0;
  for (const [path, operations] of Object.entries(paths)) {
    for (const [name, operation] of Object.entries(operations)) {
      const method = name === "get" ? "GET" : "POST";
      const url = `${fleet.url}${path.replaceAll(/\{\w+\}/g, "nothing")}`;
      const body = method === "POST" ? { body: "[]" } : {};
      const enough = operation["x-roles"];
      if (enough === undefined) {
        t.same(operation.security, [], `${method} ${path}`);
        t.not((await ask(url, { method, ...body })).status, 401, `${method} ${path}`);
        continue;
      }
      closed += 1;
      t.ok(enough.includes("admin"), `${method} ${path}`);
      t.match(await ask(url, { method, ...body }), {
        status: 401,
        headers: { "www-authenticate": "Bearer" },
        // The drop-in speaks the words of what it stands in for.
        value: path === "/run" ? {} : { error: { class: "Security", code: "E_API_TOKEN" } },
      });
      for (const role of roles) {
        const answer = await ask(url, { method, token: keyOf(role), ...body });
        const isForbidden = answer.status === 403;
        t.equal(isForbidden, !enough.includes(role), `${method} ${path} as ${role}`);
        if (isForbidden && path !== "/run") {
          t.match(answer.value.error, {
            code: "E_API_ROLE",
            remedy: /key with the role (snippets|read|submit|admin)/,
          });
        }
      }
    }
  }
  t.ok(closed >= 24, `${closed} routes need a key`);
});

t.test("roles grant what they say", async (t) => {
  const table = Object.fromEntries(
    roles.map((role) => [role, roles.filter((need) => allows(role, need))]),
  );
  t.strictSame(table, {
    snippets: ["snippets"],
    read: ["read"],
    submit: ["snippets", "read", "submit"],
    admin: ["snippets", "read", "submit", "admin"],
  });
  t.ok(roles.every((role) => allows(role, "open")));
  t.strictSame(rolesFor("read"), ["read", "submit", "admin"]);
});

t.test("a reader sees and does not touch; one who submits does not let nodes in", async (t) => {
  await using fleet = await Fleet.start(t.testdir(), { apiKeys });
  const as = (role: string, method: "GET" | "POST", path: string) =>
    ask(`${fleet.url}${path}`, {
      method,
      token: keyOf(role),
      ...(method === "POST" ? { body: "{}" } : {}),
    });
  t.match(await as("read", "GET", "/api/runs"), { status: 200 });
  t.match(await as("read", "POST", "/api/runs"), { status: 403 });
  t.match(await as("read", "POST", "/api/runs/r/cancel"), { status: 403 });
  t.match(await as("submit", "POST", "/api/runs"), { status: 400 });
  t.match(await as("submit", "POST", "/api/runs/r/cancel"), { status: 404 });
  t.match(await as("submit", "POST", "/api/nodes/n/revoke"), { status: 403 });
  t.match(await as("submit", "GET", "/api/nodes/n/dag"), { status: 403 });
  t.match(await as("snippets", "GET", "/api/runs"), { status: 403 });
  t.match(await as("admin", "POST", "/api/nodes/n/revoke"), { status: 200 });
});

t.test("a key may be configured as its digest, and the digest is no key", async (t) => {
  const key = "a-key-that-nobody-has-written-down";
  const digest = createHash("sha256").update(key).digest("hex");
  await using fleet = await Fleet.start(t.testdir(), {
    apiKeys: [{ name: "ops", role: "read", key: `sha256:${digest}` }],
  });
  t.match(await ask(`${fleet.url}/api/nodes`, { token: key }), { status: 200 });
  for (const token of [digest, `sha256:${digest}`, `${key} `.repeat(2), ""]) {
    t.match(await ask(`${fleet.url}/api/nodes`, { token }), { status: 401 }, token);
  }
  t.match(await ask(`${fleet.url}/api/nodes`, { headers: { "x-api-key": key } }), { status: 200 });
});

t.test("the shared token does everything, and no key lets a node in", async (t) => {
  await using fleet = await Fleet.start(t.testdir(), { apiKeys });
  t.match(await fleet.post("/api/nodes/n/revoke", {}, adminToken), { status: 200 });
  for (const role of roles) {
    const agent = await fleet.agent("pump-7", { token: keyOf(role), state: role });
    await agent.until(() => agent.heard("refused").length > 0);
    t.match(agent.heard("refused")[0], [{ code: "unauthorized", detail: "the token is wrong" }]);
    await agent.end();
  }
});
