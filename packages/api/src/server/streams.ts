/** Long answers: the watch as server-sent events, logs as raw bytes. Written with backpressure. */

import { once } from "node:events";
import type { ServerResponse } from "node:http";
import { as, fail, type LogIndex } from "@blixard/std";
import { STREAMS_MAX } from "../limits.ts";
import { formatEvent } from "../wire/sse.ts";
import { classify, errorBody, traceHeaders } from "./reply.ts";
import type { Admitted, ServerContext } from "./types.ts";

/** Counts the stream and ends it when the client leaves or the server closes. */
async function withStream(
  server: ServerContext,
  outgoing: ServerResponse,
  run: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  if (server.open.streams >= STREAMS_MAX) {
    fail("Unavailable", { reason: "too many streams" }, `${STREAMS_MAX} streams are open already.`);
  }
  server.open.streams++;
  const gone = new AbortController();
  const leave = (): void => gone.abort();
  outgoing.once("close", leave);
  server.closing.addEventListener("abort", leave, { once: true });
  if (server.closing.aborted) leave();
  try {
    await run(gone.signal);
  } finally {
    server.open.streams--;
    outgoing.off("close", leave);
    server.closing.removeEventListener("abort", leave);
    gone.abort();
  }
}

/** Resolves when there is room again, or when the client is gone. */
async function write(outgoing: ServerResponse, data: string | Uint8Array): Promise<void> {
  if (outgoing.destroyed || outgoing.write(data)) return;
  const settled = new AbortController();
  try {
    await Promise.race([
      once(outgoing, "drain", { signal: settled.signal }),
      once(outgoing, "close", { signal: settled.signal }),
    ]);
  } finally {
    settled.abort();
  }
}

/**
 * One revision can hold several events, and which is the last is not known when one is sent. Resuming
 * by Last-Event-ID therefore begins one revision earlier and repeats that revision's events.
 */
function startOf(lastEventId: string | undefined, fromRevision: number | undefined) {
  if (fromRevision !== undefined) return { fromRevision: as<LogIndex>(fromRevision) };
  if (lastEventId === undefined) return {};
  if (!/^\d{1,15}$/.test(lastEventId)) {
    fail(
      "InvalidArgument",
      { field: "last-event-id", reason: "expected a revision" },
      "Invalid Last-Event-ID: expected a revision.",
    );
  }
  return { fromRevision: as<LogIndex>(Math.max(0, Number(lastEventId) - 1)) };
}

/** Throws before anything is written when the watch cannot begin; afterwards reports in the stream. */
export async function serveWatch(
  server: ServerContext,
  { call, incoming, outgoing }: Admitted,
  fromRevision: number | undefined,
): Promise<void> {
  await withStream(server, outgoing, async (signal) => {
    // Safe: node:http types last-event-id as possibly a list, but joins repeats of unknown headers.
    const lastEventId = incoming.headers["last-event-id"] as string | undefined;
    const start = startOf(lastEventId, fromRevision);
    const events = await server.backend.watch(call, { ...start, signal });
    outgoing.writeHead(200, {
      ...traceHeaders(call.trace),
      "content-type": "text/event-stream",
      "cache-control": "no-store",
      "x-accel-buffering": "no",
    });
    outgoing.flushHeaders();
    const heartbeat = setInterval(() => {
      if (!outgoing.writableNeedDrain) outgoing.write(": heartbeat\n\n");
    }, server.heartbeatMs);
    try {
      for await (const event of events) {
        const name = event.kind === "bookmark" ? "bookmark" : event.type;
        await write(outgoing, formatEvent(String(event.revision), name, JSON.stringify(event)));
        if (signal.aborted) break;
      }
    } catch (caught) {
      if (!signal.aborted) {
        const failed = classify(caught, call.trace, server.log);
        outgoing.write(`event: error\ndata: ${errorBody(failed, call.trace)}\n\n`);
      }
    } finally {
      clearInterval(heartbeat);
      outgoing.end();
    }
  });
}

/** A failure after the first byte cuts the connection: the client must not take it for the end. */
export async function serveLogs(
  server: ServerContext,
  { call, outgoing }: Admitted,
  ref: string,
  options: { readonly follow: boolean; readonly tailBytes?: number | undefined },
): Promise<void> {
  await withStream(server, outgoing, async (signal) => {
    const { follow, tailBytes } = options;
    const tail = tailBytes === undefined ? {} : { tailBytes };
    const chunks = await server.backend.logs(call, ref, { follow, ...tail, signal });
    outgoing.writeHead(200, {
      ...traceHeaders(call.trace),
      "content-type": "application/octet-stream",
      "cache-control": "no-store",
    });
    outgoing.flushHeaders();
    try {
      for await (const chunk of chunks) {
        await write(outgoing, chunk);
        if (signal.aborted) break;
      }
      outgoing.end();
    } catch (caught) {
      if (!signal.aborted) classify(caught, call.trace, server.log);
      outgoing.destroy();
    }
  });
}
