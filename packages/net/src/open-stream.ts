/**
 * Both ends of opening a stream: dial and wait for the accept; receive the open and find its
 * handler.
 */

import type { Duplex } from "node:stream";
import type { TLSSocket } from "node:tls";
import { assert, type BlixardError, type TraceContext } from "@blixard/std";
import { decodeFailure, encodeFailure } from "./failure-codec.ts";
import { encodeFrame, FRAME } from "./frame.ts";
import { type Handlers, noSuchMethod, tooLarge, unavailable } from "./handlers.ts";
import { decodeCall, encodeCall, isMethod } from "./messages.ts";
import { PeerStream } from "./peer-stream.ts";
import { ALPN_STREAM, dial, type NetEnv } from "./tls.ts";
import type { PeerInfo } from "./types.ts";

/** Streams of one member, so that its removal ends them; bounded by `maxStreamsPerPeer`. */
export class StreamSet {
  readonly #max: number;
  readonly #streams = new Set<PeerStream>();

  constructor(max: number) {
    this.#max = max;
  }

  get isFull(): boolean {
    return this.#streams.size >= this.#max;
  }

  add(stream: PeerStream): void {
    this.#streams.add(stream);
    stream.once("close", () => this.#streams.delete(stream));
  }

  tick(nowMs: number, stalled: boolean): void {
    for (const stream of this.#streams) stream.tick(nowMs, stalled);
  }

  destroy(error: BlixardError): void {
    for (const stream of this.#streams) stream.destroy(error);
  }
}

interface OpenOptions {
  readonly timeoutMs: number;
  readonly trace?: TraceContext;
}

/**
 * Resolves when the peer accepted. Rejects with Unavailable, TooLarge, or what the peer answered.
 */
export async function openStream(
  peer: { info: PeerInfo; streams: StreamSet; signal: AbortSignal },
  call: { method: string; header: Uint8Array; options: OpenOptions },
  env: NetEnv,
): Promise<Duplex> {
  const { method, header } = call;
  const { timeoutMs, trace } = call.options;
  const { limits } = env;
  assert(isMethod(method, limits.maxMethodBytes), `"${method}" is no method name`);
  if (header.length > limits.maxStreamHeaderBytes) {
    throw tooLarge(`header of stream ${method}`, limits.maxStreamHeaderBytes, header.length);
  }
  const { address, publicKey, nodeId } = peer.info;
  if (peer.streams.isFull) {
    throw unavailable(`${limits.maxStreamsPerPeer} streams with node ${nodeId} are open`);
  }
  const startMs = env.clock.monotonicMs();
  const socket = await dial(env, {
    address,
    publicKey,
    alpn: ALPN_STREAM,
    timeoutMs,
    signal: peer.signal,
  });
  const leftMs = Math.max(1, timeoutMs - (env.clock.monotonicMs() - startMs));
  return new Promise<Duplex>((resolve, reject) => {
    const stream = new PeerStream(
      { socket, role: "opener", what: `stream ${method}` },
      env,
      (kind, payload) => {
        clearTimeout(timer);
        stream.off("close", onClose);
        if (kind === FRAME.streamAccept) {
          stream.open(`stream ${method}`);
          resolve(stream);
        } else {
          stream.destroy();
          reject(decodeFailure(payload, `node ${nodeId}`));
        }
      },
    );
    peer.streams.add(stream);
    const onClose = (): void => {
      clearTimeout(timer);
      // Nothing was accepted, so nothing was started: safe to retry.
      reject(unavailable(`node ${nodeId} at ${address} ended stream ${method} unaccepted`));
    };
    const timer = setTimeout(() => stream.destroy(), leftMs);
    stream.once("close", onClose);
    const id = 0;
    stream.sendControl(
      encodeCall(FRAME.streamOpen, { id, timeoutMs, method, trace, body: header }),
    );
  });
}

/** Serves a stream connection of a member. */
export function acceptStream(
  socket: TLSSocket,
  peer: { info: PeerInfo; streams: StreamSet },
  deps: { env: NetEnv; handlers: Handlers },
): void {
  const { env, handlers } = deps;
  const { limits } = env;
  const refuse = (error: BlixardError): void => {
    stream.refuse(encodeFrame(FRAME.failure, encodeFailure(error, limits.maxFailureBytes)));
  };
  const full = peer.streams.isFull;
  const stream = new PeerStream(
    { socket, role: "acceptor", what: "incoming stream" },
    env,
    (_kind, payload) => {
      clearTimeout(timer);
      const call = decodeCall(payload);
      if (!call.ok) {
        stream.destroy(unavailable(`malformed open: ${call.error}`));
        return;
      }
      const { method } = call.value;
      if (full) refuse(unavailable(`${limits.maxStreamsPerPeer} streams of this peer are open`));
      else if (!handlers.hasStream(method)) refuse(noSuchMethod("stream", method));
      else {
        stream.open(`stream ${method}`);
        stream.sendControl(encodeFrame(FRAME.streamAccept, new Uint8Array(0)));
        handlers.startStream(peer.info, call.value, stream);
      }
    },
  );
  // Even a refused one is in the set until it ends, so that its peer's removal reaches it.
  peer.streams.add(stream);
  const timer = setTimeout(
    () => stream.destroy(unavailable("no stream was opened in time")),
    limits.handshakeTimeoutMs,
  );
  stream.once("close", () => clearTimeout(timer));
}
