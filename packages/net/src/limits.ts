/** Every bound of this room, once. Tests pass smaller ones; production uses the defaults. */

import { assert } from "@blixard/std";

const KIB = 1024;
const MIB = 1024 * KIB;

export interface NetLimits {
  /** Largest datagram; longer ones are refused by `send`. */
  readonly maxDatagramBytes: number;
  /**
   * Datagrams up to this size may overtake longer ones of their channel (votes, acks, heartbeats).
   */
  readonly smallDatagramBytes: number;
  /**
   * Longer datagrams are cut into fragments of this size, so that nothing waits behind a whole one.
   */
  readonly fragmentBytes: number;
  readonly maxRequestBytes: number;
  readonly maxResponseBytes: number;
  readonly maxFailureBytes: number;
  readonly maxStreamHeaderBytes: number;
  readonly maxStreamDataBytes: number;
  readonly maxJoinBytes: number;
  readonly maxMethodBytes: number;
  /** Per peer: frames and bytes that wait for the socket, by channel. */
  readonly raftQueueFrames: number;
  readonly raftQueueBytes: number;
  readonly leaseQueueFrames: number;
  readonly leaseQueueBytes: number;
  /** Per peer: requests without an answer yet, in number and in bytes. */
  readonly maxInFlightRequests: number;
  readonly maxInFlightBytes: number;
  /** Per peer: request handlers running here at once; more are answered with Unavailable. */
  readonly maxHandlers: number;
  /** Per peer: answers waiting for the socket; beyond it the connection is ended. */
  readonly replyQueueBytes: number;
  readonly maxStreamsPerPeer: number;
  readonly maxJoins: number;
  /** TCP connections that have not finished their TLS handshake. */
  readonly maxHandshakes: number;
  /** One socket write gathers frames up to about this size. */
  readonly writeBatchBytes: number;
  /** From TCP connect or accept to the peer's first frame. */
  readonly handshakeTimeoutMs: number;
  /** From the end of the handshake to the complete join request. */
  readonly joinRequestTimeoutMs: number;
  /** Longest run of the join handler (it waits for a commit). */
  readonly joinHandlerTimeoutMs: number;
  readonly pingIntervalMs: number;
  readonly silenceTimeoutMs: number;
  readonly reconnectMinMs: number;
  readonly reconnectMaxMs: number;
  /** How long a finished stream waits for the peer's own close before its socket is destroyed. */
  readonly lingerMs: number;
}

export const DEFAULT_LIMITS: NetLimits = {
  maxDatagramBytes: 8 * MIB,
  smallDatagramBytes: 4 * KIB,
  fragmentBytes: 64 * KIB,
  maxRequestBytes: 1 * MIB,
  maxResponseBytes: 4 * MIB,
  maxFailureBytes: 64 * KIB,
  maxStreamHeaderBytes: 64 * KIB,
  maxStreamDataBytes: 64 * KIB,
  maxJoinBytes: 64 * KIB,
  maxMethodBytes: 64,
  raftQueueFrames: 8192,
  raftQueueBytes: 32 * MIB,
  leaseQueueFrames: 256,
  leaseQueueBytes: 256 * KIB,
  maxInFlightRequests: 256,
  maxInFlightBytes: 16 * MIB,
  maxHandlers: 256,
  replyQueueBytes: 32 * MIB,
  maxStreamsPerPeer: 256,
  maxJoins: 16,
  maxHandshakes: 256,
  writeBatchBytes: 128 * KIB,
  handshakeTimeoutMs: 5000,
  joinRequestTimeoutMs: 5000,
  joinHandlerTimeoutMs: 30_000,
  pingIntervalMs: 1000,
  silenceTimeoutMs: 6000,
  reconnectMinMs: 50,
  reconnectMaxMs: 2000,
  lingerMs: 2000,
};

/** The defaults with some replaced; the relations that the code relies on are asserted. */
export function netLimits(overrides: Partial<NetLimits> = {}): NetLimits {
  const limits = { ...DEFAULT_LIMITS, ...overrides };
  for (const [name, value] of Object.entries(limits)) {
    assert(Number.isSafeInteger(value) && value > 0, `limit ${name} must be a positive integer`);
  }
  assert(limits.smallDatagramBytes <= limits.fragmentBytes, "a small datagram is one frame");
  assert(limits.fragmentBytes <= limits.maxDatagramBytes, "a fragment fits into a datagram");
  assert(
    limits.maxDatagramBytes <= limits.raftQueueBytes / 2,
    "the raft queue holds two datagrams",
  );
  assert(limits.maxRequestBytes <= limits.maxInFlightBytes, "one request fits the in-flight bound");
  assert(limits.maxResponseBytes <= limits.replyQueueBytes, "one answer fits the reply queue");
  assert(limits.maxHandlers >= limits.maxInFlightRequests, "an honest peer is never turned away");
  assert(limits.maxMethodBytes < 256, "a method's length is one byte on the wire");
  assert(limits.pingIntervalMs * 3 <= limits.silenceTimeoutMs, "two lost pings are no silence");
  assert(limits.reconnectMinMs <= limits.reconnectMaxMs, "back-off grows");
  return limits;
}
