/** Answers: JSON bodies, failures, and the headers that connect them to a trace. */

import type { ServerResponse } from "node:http";
import {
  BlixardError,
  ERRORS,
  failure,
  formatTraceparent,
  toBlixardError,
  type Failure,
  type TraceContext,
} from "@blixard/std";
import type { ApiLog } from "./types.ts";

/** What Error in the OpenAPI document describes. */
export function errorBody(failed: Failure, trace: TraceContext): string {
  return JSON.stringify({ error: failed, correlationId: trace.traceId });
}

export function traceHeaders(trace: TraceContext): Record<string, string> {
  return { traceparent: formatTraceparent(trace), "x-correlation-id": trace.traceId };
}

export function jsonHeaders(trace: TraceContext): Record<string, string> {
  return {
    "content-type": "application/json",
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    traceparent: formatTraceparent(trace),
    "x-correlation-id": trace.traceId,
  };
}

export function failureHeaders(failed: Failure, trace: TraceContext): Record<string, string> {
  const headers = jsonHeaders(trace);
  if (failed.code === "Unauthorized") headers["www-authenticate"] = 'Bearer realm="blixard"';
  if (ERRORS[failed.code].http === 503) headers["retry-after"] = "1";
  return headers;
}

export function failureResponse(failed: Failure, trace: TraceContext): Response {
  return new Response(errorBody(failed, trace), {
    status: ERRORS[failed.code].http,
    headers: failureHeaders(failed, trace),
  });
}

/** For what is refused before it is routed: the body was not read, so the connection ends too. */
export function sendFailure(res: ServerResponse, failed: Failure, trace: TraceContext): void {
  const body = errorBody(failed, trace);
  res.writeHead(ERRORS[failed.code].http, {
    ...failureHeaders(failed, trace),
    "content-length": Buffer.byteLength(body),
    connection: "close",
  });
  res.end(body);
}

/**
 * Turns anything thrown while answering into a failure. What nobody classified is logged in full here,
 * because the caller gets its message only.
 */
export function classify(caught: unknown, trace: TraceContext, log: ApiLog): Failure {
  const error = toBlixardError(caught);
  if (error.code === "Internal") {
    const cause = error.cause instanceof Error ? error.cause : error;
    log("error", "request failed", { correlationId: trace.traceId, stack: cause.stack ?? "" });
  }
  return error.failure;
}

export function notFound(method: string, path: string): BlixardError {
  const name = `${method} ${path.slice(0, 200)}`;
  return new BlixardError(
    failure(
      "NotFound",
      { kind: "route", name },
      `There is no route ${name}.`,
      "GET /openapi.json lists the routes.",
    ),
  );
}
