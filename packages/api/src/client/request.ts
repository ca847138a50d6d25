/** One small request function over node:http: fetch cannot reach unix sockets. */

import { Agent, request as httpRequest, type IncomingMessage } from "node:http";
import {
  BlixardError,
  fail,
  failure,
  isFailure,
  type TraceContext,
  formatTraceparent,
} from "@blixard/std";
import { CLIENT_SOCKETS_MAX, CLIENT_TIMEOUT_MS, RESPONSE_BYTES_MAX } from "../limits.ts";

export interface Target {
  /** What to say in messages. */
  readonly endpoint: string;
  readonly token: string;
  readonly socketPath?: string;
  readonly host: string;
  readonly port: number;
  readonly agent: Agent;
}

export interface CallOptions {
  readonly signal?: AbortSignal;
  readonly timeoutMs?: number;
  readonly trace?: TraceContext;
}

export interface RequestOptions extends CallOptions {
  readonly method: "GET" | "POST" | "DELETE";
  readonly path: string;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

/** `http://host:port` or `unix:/path`. */
export function parseEndpoint(endpoint: string, token: string): Target {
  const agent = new Agent({ keepAlive: true, maxSockets: CLIENT_SOCKETS_MAX });
  if (endpoint.startsWith("unix:")) {
    const socketPath = endpoint.slice("unix:".length);
    if (socketPath !== "") {
      return { endpoint, token, socketPath, host: "localhost", port: 80, agent };
    }
  } else if (URL.canParse(endpoint)) {
    const url = new URL(endpoint);
    if (url.protocol === "http:" && url.pathname === "/" && url.search === "") {
      const host = url.hostname.replace(/^\[(.*)\]$/, "$1");
      return { endpoint, token, host, port: Number(url.port || "80"), agent };
    }
  }
  return fail(
    "InvalidArgument",
    { field: "endpoint", reason: "expected http://HOST:PORT or unix:/PATH" },
    `Cannot use the endpoint ${JSON.stringify(endpoint)}: expected http://HOST:PORT or unix:/PATH.`,
  );
}

function codeOf(error: unknown): string {
  if (typeof error !== "object" || error === null || !("code" in error)) return "";
  return typeof error.code === "string" ? error.code : "";
}

const NOT_CONNECTED = new Set([
  "ECONNREFUSED",
  "ENOENT",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EACCES",
]);

/** `writes`: bytes may have reached the server, so that what was asked for may have happened. */
export function connectionFailure(
  target: Target,
  error: unknown,
  operation: string,
  writes: boolean,
): BlixardError {
  const reason = error instanceof Error && error.message !== "" ? error.message : codeOf(error);
  if (NOT_CONNECTED.has(codeOf(error))) {
    return new BlixardError(
      failure(
        "Unavailable",
        { reason },
        `Cannot reach a node at ${target.endpoint}: ${reason}`,
        "start one with `blixard node start`, or name another with BLIXARD_ENDPOINT",
      ),
      { cause: error },
    );
  }
  if (writes) {
    return new BlixardError(
      failure(
        "OutcomeUnknown",
        { operation, reason },
        `The connection to ${target.endpoint} was lost (${reason}); ${operation} may have happened.`,
        "look before you repeat it",
      ),
      { cause: error },
    );
  }
  return new BlixardError(
    failure("Unavailable", { reason }, `The connection to ${target.endpoint} was lost: ${reason}`),
    { cause: error },
  );
}

/** Rebuilds what the server threw; anything else that answers here is not a Blixard node. */
export function failureFrom(text: string, status: number, endpoint: string): BlixardError {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    parsed = undefined;
  }
  if (typeof parsed === "object" && parsed !== null && "error" in parsed) {
    const correlation =
      "correlationId" in parsed && typeof parsed.correlationId === "string"
        ? [`request ${parsed.correlationId}`]
        : [];
    if (isFailure(parsed.error)) return new BlixardError(parsed.error, { context: correlation });
  }
  const reason = `HTTP ${status} without a Blixard failure`;
  return new BlixardError(
    failure("Unavailable", { reason }, `${endpoint} answered ${reason}.`, "check the endpoint"),
  );
}

