// Mutual TLS: a certificate of the fleet's authority lets a node in and is its name; every other one is
// refused in words, at the link. The HTTP API goes by keys all the same.
import { copyFileSync, readFileSync } from "node:fs";
import t from "tap";
import { Authority, missing, type Pair, selfSigned } from "./certificates.ts";
import { adminToken, ask, Fleet, isIn, isRefused } from "./rig.ts";

const skip = missing;
const withPair = ({ cert, key }: Pair) => ({ tlsCert: cert, tlsKey: key });

t.test("a certificate that names the node lets it in, without a token", { skip }, async (t) => {
  const dir = t.testdir();
  const authority = new Authority(dir);
  const tlsFiles = { ...authority.issue(), clientCa: authority.cert };
  await using fleet = await Fleet.start(dir, { tlsFiles });
  const tlsCa = authority.cert;
  const byCommonName = authority.issue({ common: "pump-7", names: "" });
  const byAlternative = authority.issue({ common: "x", names: "DNS:pump-8,URI:pump-9" });
  for (const [node, pair] of [
    ["pump-7", byCommonName],
    ["pump-8", byAlternative],
    ["pump-9", byAlternative],
  ] as const) {
    const agent = await fleet.agent(node, { tlsCa, ...withPair(pair) });
    await agent.until(() => isIn(agent));
    agent.record(1);
    const seq = agent.journal.nextSeq() - 1;
    await agent.until(() => agent.heard("acked").some(([acked]) => Number(acked) >= seq));
  }
  const revoked = await fleet.agent("pump-8", {
    tlsCa,
    ...withPair(byAlternative),
    state: "again",
  });
  await revoked.until(() => isIn(revoked) || isRefused(revoked));
  const ca = readFileSync(authority.cert, "utf8");
  const url = `${fleet.url}/api/nodes/pump-8/revoke`;
  t.match(await ask(url, { method: "POST", token: adminToken, ca }), { status: 200 });
  const out = await fleet.agent("pump-8", { tlsCa, ...withPair(byAlternative), state: "later" });
  await out.until(() => isRefused(out));
  t.match(out.heard("refused")[0], [{ detail: "node pump-8 was revoked" }]);
});

t.test(
  "every other certificate is refused in words, whatever else is shown",
  { skip },
  async (t) => {
    const dir = t.testdir();
    const authority = new Authority(dir);
    const other = new Authority(dir, "other");
    const tlsFiles = { ...authority.issue(), clientCa: authority.cert };
    await using fleet = await Fleet.start(dir, { tlsFiles });
    const cases: [Pair | undefined, RegExp, string?][] = [
      [undefined, /asks for a client certificate/],
      [authority.issue({ common: "pump-7", names: "", days: -1 }), /has expired/],
      [other.issue({ common: "pump-7", names: "" }), /authority that the master does not know/],
      [selfSigned(dir, "pump-7"), /is self-signed/],
      [
        authority.issue({ common: "press-1", names: "" }),
        /that of press-1, not of node pump-7/,
        "",
      ],
    ];
    for (const [i, [pair, detail, token = adminToken]] of cases.entries()) {
      const agent = await fleet.agent("pump-7", {
        token,
        tlsCa: authority.cert,
        state: `s${i}`,
        ...(pair === undefined ? {} : withPair(pair)),
      });
      await agent.until(() => agent.heard("refused").length >= 2);
      t.match(agent.heard("refused")[0], [{ code: "unauthorized", detail }]);
      t.same(agent.heard("connected"), []);
      await agent.end();
    }
  },
);

t.test(
  "a key that belongs to another certificate, and files that are none, are said",
  { skip },
  async (t) => {
    const dir = t.testdir();
    const authority = new Authority(dir);
    await using fleet = await Fleet.start(dir, {
      tlsFiles: { ...authority.issue(), clientCa: authority.cert },
    });
    const one = authority.issue({ common: "pump-7", names: "" });
    const two = authority.issue({ common: "pump-7", names: "" });
    for (const [tlsCert, tlsKey, said] of [
      [one.cert, two.key, /EDGEDAG_NODE_KEY is not the key of EDGEDAG_NODE_CERT/],
      [one.cert, `${dir}/none.key`, /ENOENT.*none\.key/],
    ] as const) {
      const agent = await fleet.agent("pump-7", { tlsCa: authority.cert, tlsCert, tlsKey });
      await agent.until(() => agent.heard("disconnected").length >= 2);
      t.match(agent.heard("disconnected")[0]?.[0], said);
      await agent.end();
    }
  },
);

t.test(
  "a certificate that is renewed on the node is used at the next connection",
  { skip },
  async (t) => {
    const dir = t.testdir();
    const authority = new Authority(dir);
    await using fleet = await Fleet.start(dir, {
      tlsFiles: { ...authority.issue(), clientCa: authority.cert },
    });
    const mine = { cert: `${dir}/mine.pem`, key: `${dir}/mine.key` };
    const put = ({ cert, key }: Pair) => {
      copyFileSync(cert, mine.cert);
      copyFileSync(key, mine.key);
    };
    put(authority.issue({ common: "pump-7", names: "", days: -1 }));
    const agent = await fleet.agent("pump-7", { tlsCa: authority.cert, ...withPair(mine) });
    await agent.until(() => isRefused(agent));
    put(authority.issue({ common: "pump-7", names: "" }));
    await agent.until(() => isIn(agent));
    t.pass();
  },
);

t.test("a fleet's certificate and a node's own key go together", { skip }, async (t) => {
  const dir = t.testdir();
  const authority = new Authority(dir);
  const ca = readFileSync(authority.cert, "utf8");
  await using fleet = await Fleet.start(dir, {
    tlsFiles: { ...authority.issue(), clientCa: authority.cert },
  });
  const shared = withPair(authority.issue({ common: "the fleet", names: "" }));
  const url = `${fleet.url}/api/nodes/pump-7/enroll-token`;
  const answer = await ask(url, { method: "POST", token: adminToken, ca, body: "{}" });
  const agent = await fleet.agent("pump-7", {
    tlsCa: authority.cert,
    ...shared,
    enrollToken: answer.value.token,
  });
  await agent.until(() => isIn(agent));
  await agent.end();
  const bare = await fleet.agent("pump-7", { tlsCa: authority.cert });
  await bare.until(() => isRefused(bare));
  t.match(bare.heard("refused")[0], [{ detail: /asks for a client certificate/ }], "the key alone");
});

t.test("a node's certificate opens nothing at the HTTP API", { skip }, async (t) => {
  const dir = t.testdir();
  const authority = new Authority(dir);
  await using fleet = await Fleet.start(dir, {
    tlsFiles: { ...authority.issue(), clientCa: authority.cert },
  });
  const pair = authority.issue({ common: "pump-7", names: "" });
  const [ca, cert, key] = [authority.cert, pair.cert, pair.key].map((path) =>
    readFileSync(path, "utf8"),
  );
  const shown = { ca: ca ?? "", cert: cert ?? "", key: key ?? "" };
  t.match(await ask(`${fleet.url}/api/nodes`, shown), { status: 401 });
  t.match(await ask(`${fleet.url}/api/nodes`, { ...shown, token: adminToken }), { status: 200 });
});
