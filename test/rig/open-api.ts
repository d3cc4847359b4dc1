// The parts of an OpenAPI document that tests hold answers to.

export interface Schema {
  $ref?: string;
  type?: string;
  enum?: readonly unknown[];
  required?: readonly string[];
  properties?: { [name: string]: Schema };
  items?: Schema;
  additionalProperties?: Schema;
}
export interface Operation {
  operationId: string;
  requestBody?: { content: { [type: string]: { schema: Schema; example?: unknown } } };
  responses: {
    [status: string]: { content?: { [type: string]: { schema: Schema; example?: unknown } } };
  };
  security: object[];
}
export interface OpenApi {
  paths: { [path: string]: { [method: string]: Operation } };
  components: { schemas: { [name: string]: Schema } };
}

/** What does not fit, as paths; unknown fields count as well, so that the document stays complete. */
export function misfits(value: unknown, schema: Schema, at: string, api: OpenApi): string[] {
  if (schema.$ref !== undefined) {
    const named = api.components.schemas[schema.$ref.split("/").at(-1) ?? ""];
    return named === undefined ? [`${at}: no ${schema.$ref}`] : misfits(value, named, at, api);
  }
  if (schema.enum !== undefined && !schema.enum.includes(value)) return [`${at}: ${value}`];
  switch (schema.type) {
    case undefined:
      return [];
    case "array":
      if (!Array.isArray(value)) return [`${at}: not a list`];
      return value.flatMap((item, i) => misfits(item, schema.items ?? {}, `${at}[${i}]`, api));
    case "object": {
      if (typeof value !== "object" || value === null) return [`${at}: not an object`];
      const missing = (schema.required ?? []).filter((name) => !Object.hasOwn(value, name));
      const { properties } = schema;
      return [
        ...missing.map((name) => `${at}.${name}: missing`),
        ...Object.entries(value).flatMap(([name, field]) => {
          const known = properties?.[name] ?? schema.additionalProperties;
          if (known === undefined)
            return properties === undefined ? [] : [`${at}.${name}: unknown`];
          return misfits(field, known, `${at}.${name}`, api);
        }),
      ];
    }
    case "integer":
      return Number.isInteger(value) ? [] : [`${at}: not an integer`];
    default:
      return typeof value === schema.type ? [] : [`${at}: not a ${schema.type}`];
  }
}
