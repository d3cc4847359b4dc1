// Writes the OpenAPI 3.1 document from the routes themselves.
import { rolesFor } from "../access/roles.ts";
import type { Route } from "./route.ts";
import { schemas } from "./schemas.ts";

export function openApiDocument(routes: readonly Route[]): object {
  const paths: { [path: string]: { [method: string]: object } } = {};
  for (const route of routes) {
    paths[route.path] = { ...paths[route.path], [route.method.toLowerCase()]: operation(route) };
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "edgedag master",
      version: "1",
      description:
        "Nodes, runs, logs and results of edgedag. Times are Unix milliseconds, sizes are bytes. " +
        "Fields that are not known are absent. Every error is {error: {class, code, message, remedy}}.",
    },
    paths,
    components: {
      schemas,
      securitySchemes: {
        token: {
          type: "http",
          scheme: "bearer",
          description:
            "The master's token, which may do everything, or an API key with one of the roles that an operation lists.",
        },
        apiKey: { type: "apiKey", in: "header", name: "X-API-Key", description: "The same." },
      },
    },
  };
}

function operation(route: Route): object {
  const responses = Object.fromEntries(
    Object.entries(route.responses).map(([status, response]) => [
      status,
      {
        description: response.description,
        ...(response.schema === undefined && response.type === undefined
          ? {}
          : {
              content: {
                [response.type ?? "application/json"]: {
                  schema: response.schema ?? {},
                  ...(response.example === undefined ? {} : { example: response.example }),
                },
              },
            }),
      },
    ]),
  );
  const { refusalSchema } = route;
  const problem = {
    description:
      refusalSchema === undefined ? "An error; see `code`, `message` and `remedy`." : "An error.",
    content: {
      "application/json": { schema: refusalSchema ?? { $ref: "#/components/schemas/Error" } },
    },
  };
  return {
    operationId: route.id,
    summary: route.summary,
    parameters: (route.parameters ?? []).map((parameter) => ({
      ...parameter,
      required: parameter.in === "path",
    })),
    ...(route.body === undefined
      ? {}
      : {
          requestBody: {
            required: true,
            description: route.body.description,
            content: {
              "application/json": {
                schema: route.body.schema,
                ...(route.body.example === undefined ? {} : { example: route.body.example }),
              },
            },
          },
        }),
    responses: { ...responses, default: problem },
    ...(route.needs === "open" ? {} : { "x-roles": rolesFor(route.needs) }),
    security: route.needs === "open" ? [] : [{ token: rolesFor(route.needs) }, { apiKey: [] }],
  };
}
