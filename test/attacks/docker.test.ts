// Every attack at level docker.
import t from "tap";
import { registerAttacks } from "./register.ts";

await registerAttacks(t, "docker");
