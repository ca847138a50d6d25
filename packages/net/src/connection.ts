/**
 * A framed connection over an authenticated socket: batched writes from a SendQueue, parsed frames
 * out, pings when idle, an end when silent. Every fault ends it once, with one reason.
 */

import type { TLSSocket } from "node:tls";
import { encodeFrame, FRAME } from "./frame.ts";
import { type FrameLimits, type FrameListener, FrameParser } from "./frame-parser.ts";
import type { NetEnv } from "./tls.ts";
import type { SendQueue } from "./send-queue.ts";

const PING = encodeFrame(FRAME.ping, new Uint8Array(0));

export interface ConnectionEvents {
  readonly onFrame: FrameListener;
  /** Called once, at the first frame, whatever it is. */
  readonly onGreeting?: () => void;
  /** Called exactly once. */
  readonly onClose: (reason: string) => void;
}

export class FramedConnection {
  readonly #socket: TLSSocket;
  readonly #queue: SendQueue;
  readonly #env: NetEnv;
  readonly #events: ConnectionEvents;
  readonly #parser: FrameParser;
  #lastSentMs: number;
  #lastHeardMs: number;
  #flushScheduled = false;
  #blocked = false;
  #closed = false;
  #greeted = false;
  #socketError: string | undefined;

  constructor(
    options: { socket: TLSSocket; queue: SendQueue; frameLimits: FrameLimits },
    env: NetEnv,
    events: ConnectionEvents,
  ) {
    const { socket } = options;
    this.#socket = socket;
    this.#queue = options.queue;
    this.#env = env;
    this.#events = events;
    this.#lastSentMs = env.clock.monotonicMs();
    this.#lastHeardMs = this.#lastSentMs;
    this.#parser = new FrameParser(options.frameLimits, (kind, flags, payload) => {
      if (!this.#greeted) {
        this.#greeted = true;
        events.onGreeting?.();
      }
      if (kind !== FRAME.ping) events.onFrame(kind, flags, payload);
    });
    socket.on("data", (chunk: Buffer) => this.#received(chunk));
    socket.on("drain", () => {
      this.#blocked = false;
      this.#flush();
    });
    socket.on("error", (error) => {
      this.#socketError = error.message;
    });
    socket.on("end", () => {
      const ended = this.#parser.end();
      this.destroy(ended.ok ? "the peer closed the connection" : ended.error.reason);
    });
    socket.on("close", () => this.destroy(this.#socketError ?? "the connection was closed"));
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  /**
   * What is in the queue goes out at the end of this turn, gathered into as few writes as possible.
   */
  wake(): void {
    if (this.#flushScheduled || this.#blocked || this.#closed) return;
    this.#flushScheduled = true;
    queueMicrotask(() => {
      this.#flushScheduled = false;
      this.#flush();
    });
  }

  /** Also the greeting: a server's first frame tells the client that it is a member. */
  ping(): void {
    this.#queue.pushCall(PING);
    this.wake();
  }

  /** To be called a few times within each ping interval. */
  tick(nowMs: number): void {
    const { pingIntervalMs, silenceTimeoutMs } = this.#env.limits;
    if (nowMs - this.#lastHeardMs > silenceTimeoutMs) {
      this.destroy(`nothing was heard for ${silenceTimeoutMs} ms`);
    } else if (!this.#blocked && nowMs - this.#lastSentMs >= pingIntervalMs) {
      this.ping();
    }
  }

  /** After this process itself was stopped for a while, silence proves nothing about the peer. */
  forgiveSilence(nowMs: number): void {
    this.#lastHeardMs = nowMs;
  }

  destroy(reason: string): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#parser.stop();
    this.#socket.destroy();
    this.#events.onClose(reason);
  }

  #received(chunk: Buffer): void {
    if (this.#closed) return;
    this.#lastHeardMs = this.#env.clock.monotonicMs();
    const pushed = this.#parser.push(chunk);
    if (!pushed.ok) this.destroy(`${pushed.error.code}: ${pushed.error.reason}`);
  }

  #flush(): void {
    while (!this.#blocked && !this.#closed) {
      const batch = this.#queue.nextBatch();
      if (batch === undefined) return;
      this.#lastSentMs = this.#env.clock.monotonicMs();
      // One batch at a time in the socket's own buffer: what is queued here can still be overtaken.
      this.#blocked = !this.#socket.write(batch);
    }
  }
}
