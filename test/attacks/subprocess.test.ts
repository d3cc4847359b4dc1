// Every attack at level subprocess.
import t from "tap";
import { registerAttacks } from "./register.ts";

await registerAttacks(t, "subprocess");
