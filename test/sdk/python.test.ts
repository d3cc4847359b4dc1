// The Python SDK's own unittest suite, with a real redis-server where there is one.
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import t from "tap";
import { noRedis, startRedis } from "../rig/redis.ts";

t.test("the Python SDK passes its tests", async (t) => {
  const redis = noRedis === false ? await startRedis() : undefined;
  t.teardown(() => redis?.close());
  if (noRedis !== false) t.comment(`${noRedis}: its tests are skipped`);
  const sdk = join(import.meta.dirname, "..", "..", "sdk", "python");
  const { status, stderr } = spawnSync("python3", ["-m", "unittest", "discover", "-s", "tests"], {
    cwd: sdk,
    encoding: "utf8",
    env: {
      PATH: process.env.PATH,
      PYTHONPATH: sdk,
      PYTHONDONTWRITEBYTECODE: "1",
      ...(redis && { EDGEDAG_TEST_STORE: redis.socketPath }),
    },
  });
  t.match(stderr, /Ran [1-9]\d* tests/);
  t.equal(status, 0, stderr);
});