export function authHeaders(target: Target, trace?: TraceContext): Record<string, string> {
  const headers: Record<string, string> = { authorization: `Bearer ${target.token}` };
  if (trace !== undefined) headers["traceparent"] = formatTraceparent(trace);
  return headers;
}

/** A read on a kept connection that the server had just closed: the same read on a new one is safe. */
class StaleConnection extends Error {
  override readonly name = "StaleConnection";
}

function attempt(target: Target, options: RequestOptions): Promise<IncomingMessage> {
  const writes = options.method !== "GET";
  const operation = `${options.method} ${options.path}`;
  const body = options.body === undefined ? undefined : JSON.stringify(options.body);
  const timeoutMs = options.timeoutMs ?? CLIENT_TIMEOUT_MS;
  return new Promise<IncomingMessage>((resolve, reject) => {
    const request = httpRequest({
      method: options.method,
      path: options.path,
      host: target.host,
      port: target.port,
      agent: target.agent,
      ...(target.socketPath === undefined ? {} : { socketPath: target.socketPath }),
      ...(options.signal === undefined ? {} : { signal: options.signal }),
      headers: {
        ...authHeaders(target, options.trace),
        ...(body === undefined
          ? {}
          : { "content-type": "application/json", "content-length": Buffer.byteLength(body) }),
        ...options.headers,
      },
    });
    const timer = setTimeout(() => {
      request.destroy(new Error(`no answer in ${timeoutMs} ms`));
    }, timeoutMs);
    request.once("response", (incoming) => {
      clearTimeout(timer);
      resolve(incoming);
    });
    // Stays: an error after the response began must find a listener, though it changes nothing.
    request.on("error", (error) => {
      clearTimeout(timer);
      if (options.signal?.aborted === true) reject(error);
      else if (!writes && request.reusedSocket && codeOf(error) === "ECONNRESET") {
        reject(new StaleConnection(error.message, { cause: error }));
      } else reject(connectionFailure(target, error, operation, writes));
    });
    request.end(body);
  });
}

/** Until a connection that is not stale has answered; each stale one leaves the pool, so this ends. */
async function attemptFresh(target: Target, options: RequestOptions): Promise<IncomingMessage> {
  for (;;) {
    try {
      return await attempt(target, options);
    } catch (error) {
      if (!(error instanceof StaleConnection)) throw error;
    }
  }
}

/** The response's head; the caller consumes the body. Rejects with BlixardError for any non-2xx. */
export async function open(target: Target, options: RequestOptions): Promise<IncomingMessage> {
  const response = await attemptFresh(target, options);
  const status = response.statusCode ?? 0;
  if (status < 200 || status > 299) {
    throw failureFrom(await readText(response), status, target.endpoint);
  }
  return response;
}

export async function readText(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response) {
    // Safe: without an encoding set, an IncomingMessage yields Buffers.
    const bytes = chunk as Buffer;
    size += bytes.length;
    if (size > RESPONSE_BYTES_MAX) {
      response.destroy();
      fail(
        "TooLarge",
        { what: "answer", limit: RESPONSE_BYTES_MAX, actual: size },
        `The answer is larger than ${RESPONSE_BYTES_MAX} bytes.`,
      );
    }
    chunks.push(bytes);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** The parsed JSON object of a 2xx answer; undefined for 204. */
export async function requestJson(target: Target, options: RequestOptions): Promise<unknown> {
  const response = await open(target, options);
  let text: string;
  try {
    text = await readText(response);
  } catch (error) {
    if (error instanceof BlixardError || options.signal?.aborted === true) throw error;
    const operation = `${options.method} ${options.path}`;
    throw connectionFailure(target, error, operation, options.method !== "GET");
  }
  if (response.statusCode === 204) return undefined;
  try {
    const parsed: unknown = JSON.parse(text);
    if (typeof parsed === "object" && parsed !== null) return parsed;
  } catch {
    // Falls through: not JSON and not an object are the same mistake.
  }
  throw failureFrom("", response.statusCode ?? 0, target.endpoint);
}
