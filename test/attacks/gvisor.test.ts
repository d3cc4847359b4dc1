// Every attack at level gvisor.
import t from "tap";
import { registerAttacks } from "./register.ts";

await registerAttacks(t, "gvisor");
