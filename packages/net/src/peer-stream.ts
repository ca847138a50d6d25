/**
 * One byte stream on its own TLS connection. The opener sends streamOpen and waits for streamAccept
 * or a failure; then both sides send streamData frames and, once, streamEnd. Bytes are framed
 * although the connection carries nothing else, because a TCP end without it must be told from a
 * peer that was killed. Back-pressure is TCP's: what the reader does not take is not read from the
 * socket.
 */

import { Duplex } from "node:stream";
import type { TLSSocket } from "node:tls";
import type { BlixardError } from "@blixard/std";
import { encodeFrame, FRAME, FRAME_HEADER_BYTES, type FrameKind, putFrameHeader } from "./frame.ts";
import { type FrameLimits, FrameParser } from "./frame-parser.ts";
import { outcomeUnknown } from "./handlers.ts";
import type { NetLimits } from "./limits.ts";
import { CALL_OVERHEAD_BYTES } from "./messages.ts";
import type { NetEnv } from "./tls.ts";

const PING = encodeFrame(FRAME.ping, new Uint8Array(0));
const END = encodeFrame(FRAME.streamEnd, new Uint8Array(0));
const BUFFER_BYTES = 256 * 1024;

export type StreamRole = "opener" | "acceptor";
type ControlKind = typeof FRAME.streamOpen | typeof FRAME.streamAccept | typeof FRAME.failure;

function streamLimits(role: StreamRole, limits: NetLimits): FrameLimits {
  const both = {
    [FRAME.ping]: 0,
    [FRAME.streamData]: limits.maxStreamDataBytes,
    [FRAME.streamEnd]: 0,
  };
  if (role === "opener") {
    return { ...both, [FRAME.streamAccept]: 0, [FRAME.failure]: limits.maxFailureBytes };
  }
  const open = limits.maxStreamHeaderBytes + limits.maxMethodBytes + CALL_OVERHEAD_BYTES;
  return { ...both, [FRAME.streamOpen]: open };
}

type Done = (error?: Error | null) => void;

export class PeerStream extends Duplex {
  readonly #socket: TLSSocket;
  readonly #env: NetEnv;
  readonly #parser: FrameParser;
  readonly #onControl: (kind: ControlKind, payload: Uint8Array) => void;
  #what: string;
  #opened = false;
  #peerEnded = false;
  #lastSentMs: number;
  #lastHeardMs: number;
  #socketError: string | undefined;

