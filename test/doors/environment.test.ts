// The folder environments/service: its files fit each other, and its figures are those of a service.
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import t from "tap";
import { parse } from "yaml";
import { run } from "../e2e/command.ts";
import { Service } from "./serve-rig.ts";

const folder = join(import.meta.dirname, "../../environments/service");
const read = (name: string): string => readFileSync(join(folder, name), "utf8");

interface Compose {
  services: {
    [name: string]: {
      volumes?: string[];
      secrets?: string[];
      environment?: { [name: string]: string };
      depends_on?: { [name: string]: object };
    };
  };
  secrets: { [name: string]: { file: string } };
  volumes: { [name: string]: null };
}

t.test("compose.yaml names services, volumes, secrets and files that there are", async (t) => {
  const compose = parse(read("compose.yaml")) as Compose;
  const made = mkdtempSync("/tmp/edgedag-env-");
  t.teardown(() => rmSync(made, { recursive: true, force: true }));
  await run("cp", ["-R", `${folder}/.`, made]);
  const secrets = await run(join(made, "make-secrets.sh"), []);
  t.equal(secrets.code, 0, secrets.stderr);
  for (const [name, { file }] of Object.entries(compose.secrets)) {
    t.ok(existsSync(join(made, file)), `${name}: ${file}`);
  }
  const first = readFileSync(join(made, "secrets/edgedag_token"), "utf8");
  await run(join(made, "make-secrets.sh"), []);
  t.equal(readFileSync(join(made, "secrets/edgedag_token"), "utf8"), first, "none is changed");
  JSON.parse(readFileSync(join(made, "secrets/rabbitmq_definitions.json"), "utf8"));
  for (const [name, service] of Object.entries(compose.services)) {
    for (const volume of service.volumes ?? []) {
      const [source = ""] = volume.split(":");
      const isThere = source.startsWith("./")
        ? existsSync(join(folder, source))
        : source in compose.volumes;
      t.ok(isThere, `${name}: ${volume}`);
    }
    for (const secret of service.secrets ?? []) t.ok(secret in compose.secrets, secret);
    for (const other of Object.keys(service.depends_on ?? {})) t.ok(other in compose.services);
  }
  const { environment = {} } = compose.services.edgedag ?? {};
  const known = (await run(join(dirname(dirname(folder)), "bin/edgedag"), ["config"])).stdout;
  for (const name of Object.keys(environment)) {
    t.ok(
      known.includes(`  ${name.replace(/_FILE$/, "")}  `),
      `${name} is a variable of the service`,
    );
  }
});

t.test("every figure of dashboard and rules is exported by a service", async (t) => {
  await using service = await Service.start({ EDGEDAG_HEARTBEAT: "200ms" });
  await service.run("python", "def main():\n    return 1\n");
  let exported = "";
  // The node tells of its sandboxes with its next heartbeat.
  while (!exported.includes("edgedag_sandboxes_ready")) {
    exported = (await service.get("/metrics")).text;
  }
  const dashboard = JSON.parse(read("grafana/dashboard.json")) as {
    panels: { title: string; targets: { expr: string }[] }[];
  };
  t.ok(dashboard.panels.length >= 15);
  const expressions = dashboard.panels.flatMap(({ targets }) => targets.map(({ expr }) => expr));
  const rules = parse(read("alerts.yml")) as { groups: { rules: { expr: string }[] }[] };
  expressions.push(...rules.groups.flatMap((group) => group.rules.map(({ expr }) => expr)));
  const named = new Set(expressions.flatMap((expr) => expr.match(/\bedgedag_\w+/g) ?? []));
  t.ok(named.size >= 20, `${named.size} names`);
  for (const name of named) {
    const family = name.replace(/_(bucket|sum|count)$/, "");
    t.ok(exported.includes(`# TYPE ${family} `), name);
  }
});

const promtool = spawnSync("promtool", ["--version"]).status === 0;
t.test(
  "Prometheus takes the rules and its configuration",
  { skip: promtool ? false : "promtool is not installed: apt-get install prometheus" },
  async (t) => {
    const rules = await run("promtool", ["check", "rules", join(folder, "alerts.yml")]);
    t.equal(rules.code, 0, rules.stdout + rules.stderr);
    const config = await run("promtool", ["check", "config", join(folder, "prometheus.yml")]);
    t.equal(config.code, 0, config.stdout + config.stderr);
  },
);
