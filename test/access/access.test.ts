// Who is let in, how often, and which addresses may be called back.
import t from "tap";
import { identityCheck } from "../../master/access/identity.ts";
import { RateLimit } from "../../master/access/rate-limit.ts";
import { callbackProblem, isInnerAddress } from "../../master/doors/callback-url.ts";

t.test("knows the token's holder, holders of keys, and nobody else", async (t) => {
  const identify = identityCheck({
    token: "master-token",
    apiKeys: [
      { name: "shop", key: "key-of-shop" },
      { name: "lab", key: "key-of-lab" },
    ],
  });
  t.strictSame(identify({ authorization: "Bearer master-token" }), {
    owner: "",
    role: "admin",
    isAdmin: true,
  });
  t.strictSame(identify({ authorization: "bearer key-of-lab" }), {
    owner: "lab",
    role: "snippets",
    isAdmin: false,
  });
  t.strictSame(identify({ "x-api-key": "key-of-shop" }), {
    owner: "shop",
    role: "snippets",
    isAdmin: false,
  });
  t.strictSame(identify({ "x-sandbox-token": "key-of-shop" }), {
    owner: "shop",
    role: "snippets",
    isAdmin: false,
  });
  for (const headers of [
    {},
    { authorization: "Bearer key-of-sho" },
    { authorization: "Basic x" },
  ]) {
    t.equal(identify(headers), undefined);
  }
});

t.test("lets everybody send where it is open, and no wrong key even then", async (t) => {
  const identify = identityCheck({ token: "t0ken-t0ken", apiKeys: [], isOpen: true });
  t.strictSame(identify({}), { owner: "", role: "snippets", isAdmin: false });
  t.equal(identify({ authorization: "Bearer wrong" }), undefined);
  t.strictSame(identityCheck({ apiKeys: [] })({}), {
    owner: "",
    role: "admin",
    isAdmin: true,
  });
});

t.test("allows a burst up to the count, then the pace, for each caller apart", async (t) => {
  const limit = new RateLimit({ count: 3, perMs: 3000 });
  t.strictSame(
    [0, 0, 0].map(() => limit.take("a", 0)),
    [0, 0, 0],
  );
  t.equal(limit.take("a", 0), 1000, "and says when to come again");
  t.equal(limit.take("b", 0), 0);
  t.equal(limit.take("a", 999), 1);
  t.equal(limit.take("a", 1000), 0);
  t.equal(limit.take("a", 1000), 1000);
  t.strictSame(
    [1, 2, 3, 4].map(() => limit.take("a", 60_000) === 0),
    [true, true, true, false],
  );
});

t.test("keeps to the pace whatever comes: the burst once, then one an interval", async (t) => {
  const limit = new RateLimit({ count: 5, perMs: 1000 });
  const taken: number[] = [];
  for (let now = 0; now < 10_000; now += 7) if (limit.take("a", now) === 0) taken.push(now);
  t.equal(taken.filter((at) => at === 0).length, 1);
  t.ok(taken.length >= 50 && taken.length <= 55, `${taken.length} in ten seconds`);
});

t.test("tells addresses of the own network from those of the internet", async (t) => {
  const inner = [
    "127.0.0.1",
    "10.1.2.3",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "169.254.169.254",
    "0.0.0.0",
    "100.64.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1",
    "fd00::1",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "64:ff9b::7f00:1",
    "not an address",
  ];
  for (const address of inner) t.equal(isInnerAddress(address), true, address);
  for (const address of ["93.184.216.34", "172.32.0.1", "100.128.0.1", "2606:4700::1111"]) {
    t.equal(isInnerAddress(address), false, address);
  }
});

t.test("refuses URLs into the own network, however they are written", async (t) => {
  for (const url of [
    "http://127.0.0.1/x",
    "http://localhost:99/",
    "https://[::1]/",
    "http://2130706433/",
    "http://0x7f.1/",
    "http://017700000001/",
    "http://intranet/x",
    "http://[::ffff:10.0.0.1]/",
    "ftp://example.com/",
    "file:///etc/passwd",
    "no url",
  ]) {
    t.ok(callbackProblem(url, "public"), url);
  }
  t.equal(callbackProblem("https://example.com/hook", "public"), undefined);
  t.equal(callbackProblem("http://127.0.0.1/x", "any"), undefined);
  t.match(callbackProblem("https://example.com/hook", "off"), { remedy: /EDGEDAG_CALLBACKS/ });
});
