// The API's description as a page: Swagger UI, from its own package, on `/openapi.json`. In a bundle
// its files lie beside it.
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import type { Route } from "./route.ts";

const page = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>edgedag API</title>
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
`;

const start = `SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#ui",
  deepLinking: true,
  validatorUrl: null,
});
`;

const files = [
  ["swagger-ui.css", "text/css; charset=utf-8"],
  ["swagger-ui-bundle.js", "text/javascript; charset=utf-8"],
] as const;

const headers = {
  "content-security-policy":
    "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'",
};

export function docsRoutes(): Route[] {
  return [
    served("/docs", "docs", "text/html; charset=utf-8", async () => page),
    served("/docs/start.js", "docs_start", "text/javascript; charset=utf-8", async () => start),
    ...files.map(([file, type]) =>
      served(`/docs/${file}`, `docs_${file.replaceAll(/[.-]/g, "_")}`, type, () => fileOf(file)),
    ),
  ];
}

function served(path: string, id: string, type: string, read: () => Promise<string>): Route {
  return {
    method: "GET",
    path,
    id,
    summary: "This API's description, for browsers.",
    needs: "open",
    responses: { 200: { description: path, type: type.split(";")[0] ?? type } },
    handle: async () => ({ kind: "stream", status: 200, type, body: await read(), headers }),
  };
}

async function fileOf(file: string): Promise<string> {
  const isBundled = !import.meta.url.endsWith(".ts");
  const folder = isBundled
    ? join(import.meta.dirname, "docs")
    : dirname(createRequire(import.meta.url).resolve("swagger-ui-dist/package.json"));
  return await readFile(join(folder, file), "utf8");
}
