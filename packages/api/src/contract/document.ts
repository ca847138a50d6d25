/** The OpenAPI 3.1 document, generated from the routes and schemas that the server itself uses. */

import { OpenAPIHono, z } from "@hono/zod-openapi";
import { ERRORS } from "@blixard/std";
import { ROUTES, type Route } from "./routes.ts";
import { ErrorBody, ExecStart, Ref, WatchEventBody } from "./schemas.ts";

export const API_VERSION = "1";

function errorStatuses(): number[] {
  return [...new Set(Object.values(ERRORS).map((mapping) => mapping.http))].sort((a, b) => a - b);
}

function successOf(route: Route): object {
  const { description, mediaType, schema } = route.success;
  if (mediaType === undefined) return { description };
  const fallback =
    mediaType === "application/json" ? z.record(z.string(), z.unknown()) : z.string();
  return { description, content: { [mediaType]: { schema: schema ?? fallback } } };
}

/** One object per call; the caller may keep it. */
export function openApiDocument(): object {
  const app = new OpenAPIHono();
  const registry = app.openAPIRegistry;
  registry.registerComponent("securitySchemes", "token", { type: "http", scheme: "bearer" });
  registry.register("ExecStart", ExecStart);
  registry.register("WatchEvent", WatchEventBody);
  const failure = {
    description: "A failure; the code decides the status.",
    content: { "application/json": { schema: ErrorBody } },
  };
  const codes = Object.entries(ERRORS)
    .map(([code, mapping]) => `${code} ${mapping.http}`)
    .join(", ");
  for (const route of Object.values<Route>(ROUTES)) {
    // Safe: only object schemas are given as query, which is what the registry wants to iterate.
    const query = route.query as z.ZodObject | undefined;
    registry.registerPath({
      method: route.method,
      path: route.path,
      operationId: route.id,
      tags: [route.tag],
      summary: route.summary,
      ...(route.description === undefined ? {} : { description: route.description }),
      security: route.authenticated ? [{ token: [] }] : [],
      request: {
        ...(route.path.includes("{ref}") ? { params: z.strictObject({ ref: Ref }) } : {}),
        ...(query === undefined ? {} : { query }),
        ...(route.body === undefined
          ? {}
          : {
              body: { required: true, content: { "application/json": { schema: route.body } } },
            }),
      },
      responses: {
        [route.success.status]: { ...successOf(route), description: route.success.description },
        default: failure,
      },
    });
  }
  return app.getOpenAPI31Document({
    openapi: "3.1.0",
    info: {
      title: "Blixard",
      version: API_VERSION,
      description:
        `Every failure is an Error; its code decides the status: ${codes}. ` +
        `Statuses in use: ${errorStatuses().join(", ")}.`,
      license: { name: "Apache-2.0" },
    },
    servers: [{ url: "http://127.0.0.1:7447" }],
  });
}
