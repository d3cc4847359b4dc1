// Level seccomp, with the real launcher and real processes.
import { levelSuite } from "./level-suite.ts";

levelSuite("seccomp");
