/** One exec session over an open WebSocket: frames to and from the backend's session, all bounded. */

import type { RawData, WebSocket } from "ws";
import {
  BlixardError,
  failure,
  unreachable,
  type ExecRequest,
  type ExecSession,
} from "@blixard/std";
import type { CallContext } from "../backend.ts";
import { ExecStart } from "../contract/schemas.ts";
import {
  EXEC_BUFFERED_BYTES_MAX,
  EXEC_CONTROLS_WAITING_MAX,
  EXEC_START_TIMEOUT_MS,
  EXEC_STDIN_WINDOW_BYTES,
} from "../limits.ts";
import { decodeClientFrame, encodeServerFrame, type ServerFrame } from "../wire/exec-frames.ts";
import { checked, parseJson } from "./input.ts";
import { classify, errorBody } from "./reply.ts";
import type { ServerContext } from "./types.ts";

function bytesOf(data: RawData): Buffer {
  if (Buffer.isBuffer(data)) return data;
  return Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data);
}

function protocolError(field: string, reason: string): BlixardError {
  return new BlixardError(
    failure("InvalidArgument", { field, reason }, `Invalid exec message: ${reason}.`),
  );
}

/** Resolves once the socket took the frame, if much is waiting already; else at once. */
async function send(ws: WebSocket, frame: ServerFrame): Promise<void> {
  if (ws.readyState !== ws.OPEN) return;
  const bytes = encodeServerFrame(frame);
  if (ws.bufferedAmount <= EXEC_BUFFERED_BYTES_MAX) {
    ws.send(bytes);
    return;
  }
  await new Promise<void>((resolve) => ws.send(bytes, () => resolve()));
}

/** Moves stdin to the guest in order, and gives credit back for what the guest took. */
class Stdin {
  readonly #ws: WebSocket;
  readonly #warn: (reason: string) => void;
  #session: ExecSession | undefined;
  #queue: Uint8Array[] = [];
  #queuedBytes = 0;
  #closed = false;
  #moving = false;
  /** The guest takes no more: the process closed its stdin or ended. The rest is dropped. */
  #broken = false;

  constructor(ws: WebSocket, warn: (reason: string) => void) {
    this.#ws = ws;
    this.#warn = warn;
  }

  /** False when the client sent more than it had credit for, or after closing. */
  push(data: Uint8Array): boolean {
    this.#queuedBytes += data.length;
    if (this.#closed || this.#queuedBytes > EXEC_STDIN_WINDOW_BYTES) return false;
    this.#queue.push(data);
    this.#move();
    return true;
  }

  close(): void {
    this.#closed = true;
    this.#move();
  }

  begin(session: ExecSession): void {
    this.#session = session;
    this.#move();
  }

  #move(): void {
    const session = this.#session;
    if (this.#moving || session === undefined) return;
    this.#moving = true;
    this.#drain(session).catch((error: unknown) => {
      // What ended is told by the event stream; a socket that fails closes by itself.
      this.#warn(error instanceof Error ? error.message : String(error));
    });
  }

  async #drain(session: ExecSession): Promise<void> {
    for (;;) {
      const data = this.#queue.shift();
      if (data === undefined) break;
      if (!this.#broken) await this.#write(session, data);
      this.#queuedBytes -= data.length;
      await send(this.#ws, { kind: "credit", bytes: data.length });
    }
    // In the same turn as the empty queue was seen: a push in between would be left lying.
    this.#moving = false;
    if (this.#closed && !this.#broken) {
      this.#broken = true;
      session.closeStdin();
    }
  }

  async #write(session: ExecSession, data: Uint8Array): Promise<void> {
    try {
      await session.write(data);
    } catch (error) {
      this.#broken = true;
      this.#warn(error instanceof Error ? error.message : String(error));
    }
  }
}

