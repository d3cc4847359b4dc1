// Every attack at level seccomp.
import t from "tap";
import { registerAttacks } from "./register.ts";

await registerAttacks(t, "seccomp");
