// The link of a node with a key, driven by hand: the agent's own `Identity`, and a scripted connection.
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { Identity } from "../../agent/link/identity.ts";
import type { AgentToMaster, MasterToAgent } from "../../protocol/link.ts";
import { helloOf, ScriptedAgent } from "../master/rig.ts";
import type { Fleet } from "./rig.ts";

export function identityIn(fleet: Fleet, state: string, enrollToken?: string, rotationMs = 0) {
  const stateDir = join(fleet.dir, state);
  mkdirSync(stateDir, { recursive: true });
  const identity = Identity.open({
    stateDir,
    rotationMs,
    now: Date.now(),
    ...(enrollToken === undefined ? {} : { enrollToken }),
  });
  if (identity === undefined) throw new Error("no identity");
  return identity;
}

export interface Joined extends AsyncDisposable {
  agent: ScriptedAgent;
  said: MasterToAgent & { type: "welcome" | "refused" };
}

type Proof = AgentToMaster & { type: "proof" };

/** Says hello and proves; `change` may spoil the proof. */
export async function joinByHand(
  fleet: Fleet,
  identity: Identity,
  node: string,
  change: (proof: Proof) => Proof = (proof) => proof,
): Promise<Joined> {
  const shown = identity.shown();
  const agent = new ScriptedAgent(fleet.url, { headers: { "edgedag-key": shown.key } });
  const hello = helloOf(node, { identity: shown });
  agent.send(hello);
  const { nonce } = await agent.next("challenge");
  agent.send(change({ type: "proof", ...identity.prove({ node, boot: hello.boot, nonce }) }));
  const said = await agent.either("welcome", "refused");
  return { agent, said, [Symbol.asyncDispose]: () => agent[Symbol.asyncDispose]() };
}
