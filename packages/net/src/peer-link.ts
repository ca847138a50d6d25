/**
 * This node's own connection to one member: everything it sends there, and the answers to its
 * requests.
 *
 *   waiting --timer--> dialing --TLS, key pinned--> greeting --first frame--> up
 *      ^                  |                             |                      |
 *      +------------------+------ back-off, jitter -----+----------------------+
 *
 * The server's first frame means that it found this node's key in its membership: under TLS 1.3 a
 * client is connected before the server has judged it, so nothing is sent earlier and back-off is
 * not reset.
 */

import { assert, type BlixardError, type TraceContext } from "@blixard/std";
import { FramedConnection } from "./connection.ts";
import { decodeFailure } from "./failure-codec.ts";
import { FRAME, type FrameKind } from "./frame.ts";
import type { FrameLimits } from "./frame-parser.ts";
import { outcomeUnknown, timedOut, tooLarge, unavailable } from "./handlers.ts";
import type { NetLimits } from "./limits.ts";
import { decodeAnswer, encodeCall, isMethod } from "./messages.ts";
import { SendQueue } from "./send-queue.ts";
import { ALPN_PEER, dial, type NetEnv } from "./tls.ts";
import type { Channel, PeerInfo } from "./types.ts";

interface Pending {
  readonly method: string;
  readonly bytes: number;
  readonly timeoutMs: number;
  readonly timer: NodeJS.Timeout;
  readonly resolve: (body: Uint8Array) => void;
  readonly reject: (error: BlixardError) => void;
  /** Present until it is handed to a connection; from then on the outcome of a loss is unknown. */
  frame: Uint8Array | undefined;
}

function answerLimits(limits: NetLimits): FrameLimits {
  return {
    [FRAME.ping]: 0,
    [FRAME.response]: limits.maxResponseBytes + 4,
    [FRAME.failure]: limits.maxFailureBytes + 4,
  };
}

export class PeerLink {
  readonly #info: PeerInfo;
  readonly #env: NetEnv;
  readonly #onLost: () => void;
  readonly #queue: SendQueue;
  readonly #pending = new Map<number, Pending>();
  readonly #abort = new AbortController();
  #pendingBytes = 0;
  #nextId = 1;
  #connection: FramedConnection | undefined;
  #up = false;
  #attempts = 0;
  #retryTimer: NodeJS.Timeout | undefined;
  #greetingTimer: NodeJS.Timeout | undefined;
  #lastReason = "not connected yet";

  /** `onLost`: a connection that was up ended by itself. */
  constructor(info: PeerInfo, env: NetEnv, onLost: () => void = () => undefined) {
    this.#info = info;
    this.#env = env;
    this.#onLost = onLost;
    this.#queue = new SendQueue(env.limits);
    this.#dial();
  }

  get isUp(): boolean {
    return this.#up;
  }

  send(channel: Channel, message: Uint8Array): boolean {
    const accepted = this.#queue.pushDatagram(channel, message);
    if (accepted && this.#up) this.#connection?.wake();
    return accepted;
  }

  request(
    method: string,
    body: Uint8Array,
    options: { timeoutMs: number; trace?: TraceContext },
  ): Promise<Uint8Array> {
    const { limits } = this.#env;
    assert(isMethod(method, limits.maxMethodBytes), `"${method}" is no method name`);
    const { timeoutMs, trace } = options;
    if (body.length > limits.maxRequestBytes) {
      return Promise.reject(tooLarge(`request ${method}`, limits.maxRequestBytes, body.length));
    }
    if (
      this.#pending.size >= limits.maxInFlightRequests ||
      this.#pendingBytes + body.length > limits.maxInFlightBytes
    ) {
      const count = `${this.#pending.size} requests wait for ${this.#info.address}`;
      return Promise.reject(unavailable(count, "Retry when some have been answered."));
    }
    const id = this.#nextId;
    this.#nextId = id === 0xffffffff ? 1 : id + 1;
    const frame = encodeCall(FRAME.request, { id, timeoutMs, method, trace, body });
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#expire(id), timeoutMs);
      const bytes = body.length;
      this.#pending.set(id, { method, bytes, timeoutMs, timer, resolve, reject, frame });
      this.#pendingBytes += bytes;
      if (this.#up) this.#transmit();
    });
  }

