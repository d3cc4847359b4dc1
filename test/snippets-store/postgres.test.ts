// The store in PostgreSQL: what every store must do, and what several masters on one database need.
import { inspect } from "node:util";
import t from "tap";
import { Connections } from "../../master/snippets/store/postgres/connections.ts";
import {
  PostgresSnippets,
  type PostgresSnippetsOptions,
} from "../../master/snippets/store/postgres/postgres-snippets.ts";
import { StoreDown } from "../../master/snippets/store/store.ts";
import { startPostgres, type TestPostgres } from "../rig/postgres.ts";
import { dead, end, here, insert, live, there } from "./rig.ts";
import { storeSuite } from "./suite.ts";

const postgres = await startPostgres();
const skip = typeof postgres === "string" ? postgres : false;
t.after(async () => {
  if (typeof postgres !== "string") await postgres[Symbol.asyncDispose]();
});

/** Of the tests, which are skipped where there is none. */
function server(): TestPostgres {
  if (typeof postgres === "string") throw new Error(postgres);
  return postgres;
}

function open(url: string, more: Partial<PostgresSnippetsOptions> = {}): Promise<PostgresSnippets> {
  return PostgresSnippets.open({ url, ...more });
}

async function refusal(opening: Promise<PostgresSnippets>): Promise<StoreDown> {
  const error = await opening.then(
    async (store) => {
      await store.close();
      return new Error("it was opened");
    },
    (error: unknown) => error,
  );
  if (!(error instanceof StoreDown)) throw error;
  return error;
}

void t.test("PostgreSQL", { skip }, async (t) => {
  storeSuite(t, { open: async () => open(await server().database()) });
});

void t.test("two masters never both claim one", { skip }, async (t) => {
  const url = await server().database();
  const masters = [here, there].map((by) => ({ by, opening: open(url) }));
  const gone = { master: "gone", boot: "first" };
  const [one, two] = await Promise.all(masters.map(async ({ opening }) => opening));
  if (one === undefined || two === undefined) throw new Error("no store");
  await live(one, here);
  await live(one, there);
  await dead(one, gone);
  const all = await Promise.all(Array.from({ length: 150 }, () => insert(one)));
  // Half of them were a third one's, which has ended: to take those over is a race, too.
  const abandoned = all.filter((_, index) => index % 2 === 0);
  await Promise.all(abandoned.map(({ id }) => two.claim(id, gone)));
  const won = new Map<string, number[]>();
  await Promise.all(
    all.flatMap(({ id }) =>
      Array.from({ length: 8 }, async (_, index) => {
        const [store, by] = index % 2 === 0 ? [one, here] : [two, there];
        const claim = await store.claim(id, by);
        if (claim.kind === "claimed") won.set(id, [...(won.get(id) ?? []), claim.attempt]);
        else if (claim.kind !== "taken") throw new Error(claim.kind);
      }),
    ),
  );
  t.same(
    all.map(({ id }) => won.get(id)),
    all.map((_, index) => [index % 2 === 0 ? 2 : 1]),
  );
  await one.close();
  await two.close();
});

void t.test("moves at the same time by two masters leave one end", { skip }, async (t) => {
  const url = await server().database();
  const [one, two] = [await open(url), await open(url)];
  await live(one, here);
  for (let round = 0; round < 60; round++) {
    const { id } = await insert(one);
    const [claim] = await Promise.all([one.claim(id, here), two.claim(id, here)]);
    const attempt = claim.kind === "claimed" ? claim.attempt : 1;
    const [released, canceled, first, second] = await Promise.all([
      one.release(id, attempt),
      two.cancel(id, "user", 1),
      one.finish(id, attempt, end({ stdout: Buffer.from("one") })),
      two.finish(id, attempt, end({ stdout: Buffer.from("two") })),
      two.claim(id, there),
      one.prune(0, 10),
    ]);
    const ends = [canceled === "cancelled", first, second].filter((isFirst) => isFirst);
    const record = await two.get(id);
    // A claim after a cancel that was noted may have ended it, too.
    const byClaim = ends.length === 0 && record?.end?.outcome.kind === "cancelled";
    t.ok(ends.length === 1 || byClaim, `${released} ${canceled} ${first} ${second}`);
    t.equal(record?.state, "finished");
    const rows = await server().ask(
      url,
      `SELECT (SELECT count(*) FROM edgedag_ends) = ${round + 1} AS "isOne"`,
    );
    t.same(rows, [{ isOne: true }], "nothing is half done");
  }
  await one.close();
  await two.close();
});

