// Where the command begins. In a bundle what V8 has compiled is kept beside it, filled when it is
// built: loading from there saves a tenth of a start. Nothing is written anywhere else.
import { enableCompileCache } from "node:module";

if (import.meta.url.endsWith(".mjs")) {
  // Relative paths inside, so that it is good wherever it is installed.
  enableCompileCache({ directory: `${import.meta.dirname}/compiled`, portable: true });
}
await import("./main.ts");
