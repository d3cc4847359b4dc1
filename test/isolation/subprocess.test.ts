// Level subprocess, with the real launcher and real processes.
import { levelSuite } from "./level-suite.ts";

levelSuite("subprocess");
