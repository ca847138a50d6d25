/** Binds each route of the contract to the backend. */

import type { HttpBindings } from "@hono/node-server";
import { RESPONSE_ALREADY_SENT } from "@hono/node-server/utils/response";
import type { z } from "@hono/zod-openapi";
import { Hono, type Context } from "hono";
import { fail, type TraceContext } from "@blixard/std";
import type { CallContext } from "../backend.ts";
import { ROUTES, type Route } from "../contract/routes.ts";
import { checked, checkRef, readJson, readQuery } from "./input.ts";
import { classify, failureResponse, jsonHeaders, notFound } from "./reply.ts";
import { serveLogs, serveWatch } from "./streams.ts";
import type { Admitted, ServerContext } from "./types.ts";

export interface Env {
  /** `call` is what the gate decided about the request. */
  Bindings: HttpBindings & { readonly call: CallContext };
}

interface Input<R extends Route> extends Admitted {
  readonly ref: string;
  readonly query: R["query"] extends z.ZodType ? z.output<R["query"]> : undefined;
  readonly body: R["body"] extends z.ZodType ? z.output<R["body"]> : undefined;
}

/** The handler answered by itself, on the node response. */
const SENT = Symbol("sent");

function failed(caught: unknown, trace: TraceContext, server: ServerContext): Response {
  return failureResponse(classify(caught, trace, server.log), trace);
}

export function createApp(server: ServerContext): Hono<Env> {
  const app = new Hono<Env>();

  function on<R extends Route>(
    route: R,
    handle: (input: Input<R>) => Promise<object | undefined | typeof SENT>,
  ): void {
    const path = route.path.replace("{ref}", ":ref");
    const { query: querySchema, body: bodySchema } = route;
    const { status } = route.success;
    app.on(route.method.toUpperCase(), path, async (c: Context<Env>) => {
      const { incoming, outgoing, call } = c.env;
      try {
        const ref = path.includes(":ref") ? checkRef(rawRef(incoming.url ?? "")) : "";
        const given = readQuery(incoming.url ?? "");
        const query =
          querySchema === undefined ? refuseQuery(given) : checked(querySchema, given, "query");
        const body =
          bodySchema === undefined
            ? undefined
            : checked(bodySchema, await readJson(incoming), "body");
        // Safe: query and body are exactly what the route's schemas, from which Input is made, gave.
        const input = { call, incoming, outgoing, ref, query, body } as Input<R>;
        const answer = await handle(input);
        if (answer === SENT) return RESPONSE_ALREADY_SENT;
        if (answer === undefined) {
          return new Response(null, { status, headers: jsonHeaders(call.trace) });
        }
        return new Response(JSON.stringify(answer), { status, headers: jsonHeaders(call.trace) });
      } catch (caught) {
        return failed(caught, call.trace, server);
      }
    });
  }

  bindCluster(on, server);
  bindVms(on, server);
  app.notFound((c) => {
    return failed(notFound(c.req.method, c.req.path), c.env.call.trace, server);
  });
  app.onError((error, c) => failed(error, c.env.call.trace, server));
  return app;
}

/** Hono decodes parameters leniently; the raw segment is decoded strictly instead. */
function rawRef(url: string): string {
  return /^\/v1\/[a-z]+\/([^/?]*)/.exec(url)?.[1] ?? "";
}

function refuseQuery(given: Readonly<Record<string, string>>): undefined {
  const [name] = Object.keys(given);
  if (name === undefined) return undefined;
  return fail(
    "InvalidArgument",
    { field: name, reason: "unknown query parameter" },
    `Invalid request: ${name}: unknown query parameter.`,
  );
}

type On = <R extends Route>(
  route: R,
  handle: (input: Input<R>) => Promise<object | undefined | typeof SENT>,
) => void;

function bindCluster(on: On, server: ServerContext): void {
  const { backend } = server;
  on(ROUTES.health, () => Promise.resolve({ ok: true }));
  on(ROUTES.status, ({ call }) => backend.status(call));
  on(ROUTES.listNodes, ({ call, query }) => backend.listNodes(call, query.consistency));
  on(ROUTES.getNode, ({ call, ref }) => backend.getNode(call, ref));
  on(ROUTES.removeNode, async ({ call, ref }) => {
    await backend.removeNode(call, ref);
    return undefined;
  });
  on(ROUTES.setMaintenance, ({ call, ref, body }) =>
    backend.setMaintenance(call, ref, body.maintenance),
  );
  on(ROUTES.createTicket, ({ call, body }) => backend.createTicket(call, body));
  on(ROUTES.watch, async ({ query, ...admitted }) => {
    await serveWatch(server, admitted, query.fromRevision);
    return SENT;
  });
  let document: Promise<object> | undefined;
  on(ROUTES.openapi, () => {
    document ??= import("../contract/document.ts").then((module) => module.openApiDocument());
    return document;
  });
}

function bindVms(on: On, server: ServerContext): void {
  const { backend } = server;
  on(ROUTES.listVms, ({ call, query }) => backend.listVms(call, query.consistency));
  on(ROUTES.createVm, ({ call, body }) => backend.createVm(call, body.spec, body.desired));
  on(ROUTES.getVm, ({ call, ref, query }) => backend.getVm(call, ref, query.consistency));
  on(ROUTES.deleteVm, ({ call, ref }) => backend.deleteVm(call, ref));
  on(ROUTES.startVm, ({ call, ref }) => backend.setDesired(call, ref, "running"));
  on(ROUTES.stopVm, ({ call, ref }) => backend.setDesired(call, ref, "stopped"));
  on(ROUTES.explainVm, ({ call, ref }) => backend.explainVm(call, ref));
  on(ROUTES.vmStats, ({ call, ref }) => backend.vmStats(call, ref));
  on(ROUTES.logs, async ({ ref, query, ...admitted }) => {
    await serveLogs(server, admitted, ref, query);
    return SENT;
  });
  on(ROUTES.exec, () =>
    fail(
      "InvalidArgument",
      { field: "upgrade", reason: "expected a WebSocket upgrade" },
      "exec is a WebSocket: upgrade with the subprotocol blixard.exec.v1.",
      "use `blixard vm exec`",
    ),
  );
}
