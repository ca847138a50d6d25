/** Exec from the caller's side: the same ExecSession that a driver gives, over a WebSocket. */

import { WebSocket, type RawData } from "ws";
import {
  BlixardError,
  failure,
  unreachable,
  type ExecEvent,
  type ExecRequest,
  type ExecSession,
} from "@blixard/std";
import * as limits from "../limits.ts";
import {
  EXEC_SUBPROTOCOL,
  decodeServerFrame,
  encodeClientFrame,
  type ClientFrame,
} from "../wire/exec-frames.ts";
import {
  authHeaders,
  connectionFailure,
  failureFrom,
  readText,
  type CallOptions,
  type Target,
} from "./request.ts";

function bytesOf(data: RawData): Buffer {
  if (Buffer.isBuffer(data)) return data;
  return Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data);
}

function unreachableGuest(ref: string, reason: string): BlixardError {
  return new BlixardError(
    failure("GuestUnreachable", { vm: ref, reason }, `The session with ${ref} ended: ${reason}.`),
  );
}

class RemoteSession implements ExecSession {
  readonly events: AsyncIterable<ExecEvent>;
  readonly #ws: WebSocket;
  readonly #ref: string;
  readonly #queue: ExecEvent[] = [];
  #queuedBytes = 0;
  #credit = limits.EXEC_STDIN_WINDOW_BYTES;
  #ended = false;
  #failed: BlixardError | undefined;
  #wakeReader: (() => void) | undefined;
  #wakeWriters: (() => void)[] = [];
  /** Writers take turns, so that their pieces do not interleave. */
  #writing: Promise<void> = Promise.resolve();

  constructor(ws: WebSocket, ref: string) {
    this.#ws = ws;
    this.#ref = ref;
    this.events = this.#read();
    ws.on("message", (data: RawData, isBinary: boolean) => {
      if (isBinary) this.#receive(bytesOf(data));
      else this.#finish(unreachableGuest(ref, "the server sent text"));
    });
    ws.on("error", (error) => this.#finish(unreachableGuest(ref, error.message)));
    ws.once("close", () => this.#finish(unreachableGuest(ref, "the connection was lost")));
  }

  #receive(bytes: Uint8Array): void {
    const frame = decodeServerFrame(bytes);
    if (frame === undefined) {
      this.#finish(unreachableGuest(this.#ref, "the server sent an unknown frame"));
      return;
    }
    switch (frame.kind) {
      case "stdout":
      case "stderr":
        this.#push(frame, frame.data.length);
        return;
      case "exit":
        this.#push(frame, 0);
        this.#finish(undefined);
        return;
      case "error":
        this.#finish(failureFrom(frame.json, 101, "the server"));
        return;
      case "credit":
        this.#credit += frame.bytes;
        this.#wakeAllWriters();
        return;
      default:
        unreachable(frame);
    }
  }

  #push(event: ExecEvent, bytes: number): void {
    if (this.#ended) return;
    this.#queue.push(event);
    this.#queuedBytes += bytes;
    if (this.#queuedBytes > limits.EXEC_CLIENT_QUEUE_BYTES_MAX) this.#ws.pause();
    this.#wakeReader?.();
  }

  /** The first call decides how the session ended. */
  #finish(failed: BlixardError | undefined): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#failed = failed;
    // A paused socket would never see the other side close.
    if (this.#ws.isPaused) this.#ws.resume();
    this.#ws.close();
    this.#wakeReader?.();
    this.#wakeAllWriters();
  }

  #wakeAllWriters(): void {
    const waiting = this.#wakeWriters;
    this.#wakeWriters = [];
    for (const wake of waiting) wake();
  }

  async *#read(): AsyncGenerator<ExecEvent, void, undefined> {
    try {
      for (;;) {
        const event = this.#queue.shift();
        if (event !== undefined) {
          if (event.kind !== "exit") this.#queuedBytes -= event.data.length;
          if (this.#ws.isPaused && this.#queuedBytes * 2 < limits.EXEC_CLIENT_QUEUE_BYTES_MAX) {
            this.#ws.resume();
          }
          yield event;
        } else if (this.#ended) {
          if (this.#failed !== undefined) throw this.#failed;
          return;
        } else {
          await new Promise<void>((resolve) => {
            this.#wakeReader = resolve;
          });
        }
      }
    } finally {
      this.close();
    }
  }

  #send(frame: ClientFrame): void {
    if (!this.#ended && this.#ws.readyState === WebSocket.OPEN) {
      this.#ws.send(encodeClientFrame(frame));
    }
  }

  write(data: Uint8Array): Promise<void> {
    const turn = this.#writing.then(() => this.#write(data));
    this.#writing = turn;
    return turn;
  }

  /** Data for a process that has ended is dropped: how it ended is told by `events`. */
  async #write(data: Uint8Array): Promise<void> {
    let offset = 0;
    while (offset < data.length && !this.#ended) {
      if (this.#credit === 0) {
        await new Promise<void>((resolve) => this.#wakeWriters.push(resolve));
        continue;
      }
      const size = Math.min(data.length - offset, this.#credit, limits.EXEC_STDIN_FRAME_BYTES);
      this.#credit -= size;
      this.#send({ kind: "stdin", data: data.subarray(offset, offset + size) });
      offset += size;
    }
  }

  closeStdin(): void {
    this.#writing = this.#writing.then(() => this.#send({ kind: "stdinClose" }));
  }

  signal(number: number): void {
    this.#send({ kind: "signal", number });
  }

  resize(rows: number, cols: number): void {
    this.#send({ kind: "resize", rows, cols });
  }

  close(): void {
    this.#finish(unreachableGuest(this.#ref, "closed by the caller"));
  }
}

/** Resolves when the WebSocket is open; what the guest says about the command comes in `events`. */
export async function exec(
  target: Target,
  ref: string,
  request: ExecRequest,
  options: CallOptions,
): Promise<ExecSession> {
  const path = `/v1/vms/${encodeURIComponent(ref)}/exec`;
  const host = target.host.includes(":") ? `[${target.host}]` : target.host;
  const url =
    target.socketPath === undefined
      ? `ws://${host}:${target.port}${path}`
      : `ws+unix:${target.socketPath}:${path}`;
  const { trace, ...start } = request;
  const ws = new WebSocket(url, EXEC_SUBPROTOCOL, {
    headers: authHeaders(target, trace ?? options.trace),
    perMessageDeflate: false,
    maxPayload: limits.EXEC_MESSAGE_BYTES_MAX,
    handshakeTimeout: options.timeoutMs ?? limits.CLIENT_TIMEOUT_MS,
  });
  // Made before it opens: a frame can come in the same packet as the upgrade.
  const session = new RemoteSession(ws, ref);
  await new Promise<void>((resolve, reject) => {
    ws.once("open", () => resolve());
    ws.once("error", (error) => reject(connectionFailure(target, error, path, false)));
    ws.once("unexpected-response", (_request, response) => {
      readText(response)
        .then(
          (text) => reject(failureFrom(text, response.statusCode ?? 0, target.endpoint)),
          (error: unknown) => reject(connectionFailure(target, error, path, false)),
        )
        .finally(() => ws.terminate());
    });
  });
  ws.send(JSON.stringify(start));
  return session;
}
