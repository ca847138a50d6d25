/**
 * The door for nodes that are no members yet: any key, one bounded request, one answer, a deadline.
 */

import type { TLSSocket } from "node:tls";
import { type BlixardError, type PublicKeyHex, toBlixardError } from "@blixard/std";
import { decodeFailure, encodeFailure } from "./failure-codec.ts";
import { encodeFrame, FRAME, type FrameKind } from "./frame.ts";
import { FrameParser } from "./frame-parser.ts";
import { type Handlers, outcomeUnknown, timedOut, tooLarge, unavailable } from "./handlers.ts";
import { ALPN_JOIN, dial, type NetEnv } from "./tls.ts";

/**
 * Rejects with Unavailable before anything was sent, then with OutcomeUnknown, TimedOut or the
 * answer.
 */
export async function joinThrough(
  server: { address: string; publicKey: PublicKeyHex },
  body: Uint8Array,
  timeoutMs: number,
  env: NetEnv,
): Promise<Uint8Array> {
  const { maxFailureBytes, maxJoinBytes } = env.limits;
  if (body.length > maxJoinBytes) throw tooLarge("join request", maxJoinBytes, body.length);
  const startMs = env.clock.monotonicMs();
  const socket = await dial(env, { ...server, alpn: ALPN_JOIN, timeoutMs });
  const leftMs = Math.max(1, timeoutMs - (env.clock.monotonicMs() - startMs));
  return new Promise<Uint8Array>((resolve, reject) => {
    const settle = (error: BlixardError | undefined, reply?: Uint8Array): void => {
      clearTimeout(timer);
      parser.stop();
      socket.destroy();
      if (reply === undefined) reject(error ?? outcomeUnknown("join", "no reason was given"));
      else resolve(reply);
    };
    const parser = new FrameParser(
      { [FRAME.joinReply]: maxJoinBytes, [FRAME.failure]: maxFailureBytes },
      (kind, _flags, payload) => {
        if (kind === FRAME.joinReply) settle(undefined, payload);
        else settle(decodeFailure(payload, `server ${server.address}`));
      },
    );
    const timer = setTimeout(() => settle(timedOut("join", timeoutMs)), leftMs);
    socket.on("data", (chunk: Buffer) => {
      const pushed = parser.push(chunk);
      if (!pushed.ok) settle(outcomeUnknown("join", pushed.error.reason));
    });
    socket.on("close", () => settle(outcomeUnknown("join", "the connection was closed")));
    socket.write(encodeFrame(FRAME.joinRequest, body));
  });
}

/** Serves join connections; at most `maxJoins` at once, the rest are told to come back. */
export class JoinDoor {
  readonly #env: NetEnv;
  readonly #handlers: Handlers;
  #open = 0;

  constructor(env: NetEnv, handlers: Handlers) {
    this.#env = env;
    this.#handlers = handlers;
  }

  accept(socket: TLSSocket, from: PublicKeyHex): void {
    const { joinHandlerTimeoutMs, joinRequestTimeoutMs, maxJoinBytes, maxJoins } = this.#env.limits;
    if (this.#open >= maxJoins) {
      this.#fail(socket, unavailable(`${maxJoins} nodes are joining already`, "Retry shortly."));
      return;
    }
    this.#open += 1;
    let timer = setTimeout(() => socket.destroy(), joinRequestTimeoutMs);
    socket.once("close", () => {
      clearTimeout(timer);
      this.#open -= 1;
    });
    let asked = false;
    const parser = new FrameParser({ [FRAME.joinRequest]: maxJoinBytes }, (_kind, _flags, body) => {
      if (asked) {
        socket.destroy();
        return;
      }
      asked = true;
      clearTimeout(timer);
      timer = setTimeout(() => {
        this.#fail(socket, timedOut("join", joinHandlerTimeoutMs));
      }, joinHandlerTimeoutMs);
      this.#answer(socket, from, body).catch((caught: unknown) => {
        this.#fail(socket, toBlixardError(caught));
      });
    });
    socket.on("data", (chunk: Buffer) => {
      const pushed = parser.push(chunk);
      if (pushed.ok) return;
      this.#env.log("warn", "join refused", { reason: pushed.error.reason, from });
      parser.stop();
      socket.destroy();
    });
  }

  async #answer(socket: TLSSocket, from: PublicKeyHex, body: Uint8Array): Promise<void> {
    const reply = await this.#handlers.join(from, body);
    const { maxJoinBytes } = this.#env.limits;
    if (reply.length > maxJoinBytes) throw tooLarge("join reply", maxJoinBytes, reply.length);
    this.#finish(socket, FRAME.joinReply, reply);
  }

  #fail(socket: TLSSocket, error: BlixardError): void {
    const failed = encodeFailure(error, this.#env.limits.maxFailureBytes);
    this.#finish(socket, FRAME.failure, failed);
  }

  #finish(socket: TLSSocket, kind: FrameKind, payload: Uint8Array): void {
    if (socket.destroyed || socket.writableEnded) return;
    socket.end(encodeFrame(kind, payload));
    socket.resume();
    const timer = setTimeout(() => socket.destroy(), this.#env.limits.lingerMs);
    socket.once("close", () => clearTimeout(timer));
  }
}