  constructor(
    options: { socket: TLSSocket; role: StreamRole; what: string },
    env: NetEnv,
    onControl: (kind: ControlKind, payload: Uint8Array) => void,
  ) {
    super({ highWaterMark: BUFFER_BYTES, allowHalfOpen: true });
    this.#socket = options.socket;
    this.#what = options.what;
    this.#env = env;
    this.#onControl = onControl;
    this.#lastSentMs = env.clock.monotonicMs();
    this.#lastHeardMs = this.#lastSentMs;
    const limits = streamLimits(options.role, env.limits);
    this.#parser = new FrameParser(limits, (kind, _flags, payload) => this.#frame(kind, payload));
    // A peer that goes away must not take down a process that has not subscribed to errors.
    this.on("error", (error) => {
      env.log("debug", "stream failed", { stream: this.#what, reason: error.message });
    });
    this.#attach(options.socket);
  }

  /** Data may flow from now on; `what` names the stream in messages. */
  open(what: string): void {
    this.#opened = true;
    this.#what = what;
  }

  sendControl(frame: Uint8Array): void {
    this.#lastSentMs = this.#env.clock.monotonicMs();
    this.#socket.write(frame);
  }

  /** Sends a failure instead of opening, and ends the connection. */
  refuse(frame: Uint8Array): void {
    this.sendControl(frame);
    // Nothing more is awaited from the peer, so that destroy() closes gracefully, behind the frame.
    this.#peerEnded = true;
    this.destroy();
  }

  tick(nowMs: number, stalled: boolean): void {
    const { pingIntervalMs, silenceTimeoutMs } = this.#env.limits;
    // While this side does not read, it cannot hear pings either.
    if (stalled || this.#socket.isPaused()) this.#lastHeardMs = nowMs;
    if (!this.#peerEnded && nowMs - this.#lastHeardMs > silenceTimeoutMs) {
      this.#lost(`nothing was heard for ${silenceTimeoutMs} ms`);
    } else if (
      !this.writableFinished &&
      !this.writableEnded &&
      this.#socket.writableLength === 0 &&
      nowMs - this.#lastSentMs >= pingIntervalMs
    ) {
      this.sendControl(PING);
    }
  }

  #attach(socket: TLSSocket): void {
    socket.on("data", (chunk: Buffer) => {
      this.#lastHeardMs = this.#env.clock.monotonicMs();
      const pushed = this.#parser.push(chunk);
      if (!pushed.ok) this.#lost(`${pushed.error.code}: ${pushed.error.reason}`);
    });
    socket.on("error", (error) => {
      this.#socketError = error.message;
    });
    socket.on("end", () => this.#lost("the peer closed the connection"));
    socket.on("close", () => this.#lost(this.#socketError ?? "the connection was closed"));
  }

  #frame(kind: FrameKind, payload: Uint8Array): void {
    if (kind === FRAME.ping) return;
    if (kind === FRAME.streamOpen || kind === FRAME.streamAccept || kind === FRAME.failure) {
      if (this.#opened) this.#lost(`frame kind ${kind} on an open stream`);
      else this.#onControl(kind, payload);
    } else if (!this.#opened || this.#peerEnded) {
      this.#lost(
        `frame kind ${kind} ${this.#opened ? "after the end" : "before the stream is open"}`,
      );
    } else if (kind === FRAME.streamEnd) {
      this.#peerEnded = true;
      this.push(null);
    } else if (!this.push(payload)) {
      this.#socket.pause();
    }
  }

  /** Before both sides have ended, losing the connection is an error, never an end. */
  #lost(reason: string): void {
    if (this.destroyed || (this.#peerEnded && this.writableFinished)) return;
    this.destroy(outcomeUnknown(this.#what, reason));
  }

  override _read(): void {
    if (!this.#socket.isPaused()) return;
    this.#lastHeardMs = this.#env.clock.monotonicMs();
    this.#socket.resume();
  }

  override _write(chunk: Uint8Array, _encoding: BufferEncoding, done: Done): void {
    this.#writeFrames([chunk], done);
  }

  override _writev(chunks: { chunk: Uint8Array }[], done: Done): void {
    this.#writeFrames(
      chunks.map(({ chunk }) => chunk),
      done,
    );
  }

  #writeFrames(chunks: readonly Uint8Array[], done: Done): void {
    const socket = this.#socket;
    const most = this.#env.limits.maxStreamDataBytes;
    this.#lastSentMs = this.#env.clock.monotonicMs();
    let last: Uint8Array | undefined;
    const queue = (bytes: Uint8Array): void => {
      if (last !== undefined) socket.write(last);
      last = bytes;
    };
    socket.cork();
    for (const chunk of chunks) {
      for (let at = 0; at < chunk.length; at += most) {
        const piece = chunk.subarray(at, at + most);
        const header = new Uint8Array(FRAME_HEADER_BYTES);
        putFrameHeader(header, 0, FRAME.streamData, 0, piece.length);
        queue(header);
        queue(piece);
      }
    }
    // The last write's completion stands for all: the kernel has taken every byte.
    if (last === undefined) done();
    else socket.write(last, done);
    socket.uncork();
  }

  override _final(done: Done): void {
    this.#socket.write(END, done);
  }

  override _destroy(error: Error | null, done: Done): void {
    const graceful = error === null && this.#peerEnded;
    this.#parser.stop();
    if (graceful) {
      this.#socket.end();
      this.#linger();
    } else {
      this.#socket.destroy();
    }
    done(error);
  }

  /**
   * Keeps reading until the peer closes too: closing with unread bytes would reset the connection.
   */
  #linger(): void {
    const socket = this.#socket;
    socket.resume();
    const timer = setTimeout(() => socket.destroy(), this.#env.limits.lingerMs);
    socket.once("close", () => clearTimeout(timer));
  }
}

/** The error that ends a stream of a peer that is no longer a member. */
export function streamRemoved(method: string): BlixardError {
  return outcomeUnknown(method, "the peer was removed from the membership");
}
