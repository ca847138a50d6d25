/** The listening server: sockets, admission, upgrade, and closing in order. */

import { chmod, rm, stat } from "node:fs/promises";
import { createServer, STATUS_CODES, type IncomingMessage, type Server } from "node:http";
import { connect, isIPv6 } from "node:net";
import type { Duplex } from "node:stream";
import { getRequestListener } from "@hono/node-server";
import { WebSocketServer } from "ws";
import { BlixardError, ERRORS, assert, fail, failure, present, type Failure } from "@blixard/std";
import type { CallContext } from "../backend.ts";
import * as limits from "../limits.ts";
import { EXEC_SUBPROTOCOL } from "../wire/exec-frames.ts";
import { createApp } from "./app.ts";
import { serveExec } from "./exec.ts";
import { createGate, type Gate } from "./gate.ts";
import { checkRef } from "./input.ts";
import {
  classify,
  errorBody,
  failureHeaders,
  failureResponse,
  notFound,
  sendFailure,
} from "./reply.ts";
import type { ApiServer, ApiServerOptions, ServerContext } from "./types.ts";

const EXEC_PATH = /^\/v1\/vms\/([^/?]+)\/exec$/;

function tooMany(what: string, limit: number): Failure {
  return failure(
    "Unavailable",
    { reason: `too many ${what}` },
    `This node already serves ${limit} ${what}.`,
    "try again shortly, or ask another node",
  );
}

