// Conformance of level seccomp; the cases are in the files beside.
import t from "tap";
import { registerConformance } from "./suite.ts";

await registerConformance(t, "seccomp");