  tick(nowMs: number, stalled: boolean): void {
    if (stalled) this.#connection?.forgiveSilence(nowMs);
    if (this.#up) this.#connection?.tick(nowMs);
  }

  /** Ends the connection and every request on it, for good. */
  stop(reason: string): void {
    this.#abort.abort();
    clearTimeout(this.#retryTimer);
    clearTimeout(this.#greetingTimer);
    this.#connection?.destroy(reason);
    this.#queue.clear();
    for (const id of this.#pending.keys()) this.#lose(id, reason);
  }

  #dial(): void {
    const { address, publicKey } = this.#info;
    const timeoutMs = this.#env.limits.handshakeTimeoutMs;
    const { signal } = this.#abort;
    dial(this.#env, { address, publicKey, alpn: ALPN_PEER, timeoutMs, signal }).then(
      (socket) => {
        const connection = new FramedConnection(
          { socket, queue: this.#queue, frameLimits: answerLimits(this.#env.limits) },
          this.#env,
          {
            onFrame: (kind, _flags, payload) => this.#onFrame(kind, payload),
            onGreeting: () => this.#onGreeting(),
            onClose: (reason) => this.#onDown(reason),
          },
        );
        this.#connection = connection;
        this.#greetingTimer = setTimeout(
          () => connection.destroy(`no greeting within ${timeoutMs} ms`),
          timeoutMs,
        );
      },
      (caught: unknown) => this.#onDown(caught instanceof Error ? caught.message : String(caught)),
    );
  }

  #onGreeting(): void {
    clearTimeout(this.#greetingTimer);
    this.#up = true;
    this.#attempts = 0;
    this.#env.log("info", "connected to peer", { address: this.#info.address });
    this.#transmit();
    this.#connection?.wake();
  }

  #onDown(reason: string): void {
    clearTimeout(this.#greetingTimer);
    const wasUp = this.#up;
    this.#up = false;
    this.#connection = undefined;
    this.#lastReason =
      wasUp || reason !== "the peer closed the connection"
        ? reason
        : "the peer closed the connection at once; it may not know this node's key yet";
    // Stale datagrams help nobody, and half a fragmented one would break the next connection.
    this.#queue.clear();
    for (const [id, pending] of this.#pending) {
      if (pending.frame === undefined) this.#lose(id, reason);
    }
    if (this.#abort.signal.aborted) return;
    if (wasUp) this.#onLost();
    const delayMs = this.#backOffMs();
    const { address } = this.#info;
    this.#env.log(wasUp ? "warn" : "debug", "peer is not connected", { address, reason, delayMs });
    this.#retryTimer = setTimeout(() => this.#dial(), delayMs);
  }

  /** Doubles up to the maximum; the upper half is random, so that nodes do not dial in step. */
  #backOffMs(): number {
    const { reconnectMinMs, reconnectMaxMs } = this.#env.limits;
    const exponent = Math.min(this.#attempts, 16);
    this.#attempts += 1;
    const ceilingMs = Math.min(reconnectMaxMs, reconnectMinMs * 2 ** exponent);
    return ceilingMs / 2 + (ceilingMs / 2) * (this.#env.random.u32() / 4294967296);
  }

  #transmit(): void {
    for (const pending of this.#pending.values()) {
      if (pending.frame === undefined) continue;
      // Cannot be refused: requests in flight are bounded below the lane's bound.
      this.#queue.pushCall(pending.frame);
      pending.frame = undefined;
    }
    this.#connection?.wake();
  }

  #onFrame(kind: FrameKind, payload: Uint8Array): void {
    const answer = decodeAnswer(payload);
    if (!answer.ok) {
      this.#connection?.destroy(answer.error);
      return;
    }
    const pending = this.#take(answer.value.id);
    // Answered after its deadline: the caller was told already.
    if (pending === undefined) return;
    if (kind === FRAME.response) pending.resolve(answer.value.body);
    else pending.reject(decodeFailure(answer.value.body, `node ${this.#info.nodeId}`));
  }

  #take(id: number): Pending | undefined {
    const pending = this.#pending.get(id);
    if (pending === undefined) return undefined;
    this.#pending.delete(id);
    this.#pendingBytes -= pending.bytes;
    clearTimeout(pending.timer);
    return pending;
  }

  #expire(id: number): void {
    const pending = this.#take(id);
    if (pending === undefined) return;
    const { method, timeoutMs } = pending;
    if (pending.frame === undefined) pending.reject(timedOut(method, timeoutMs));
    else pending.reject(this.#notConnected(`not connected within ${timeoutMs} ms`));
  }

  #lose(id: number, reason: string): void {
    const pending = this.#take(id);
    if (pending === undefined) return;
    if (pending.frame === undefined) pending.reject(outcomeUnknown(pending.method, reason));
    else pending.reject(this.#notConnected(reason));
  }

  #notConnected(what: string): BlixardError {
    const { nodeId, address } = this.#info;
    return unavailable(
      `node ${nodeId} at ${address}: ${what} (${this.#lastReason})`,
      "Nothing was sent. Check the node with `blixard node status` and retry.",
    );
  }
}