/** One Server for each socket, all in front of the same routes. */
class Front {
  readonly #server: ServerContext;
  /** Of the request just handed to the listener, which calls back in the same turn of the loop. */
  #admitted: CallContext | undefined;
  readonly #listener: ReturnType<typeof getRequestListener>;
  readonly #sockets = new WebSocketServer({
    noServer: true,
    maxPayload: limits.EXEC_MESSAGE_BYTES_MAX,
    perMessageDeflate: false,
    handleProtocols: () => EXEC_SUBPROTOCOL,
  });
  #inFlight = 0;

  constructor(server: ServerContext) {
    this.#server = server;
    const app = createApp(server);
    this.#listener = getRequestListener(
      (request, env) => app.fetch(request, { ...env, call: this.#admittedCall() }),
      { errorHandler: (error) => badRequest(error, this.#admittedCall(), server) },
    );
  }

  #admittedCall(): CallContext {
    return present(this.#admitted, "the gate's answer");
  }

  server(gate: Gate): Server {
    const server = createServer({
      maxHeaderSize: limits.HEADERS_BYTES_MAX,
      headersTimeout: limits.HEADERS_TIMEOUT_MS,
      requestTimeout: limits.REQUEST_TIMEOUT_MS,
      keepAliveTimeout: limits.KEEP_ALIVE_TIMEOUT_MS,
      noDelay: true,
      // Exec and watch can be silent for hours: this is what finds a peer that is gone.
      keepAlive: true,
      keepAliveInitialDelay: limits.HEARTBEAT_MS,
    });
    server.maxConnections = limits.CONNECTIONS_MAX;
    server.on("request", (incoming, outgoing) => {
      const { call, refused } = gate(incoming);
      if (refused !== undefined) return sendFailure(outgoing, refused, call.trace);
      if (this.#inFlight >= limits.REQUESTS_MAX) {
        return sendFailure(outgoing, tooMany("requests", limits.REQUESTS_MAX), call.trace);
      }
      this.#inFlight++;
      outgoing.once("close", () => {
        this.#inFlight--;
        // Kept connections would hold up the close; this one is idle as of the next turn.
        if (this.#server.closing.aborted) setImmediate(() => server.closeIdleConnections());
      });
      this.#admitted = call;
      return void this.#listener(incoming, outgoing);
    });
    server.on("upgrade", (incoming: IncomingMessage, socket: Duplex, head: Buffer) => {
      // Until ws takes over nobody else listens, and an error without a listener ends the process.
      socket.on("error", () => socket.destroy());
      this.#upgrade(gate, incoming, socket, head);
    });
    return server;
  }

  #upgrade(gate: Gate, incoming: IncomingMessage, socket: Duplex, head: Buffer): void {
    const { call, refused } = gate(incoming);
    let ref = "";
    try {
      if (refused !== undefined) throw new BlixardError(refused);
      ref = this.#execTarget(incoming);
    } catch (caught) {
      refuseUpgrade(socket, classify(caught, call.trace, this.#server.log), call);
      return;
    }
    this.#sockets.handleUpgrade(incoming, socket, head, (ws) => {
      this.#server.open.execs++;
      void serveExec(this.#server, ws, call, ref).finally(() => this.#server.open.execs--);
    });
  }

  #execTarget(incoming: IncomingMessage): string {
    const path = incoming.url ?? "";
    const ref = EXEC_PATH.exec(path)?.[1];
    if (ref === undefined) throw notFound(`upgrade of ${incoming.method ?? ""}`, path);
    const offered = (incoming.headers["sec-websocket-protocol"] ?? "").split(/\s*,\s*/);
    if (!offered.includes(EXEC_SUBPROTOCOL)) {
      const reason = `expected ${EXEC_SUBPROTOCOL}`;
      fail(
        "InvalidArgument",
        { field: "sec-websocket-protocol", reason },
        `This node speaks the exec subprotocol ${EXEC_SUBPROTOCOL} only.`,
      );
    }
    if (this.#server.open.execs >= limits.EXECS_MAX) {
      throw new BlixardError(tooMany("exec sessions", limits.EXECS_MAX));
    }
    if (this.#server.closing.aborted) {
      fail("Unavailable", { reason: "closing" }, "This node is shutting down.");
    }
    return checkRef(ref);
  }

  close(): void {
    this.#sockets.close();
  }
}

/** The adapter could not make a request of it: its target is not one that HTTP allows. */
function badRequest(error: unknown, call: CallContext, server: ServerContext): Response {
  const reason = error instanceof Error ? error.message : String(error);
  const field = "request target";
  const failed = failure("InvalidArgument", { field, reason }, `Invalid ${field}: ${reason}.`);
  server.log("debug", "bad request", { correlationId: call.trace.traceId, reason });
  return failureResponse(failed, call.trace);
}

function refuseUpgrade(socket: Duplex, failed: Failure, call: CallContext): void {
  const body = errorBody(failed, call.trace);
  const status = ERRORS[failed.code].http;
  const headers = {
    ...failureHeaders(failed, call.trace),
    "content-length": String(Buffer.byteLength(body)),
    connection: "close",
  };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}\r\n${lines.join("")}\r\n${body}`);
}

function errorCode(error: unknown): string {
  if (typeof error !== "object" || error === null || !("code" in error)) return "";
  return typeof error.code === "string" ? error.code : "";
}

async function listen(
  server: Server,
  where: { host: string; port: number } | { path: string },
): Promise<void> {
  const address = "path" in where ? where.path : `${where.host}:${where.port}`;
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen({ ...where, backlog: 1024 }, () => {
        server.off("error", reject);
        resolve();
      });
    });
  } catch (error) {
    const code = errorCode(error);
    if (code === "EADDRINUSE") {
      fail(
        "PortInUse",
        { address },
        `Cannot listen on ${address}: another process does already.`,
        "stop that process, or choose another address with `blixard node init --api HOST:PORT`",
      );
    }
    const reason = error instanceof Error ? error.message : String(error);
    fail("InvalidArgument", { field: "listen", reason }, `Cannot listen on ${address}: ${reason}`);
  }
}

/** A socket file that nobody answers on is left over from a killed process. */
async function clearSocket(path: string): Promise<void> {
  if (Buffer.byteLength(path) > limits.SOCKET_PATH_BYTES_MAX) {
    const reason = `longer than ${limits.SOCKET_PATH_BYTES_MAX} bytes`;
    fail(
      "InvalidArgument",
      { field: "socketPath", reason },
      `The socket path ${path} is ${reason}.`,
      "choose a shorter data directory",
    );
  }
  try {
    if (!(await stat(path)).isSocket()) {
      const reason = "a file that is not a socket is there";
      fail("InvalidArgument", { field: "socketPath", reason }, `Cannot use ${path}: ${reason}.`);
    }
  } catch (error) {
    if (errorCode(error) === "ENOENT") return;
    throw error;
  }
  const alive = await new Promise<boolean>((resolve) => {
    const probe = connect(path);
    probe.once("connect", () => {
      probe.destroy();
      resolve(true);
    });
    probe.once("error", () => resolve(false));
  });
  if (alive) {
    fail(
      "PortInUse",
      { address: path },
      `Another process listens on ${path} already.`,
      "a node runs with this data directory; see `blixard node status`",
    );
  }
  await rm(path, { force: true });
}

async function closeServer(server: Server, graceMs: number): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeIdleConnections();
  const cut = setTimeout(() => server.closeAllConnections(), graceMs);
  await closed;
  clearTimeout(cut);
}

/** Fails with PortInUse or InvalidArgument; after a failure nothing is left listening. */
export async function createServerImpl(options: ApiServerOptions): Promise<ApiServer> {
  const closing = new AbortController();
  const log = options.log ?? (() => undefined);
  const context: ServerContext = {
    backend: options.backend,
    log,
    heartbeatMs: options.heartbeatMs ?? limits.HEARTBEAT_MS,
    closing: closing.signal,
    open: { streams: 0, execs: 0 },
  };
  const front = new Front(context);
  const allowedHosts = (options.allowedHosts ?? []).map((name) => name.toLowerCase());
  const gateOf = (local: boolean): Gate =>
    createGate({ tokenHashes: options.tokenHashes, allowedHosts, local });
  const tcp = front.server(gateOf(false));
  await listen(tcp, options.listen);
  const servers = [tcp];
  try {
    if (options.socketPath !== undefined) {
      await clearSocket(options.socketPath);
      const local = front.server(gateOf(true));
      await listen(local, { path: options.socketPath });
      servers.push(local);
      await chmod(options.socketPath, 0o600);
    }
  } catch (error) {
    await Promise.all(servers.map((server) => closeServer(server, 0)));
    throw error;
  }
  for (const server of servers) {
    server.on("error", (error) => log("error", "listener failed", { reason: error.message }));
  }
  const bound = tcp.address();
  assert(
    typeof bound === "object" && bound !== null,
    "a TCP server has an address once it listens",
  );
  const host = isIPv6(bound.address) ? `[${bound.address}]` : bound.address;
  let closed: Promise<void> | undefined;
  return {
    address: `${host}:${bound.port}`,
    close(): Promise<void> {
      closed ??= (async () => {
        closing.abort();
        front.close();
        const graceMs = options.closeGraceMs ?? limits.CLOSE_GRACE_MS;
        await Promise.all(servers.map((server) => closeServer(server, graceMs)));
      })();
      return closed;
    },
  };
}