/** Delivers the first message as text, and all later ones to `onFrame`. */
function receive(ws: WebSocket, onFrame: (bytes: Uint8Array | undefined) => void): Promise<string> {
  return new Promise<string>((resolve, reject) => {
    const refuse = (reason: string): void => reject(protocolError("start", reason));
    const timer = setTimeout(() => refuse("no first message in time"), EXEC_START_TIMEOUT_MS);
    let first = true;
    // One listener for both: several messages can be emitted without a turn of the loop in between.
    ws.on("message", (data: RawData, isBinary: boolean) => {
      if (!first) {
        onFrame(isBinary ? bytesOf(data) : undefined);
        return;
      }
      first = false;
      clearTimeout(timer);
      if (isBinary) refuse("the first message must be text");
      else resolve(bytesOf(data).toString("utf8"));
    });
    ws.once("close", () => {
      clearTimeout(timer);
      refuse("closed before the first message");
    });
  });
}

/** Where frames go: to the session once there is one, and until then they wait. */
class Controls {
  #session: ExecSession | undefined;
  readonly #waiting: ((session: ExecSession) => void)[] = [];

  /** False when too many wait: no client needs that many before its command has begun. */
  run(action: (session: ExecSession) => void): boolean {
    if (this.#session !== undefined) action(this.#session);
    else if (this.#waiting.push(action) > EXEC_CONTROLS_WAITING_MAX) return false;
    return true;
  }

  begin(session: ExecSession): void {
    this.#session = session;
    for (const action of this.#waiting.splice(0)) action(session);
  }
}

/** Resolves when the socket is closed; never rejects. */
export async function serveExec(
  server: ServerContext,
  ws: WebSocket,
  call: CallContext,
  ref: string,
): Promise<void> {
  const { trace } = call;
  const warn = (reason: string): void =>
    server.log("debug", "exec input dropped", { correlationId: trace.traceId, reason });
  const stdin = new Stdin(ws, warn);
  const controls = new Controls();
  const end = (caught: unknown): void => {
    if (ws.readyState !== ws.OPEN) return;
    const json = errorBody(classify(caught, trace, server.log), trace);
    ws.send(encodeServerFrame({ kind: "error", json }));
    ws.close(1011);
  };
  const started = receive(ws, (bytes) => {
    const problem = accept(bytes, stdin, controls);
    if (problem !== undefined) end(problem);
  });
  const closed = new Promise<void>((resolve) => ws.once("close", () => resolve()));
  const pump = async (): Promise<void> => {
    const request = parseStart(await started);
    const session = await server.backend.exec(call, ref, { ...request, trace });
    if (ws.readyState !== ws.OPEN) {
      session.close();
      return;
    }
    void closed.then(() => session.close());
    controls.begin(session);
    stdin.begin(session);
    for await (const event of session.events) await send(ws, event);
    ws.close(1000);
  };
  const stop = (): void => ws.terminate();
  const heartbeat = setInterval(() => ws.ping(), server.heartbeatMs);
  ws.on("error", (error) => warn(error.message));
  server.closing.addEventListener("abort", stop, { once: true });
  pump().catch(end);
  await closed;
  clearInterval(heartbeat);
  server.closing.removeEventListener("abort", stop);
}

/** Acts on one frame; answers with what is wrong with it. */
function accept(
  bytes: Uint8Array | undefined,
  stdin: Stdin,
  controls: Controls,
): BlixardError | undefined {
  const frame = bytes === undefined ? undefined : decodeClientFrame(bytes);
  if (frame === undefined) return protocolError("frame", "not a frame of blixard.exec.v1");
  let taken = true;
  switch (frame.kind) {
    case "stdin":
      if (stdin.push(frame.data)) return undefined;
      return protocolError("stdin", "more bytes than credit");
    case "stdinClose":
      stdin.close();
      break;
    case "resize":
      taken = controls.run((session) => session.resize(frame.rows, frame.cols));
      break;
    case "signal":
      taken = controls.run((session) => session.signal(frame.number));
      break;
    default:
      unreachable(frame);
  }
  return taken ? undefined : protocolError("frame", "too many before the command began");
}

function parseStart(text: string): ExecRequest {
  const { cwd, pty, ...rest } = checked(ExecStart, parseJson(text, "first message"), "start");
  return {
    ...rest,
    ...(cwd === undefined ? {} : { cwd }),
    ...(pty === undefined ? {} : { pty }),
  };
}
