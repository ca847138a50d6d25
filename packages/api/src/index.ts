/** The HTTP API: its server for the daemon and its client for everyone else. */

import type { ApiServer, ApiServerOptions } from "./server/types.ts";

export type * from "./backend.ts";
export * from "./client/client.ts";
export type { CallOptions } from "./client/request.ts";
export type { WatchOptions } from "./client/watch.ts";
export type { ApiLog, ApiServer, ApiServerOptions } from "./server/types.ts";

/**
 * Listens on TCP (loopback unless told otherwise) and, when given, on a unix socket of mode 0600. Fails
 * with PortInUse when an address is taken. Loaded on the first call: clients never pay for the server.
 */
export async function createApiServer(options: ApiServerOptions): Promise<ApiServer> {
  const { createServerImpl } = await import("./server/create.ts");
  return createServerImpl(options);
}
