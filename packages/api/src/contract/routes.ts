/** Every route of the API, once: the server registers them and the OpenAPI document lists them. */

import type { z } from "@hono/zod-openapi";
import * as schema from "./schemas.ts";

export interface Route<
  Query extends z.ZodType | undefined = z.ZodType | undefined,
  Body extends z.ZodType | undefined = z.ZodType | undefined,
> {
  readonly id: string;
  readonly method: "get" | "post" | "delete";
  /** In OpenAPI's spelling: `/v1/vms/{ref}`. */
  readonly path: string;
  readonly tag: string;
  readonly summary: string;
  readonly description?: string;
  readonly query: Query;
  readonly body: Body;
  readonly success: {
    readonly status: 101 | 200 | 201 | 202 | 204;
    readonly description: string;
    readonly mediaType?: string;
    readonly schema?: z.ZodType;
  };
  /** False for liveness only. */
  readonly authenticated: boolean;
}

type Options = Partial<Pick<Route, "description" | "authenticated">> & {
  readonly status?: 200 | 201 | 202 | 204;
};

/** Shared by all builders below; `response` undefined means an empty answer. */
function route<Query extends z.ZodType | undefined, Body extends z.ZodType | undefined>(
  id: string,
  target: `${"GET" | "POST" | "DELETE"} /${string}`,
  summary: string,
  query: Query,
  body: Body,
  response: z.ZodType | undefined,
  options: Options = {},
): Route<Query, Body> {
  const [method = "", path = ""] = target.split(" ");
  const status = options.status ?? 200;
  return {
    id,
    // Safe: the template type of `target` allows these three methods only.
    method: method.toLowerCase() as Route["method"],
    path,
    tag: path.split("/")[2] ?? "",
    summary,
    ...(options.description === undefined ? {} : { description: options.description }),
    query,
    body,
    success: {
      status,
      description: summary,
      ...(response === undefined ? {} : { mediaType: "application/json", schema: response }),
    },
    authenticated: options.authenticated ?? true,
  };
}

export const ROUTES = {
  health: route("health", "GET /v1/health", "Liveness", undefined, undefined, schema.Health, {
    authenticated: false,
    description: "The process answers. The only route without a token; it says nothing else.",
  }),
  status: route(
    "status",
    "GET /v1/status",
    "The cluster as this node sees it",
    undefined,
    undefined,
    schema.Status,
  ),
  listNodes: route(
    "listNodes",
    "GET /v1/nodes",
    "List nodes",
    schema.ReadQuery,
    undefined,
    schema.NodeList,
  ),
  getNode: route("getNode", "GET /v1/nodes/{ref}", "One node", undefined, undefined, schema.Node),
  setMaintenance: route(
    "setMaintenance",
    "POST /v1/nodes/{ref}/maintenance",
    "Take a node out of service, or back into it",
    undefined,
    schema.SetMaintenance,
    schema.Node,
    { status: 202, description: "Answers with the node as marked; its VMs move off from then on." },
  ),
  removeNode: route(
    "removeNode",
    "DELETE /v1/nodes/{ref}",
    "Remove a node from the cluster",
    undefined,
    undefined,
    undefined,
    { status: 204 },
  ),
  createTicket: route(
    "createTicket",
    "POST /v1/tickets",
    "Make a ticket with which nodes may join",
    undefined,
    schema.CreateTicket,
    schema.Ticket,
    { status: 201 },
  ),
  listVms: route("listVms", "GET /v1/vms", "List VMs", schema.ReadQuery, undefined, schema.VmList),
  createVm: route(
    "createVm",
    "POST /v1/vms",
    "Declare a VM",
    undefined,
    schema.CreateVm,
    schema.Vm,
    { status: 201 },
  ),
  getVm: route("getVm", "GET /v1/vms/{ref}", "One VM", schema.ReadQuery, undefined, schema.Vm),
  deleteVm: route(
    "deleteVm",
    "DELETE /v1/vms/{ref}",
    "Delete a VM",
    undefined,
    undefined,
    schema.Vm,
    {
      status: 202,
      description: "Answers with the record as marked; it is gone once nothing of it can run.",
    },
  ),
  startVm: route(
    "startVm",
    "POST /v1/vms/{ref}/start",
    "Want a VM to run",
    undefined,
    undefined,
    schema.Vm,
    { status: 202 },
  ),
  stopVm: route(
    "stopVm",
    "POST /v1/vms/{ref}/stop",
    "Want a VM to stop",
    undefined,
    undefined,
    schema.Vm,
    { status: 202 },
  ),
  explainVm: route(
    "explainVm",
    "GET /v1/vms/{ref}/explain",
    "Why a VM is where it is, or nowhere",
    undefined,
    undefined,
    schema.Explanation,
  ),
  vmStats: route(
    "vmStats",
    "GET /v1/vms/{ref}/stats",
    "What is measured of a VM that runs",
    undefined,
    undefined,
    schema.VmStats,
    { description: "From the node that has the VM. NotRunning while nothing of it runs." },
  ),
  logs: {
    ...route(
      "logs",
      "GET /v1/vms/{ref}/logs",
      "Console output of a VM",
      schema.LogsQuery,
      undefined,
      undefined,
    ),
    success: { status: 200, description: "Bytes", mediaType: "application/octet-stream" },
  },
  watch: {
    ...route(
      "watch",
      "GET /v1/watch",
      "Stream of changes",
      schema.WatchQuery,
      undefined,
      undefined,
      {
        description:
          "Server-sent events added, modified, removed, bookmark; each `data` is a WatchEvent, each " +
          "`id` its revision. Resume with fromRevision (begins just after it) or with Last-Event-ID " +
          "(repeats the events of that revision, as one revision can hold several). 410 Compacted: " +
          "list again. An event `error` carries an Error, and ends the stream.",
      },
    ),
    success: {
      status: 200,
      description: "Server-sent events",
      mediaType: "text/event-stream",
      schema: schema.WatchEventBody,
    },
  },
  exec: {
    ...route(
      "exec",
      "GET /v1/vms/{ref}/exec",
      "Run a command in a VM (WebSocket)",
      undefined,
      undefined,
      undefined,
      {
        description:
          "Upgrade with the subprotocol blixard.exec.v1. First message: ExecStart as JSON text. Then " +
          "binary frames of one byte of kind and a payload; see docs/formats.md.",
      },
    ),
    success: { status: 101, description: "Switched to blixard.exec.v1" },
  },
  openapi: {
    ...route("openapi", "GET /openapi.json", "This document", undefined, undefined, undefined),
    tag: "meta",
    success: { status: 200, description: "OpenAPI 3.1", mediaType: "application/json" },
  },
} as const satisfies Record<string, Route>;