void t.test("masters with wrong clocks judge leases alike", { skip }, async (t) => {
  const url = await server().database();
  const late = await open(url, { clock: () => Date.now() - 3_600_000 });
  const right = await open(url);
  await late.renewLease(there.master, there.boot, Date.now() - 3_600_000 + 20_000);
  const one = await insert(late);
  await late.claim(one.id, there);
  const claim = await right.claim(one.id, here);
  t.equal(claim.kind, "taken");
  if (claim.kind === "taken") {
    const leftMs = claim.untilMs - Date.now();
    t.ok(leftMs > 0 && leftMs <= 20_000, `${leftMs} ms left`);
  }
  t.same(await right.abandoned(Date.now(), 5), []);
  t.match(await right.abandoned(Date.now() + 30_000, 5), [{ id: one.id }]);
  await late.close();
  await right.close();
});

void t.test(
  "many masters that start at the same time make the tables once",
  { skip },
  async (t) => {
    const url = await server().database();
    const stores = await Promise.all(Array.from({ length: 6 }, () => open(url)));
    t.same(await server().ask(url, "SELECT count(*)::int AS n FROM edgedag_migrations"), [
      { n: 1 },
    ]);
    await Promise.all(stores.map((store) => store.close()));
  },
);

void t.test("a database of a newer release is refused", { skip }, async (t) => {
  const url = await server().database();
  await (await open(url)).close();
  await server().ask(url, "INSERT INTO edgedag_migrations VALUES (1000)");
  const refused = await refusal(open(url));
  t.match(refused.message, /schema 1000/);
  t.match(refused.remedy, /newer release/);
});

void t.test("a user that may not create tables uses those that are there", { skip }, async (t) => {
  const url = await server().database();
  const name = "least";
  await server().ask(url, `CREATE ROLE ${name} LOGIN PASSWORD 'least'`);
  const least = new URL(url);
  least.username = name;
  least.password = "least";
  const refused = await refusal(open(least.href));
  t.match(refused.remedy, /GRANT/);
  await (await open(url)).close();
  await server().ask(
    url,
    `GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO ${name}`,
  );
  const store = await open(least.href);
  t.ok(await insert(store));
  await store.close();
});

void t.test("no error holds the password, and each has a remedy", { skip }, async (t) => {
  const { password, port } = server();
  const right = new URL(await server().database());
  const wrong = (change: (url: URL) => void): string => {
    const url = new URL(right);
    change(url);
    return url.href;
  };
  const secret = "s3cret-w0rd";
  const urls: [string, RegExp][] = [
    [wrong((url) => (url.password = secret)), /user and password/],
    [wrong((url) => (url.pathname = "/nowhere")), /[Cc]reate the database/],
    [wrong((url) => (url.port = "1")), /Start PostgreSQL/],
    [wrong((url) => (url.hostname = "nowhere.invalid")), /Start PostgreSQL/],
    [`postgres://edgedag:${secret}@127.0.0.1:notaport/x`, /postgres:\/\/user:password@host/],
    [`not a url with ${secret}`, /postgres:\/\/user:password@host/],
  ];
  for (const [url, remedy] of urls) {
    const refused = await refusal(open(url, { timeoutMs: 5000 }));
    t.match(refused.remedy, remedy);
    const all = inspect(refused, { depth: 10, showHidden: true });
    t.notOk(all.includes(secret) || all.includes(password), all);
  }
  const connections = new Connections({ url: right.href, poolSize: 1, timeoutMs: 5000 });
  const bug = await connections.query({ text: "SELECT $1::int", values: ["x"] }).catch(inspect);
  t.match(bug, /invalid input syntax/);
  t.notOk(String(bug).includes(password));
  await connections.close();
  t.ok(port > 0);
});
