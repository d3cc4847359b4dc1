// The commands of an operator, with real processes: a node is let in, works over TLS, and is shut out.
import { readFileSync } from "node:fs";
import t from "tap";
import { Box } from "../rig/box.ts";
import { until } from "../rig/until.ts";
import { Authority, missing } from "./certificates.ts";
import { adminToken, ask } from "./rig.ts";

t.test(
  "a node is enrolled, delivers a run over TLS, and is revoked, by commands alone",
  { skip: missing },
  async (t) => {
    await using box = await Box.create();
    const authority = new Authority(t.testdir());
    const { cert, key } = authority.issue();
    const ca = readFileSync(authority.cert, "utf8");
    const master = box.start(["master"], {
      env: {
        EDGEDAG_LISTEN: "127.0.0.1:0",
        EDGEDAG_DATA: box.path("master"),
        EDGEDAG_TOKEN: adminToken,
        EDGEDAG_API_KEYS: "eyes:read=key-of-the-reader",
        EDGEDAG_NODE_AUTH: "identity",
        EDGEDAG_TLS_CERT: cert,
        EDGEDAG_TLS_KEY: key,
      },
    });
    const [, url = ""] = await master.says(/master listens on (https:[^"]+)"/);
    const client = { EDGEDAG_MASTER: url, EDGEDAG_MASTER_CA: authority.cert };
    const admin = { env: { ...client, EDGEDAG_TOKEN: adminToken } };
    const enrolled = await box.run(["nodes", "enroll", "box", "--expires", "10m"], admin);
    t.equal(enrolled.code, 0, enrolled.stderr);
    t.match(enrolled.stdout, /^edt_[0-9a-f]{16}_[\w-]{43}\n$/, "nothing but the token");
    const token = await box.write("token", enrolled.stdout);
    const dag = await box.write(
      "dag.yaml",
      "dag: hello\ntasks: { a: { shell: 'echo over TLS' } }\n",
    );
    const agent = box.start(["agent"], {
      env: { ...client, EDGEDAG_ENROLL_TOKEN_FILE: token, EDGEDAG_AFTER: "stay", EDGEDAG_DAG: dag },
    });
    const runs = await until(
      "the run has its outcome at the master",
      async () => (await ask(`${url}/api/runs`, { token: "key-of-the-reader", ca })).value.runs,
      (found) => found[0]?.outcome !== undefined,
    );
    t.match(runs, [{ state: "finished", outcome: { kind: "succeeded" } }]);
    const reader = { env: { ...client, EDGEDAG_TOKEN: "key-of-the-reader" } };
    const refused = await box.run(["nodes", "revoke", "box"], reader);
    t.equal(refused.code, 77);
    t.match(refused.stderr, /the role read is not enough[\s\S]*role admin/);
    const revoked = await box.run(["nodes", "revoke", "box"], admin);
    t.match(revoked.stdout, /^box is shut out; edgedag nodes enroll box lets it in anew/);
    await agent.says(/node box was revoked/);
    t.match((await box.run(["nodes"], reader)).stdout, /^box +revoked/m);
    await agent.stop();
    await master.stop();
  },
);
