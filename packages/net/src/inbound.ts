/**
 * The connection that a member dialled: its datagrams and requests come in here, its answers go
 * out.
 */

import type { TLSSocket } from "node:tls";
import { toBlixardError } from "@blixard/std";
import { FramedConnection } from "./connection.ts";
import { encodeFailure } from "./failure-codec.ts";
import { FLAG_FRAGMENT, FRAME, FRAGMENT_HEADER_BYTES, type FrameKind } from "./frame.ts";
import type { FrameLimits } from "./frame-parser.ts";
import { type Handlers, tooLarge, unavailable } from "./handlers.ts";
import type { NetLimits } from "./limits.ts";
import { type Call, CALL_OVERHEAD_BYTES, decodeCall, encodeAnswer } from "./messages.ts";
import { Reassembler } from "./reassembler.ts";
import { SendQueue } from "./send-queue.ts";
import type { NetEnv } from "./tls.ts";
import type { Channel, PeerInfo } from "./types.ts";

function inboundLimits(limits: NetLimits): FrameLimits {
  const datagram = limits.fragmentBytes + FRAGMENT_HEADER_BYTES;
  return {
    [FRAME.ping]: 0,
    [FRAME.raft]: datagram,
    [FRAME.lease]: datagram,
    [FRAME.request]: limits.maxRequestBytes + limits.maxMethodBytes + CALL_OVERHEAD_BYTES,
  };
}

export class PeerInbound {
  readonly #peer: { readonly info: PeerInfo };
  readonly #env: NetEnv;
  readonly #handlers: Handlers;
  readonly #queue: SendQueue;
  readonly #connection: FramedConnection;
  readonly #partial: { readonly [C in Channel]: Reassembler };
  #running = 0;

  constructor(
    options: { socket: TLSSocket; peer: { readonly info: PeerInfo } },
    deps: { env: NetEnv; handlers: Handlers; onClose: () => void },
  ) {
    const { env } = deps;
    const { peer, socket } = options;
    this.#peer = peer;
    this.#env = env;
    this.#handlers = deps.handlers;
    this.#queue = new SendQueue(env.limits);
    const { maxDatagramBytes } = env.limits;
    this.#partial = {
      raft: new Reassembler(maxDatagramBytes),
      lease: new Reassembler(maxDatagramBytes),
    };
    this.#connection = new FramedConnection(
      { socket, queue: this.#queue, frameLimits: inboundLimits(env.limits) },
      env,
      {
        onFrame: (kind, flags, payload) => this.#onFrame(kind, flags, payload),
        onClose: (reason) => {
          env.log("debug", "peer's connection ended", { nodeId: peer.info.nodeId, reason });
          this.#queue.clear();
          deps.onClose();
        },
      },
    );
    this.#connection.ping();
  }

  tick(nowMs: number, stalled: boolean): void {
    if (stalled) this.#connection.forgiveSilence(nowMs);
    this.#connection.tick(nowMs);
  }

  destroy(reason: string): void {
    this.#connection.destroy(reason);
  }

  #onFrame(kind: FrameKind, flags: number, payload: Uint8Array): void {
    if (kind === FRAME.raft) this.#datagram("raft", flags, payload);
    else if (kind === FRAME.lease) this.#datagram("lease", flags, payload);
    else this.#request(payload);
  }

  #datagram(channel: Channel, flags: number, payload: Uint8Array): void {
    if ((flags & FLAG_FRAGMENT) === 0) {
      this.#handlers.deliver(channel, this.#peer.info.peerId, payload);
      return;
    }
    const whole = this.#partial[channel].push(payload);
    if (!whole.ok) this.#connection.destroy(`BadFragment: ${whole.error}`);
    else if (whole.value !== undefined) {
      this.#handlers.deliver(channel, this.#peer.info.peerId, whole.value);
    }
  }

  #request(payload: Uint8Array): void {
    const call = decodeCall(payload);
    if (!call.ok) {
      this.#connection.destroy(`BadRequest: ${call.error}`);
      return;
    }
    const { id, method } = call.value;
    if (this.#running >= this.#env.limits.maxHandlers) {
      const busy = unavailable(`${this.#running} requests of this peer are being answered`);
      this.#reply(FRAME.failure, id, encodeFailure(busy, this.#env.limits.maxFailureBytes));
      return;
    }
    this.#running += 1;
    this.#run(call.value)
      .finally(() => {
        this.#running -= 1;
      })
      .catch((caught: unknown) => {
        this.#connection.destroy(`answering ${method} failed: ${toBlixardError(caught).message}`);
      });
  }

  async #run(call: Call): Promise<void> {
    const { maxFailureBytes, maxResponseBytes } = this.#env.limits;
    try {
      const body = await this.#handlers.answer(this.#peer.info, call);
      if (body.length > maxResponseBytes) {
        throw tooLarge(`the answer to ${call.method}`, maxResponseBytes, body.length);
      }
      this.#reply(FRAME.response, call.id, body);
    } catch (caught) {
      const failed = encodeFailure(toBlixardError(caught), maxFailureBytes);
      this.#reply(FRAME.failure, call.id, failed);
    }
  }

  #reply(kind: FrameKind, id: number, body: Uint8Array): void {
    if (this.#connection.isClosed) return;
    if (this.#queue.pushCall(encodeAnswer(kind, id, body))) this.#connection.wake();
    else this.#connection.destroy("answers pile up: the peer does not read them");
  }
}
