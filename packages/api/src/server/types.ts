/** What the parts of the server share. */

import type { IncomingMessage, ServerResponse } from "node:http";
import type { ApiBackend, CallContext } from "../backend.ts";

export type ApiLog = (
  level: "debug" | "info" | "warn" | "error",
  message: string,
  fields: Readonly<Record<string, unknown>>,
) => void;

export interface ApiServerOptions {
  readonly backend: ApiBackend;
  /** SHA-256 of each accepted bearer token, lower-case hex. None: nothing is accepted. */
  readonly tokenHashes: readonly string[];
  /** Loopback unless the operator says otherwise; port 0 picks one. */
  readonly listen: { readonly host: string; readonly port: number };
  /** Also listens on this unix socket, mode 0600. */
  readonly socketPath?: string;
  /** Host names, besides loopback names and IP addresses, under which clients may reach this server. */
  readonly allowedHosts?: readonly string[];
  readonly log?: ApiLog;
  /** How long in-flight requests may take once `close` is called; default CLOSE_GRACE_MS. */
  readonly closeGraceMs?: number;
  /** Between heartbeats on watches and execs; default HEARTBEAT_MS. */
  readonly heartbeatMs?: number;
}

export interface ApiServer {
  /** host:port as bound. */
  readonly address: string;
  /** Ends streams at once, lets requests finish within the grace period, then cuts what is left. */
  close(): Promise<void>;
}

/** One admitted request, as handlers see it. */
export interface Admitted {
  readonly call: CallContext;
  readonly incoming: IncomingMessage;
  readonly outgoing: ServerResponse;
}

export interface ServerContext {
  readonly backend: ApiBackend;
  readonly log: ApiLog;
  readonly heartbeatMs: number;
  /** Aborted when the server closes: streams end. */
  readonly closing: AbortSignal;
  /** Streams (watch, logs) and execs open now. */
  readonly open: { streams: number; execs: number };
}
