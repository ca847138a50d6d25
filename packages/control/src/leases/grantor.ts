/**
 * The leader's side of all leases. Plain data; time comes in with each call.
 *
 * Why no VM of a node lives when its lease is declared lost. Let a node send a renewal at instant s
 * and the leader grant it at instant g, after a quorum round begun when the request had come in:
 * s lies before g.
 *   1. The node's VMs are dead once its clock has advanced stopAfterMs since s, plus at most
 *      maxClockJumpMs of unseen suspension and LEASE_KILL_ALLOWANCE_MS of killing.
 *   2. While the node's clock advances x, the leader's advances at most x * (1 + maxDriftRatio).
 *      Hence on the leader's clock they are dead by
 *      s + (stopAfterMs + maxClockJumpMs + LEASE_KILL_ALLOWANCE_MS) * (1 + maxDriftRatio).
 *   3. The leader proposes the expiry only after g + leaseMs * (1 + maxDriftRatio), and limits.ts
 *      asserts stopAfterMs + maxClockJumpMs + LEASE_KILL_ALLOWANCE_MS <= leaseMs. As s
 *      lies before g, the instant of 2 lies before that of 3.
 *   4. A grant never follows an expiry: from the proposal on this leader refuses the epoch; a later
 *      leader grants only after a quorum round with every earlier entry applied, so it sees the
 *      expiry in the record; and an expiry that reaches the log under another term than it was
 *      decided in is refused by apply.
 *   5. A new leader does not know when its predecessors granted. Whatever they grant, however late
 *      they wake up to do it, answers a request whose quorum round succeeded before the new
 *      leader's election (some member answered the round first and voted later), and rounds begin
 *      after the sending. So s lies before the election, and the new leader counts every lease from
 *      its election or later.
 */

import { assert, type NodeId } from "@blixard/std";
import { DEFAULT_LEASE_OPTIONS, LEASE_CONFIRMS_MAX, leaseOptionsProblem } from "../limits.ts";
import type { LeaseOptions, NodeRecord } from "../types.ts";

export type RefusalReason =
  /** The cluster has no such node. */
  | "unknownNode"
  /** The node's record is in another lease epoch. */
  | "wrongEpoch"
  /** The lease was lost; acquire a new epoch. */
  | "lost"
  /** The expiry of this epoch is on its way through the log. */
  | "expiring";

/** What a grantor needs of a node's record. */
export type LeaseRecord = Pick<NodeRecord, "state" | "leaseEpoch">;

export interface LeaseRequest {
  readonly nodeId: NodeId;
  readonly leaseEpoch: number;
  readonly requestId: number;
  readonly receivedAtMs: number;
}

export type GrantorEffect =
  /**
   * Begin a quorum round now (one round may serve many tokens); when it has succeeded and every
   * entry before it is applied, call `grantorConfirmed`. When it fails, forget the token.
   */
  | { readonly kind: "confirm"; readonly token: number }
  /** Propose expireLease in exactly this term. Comes again until the record shows it. */
  | {
      readonly kind: "expire";
      readonly nodeId: NodeId;
      readonly leaseEpoch: number;
      readonly term: number;
    };

export type GrantorReply =
  | {
      readonly kind: "granted";
      readonly nodeId: NodeId;
      readonly requestId: number;
      readonly leaseEpoch: number;
    }
  | {
      readonly kind: "refused";
      readonly nodeId: NodeId;
      readonly requestId: number;
      readonly leaseEpoch: number;
      readonly reason: RefusalReason;
      /** Of the node's record; 0 when there is none. */
      readonly currentEpoch: number;
    };

interface Lease {
  readonly leaseEpoch: number;
  /** On the leader's monotonic clock, at the grant. */
  grantedAtMs: number;
  /** When the expiry was last proposed; from then on this epoch gets no grant from this leader. */
  expiryProposedAtMs: number | undefined;
}

export interface LeaseGrantor {
  readonly options: LeaseOptions;
  /** Absent while not the leader. */
  leading: { readonly sinceMs: number; readonly term: number } | undefined;
  readonly leases: Map<NodeId, Lease>;
  /** Requests whose quorum round is under way; at most LEASE_CONFIRMS_MAX, oldest first. */
  readonly confirms: Map<number, LeaseRequest>;
  /** Never reused, so that a token of an earlier leadership is unknown in a later one. */
  nextToken: number;
}

export function createGrantor(options: LeaseOptions = DEFAULT_LEASE_OPTIONS): LeaseGrantor {
  const problem = leaseOptionsProblem(options);
  assert(problem === undefined, `lease options: ${problem}`);
  return { options, leading: undefined, leases: new Map(), confirms: new Map(), nextToken: 1 };
}

/** `nowMs` is the monotonic clock of this machine, here and below. */
export function becameLeader(grantor: LeaseGrantor, nowMs: number, term: number): void {
  grantor.leading = { sinceMs: nowMs, term };
  grantor.leases.clear();
  grantor.confirms.clear();
}

export function lostLeadership(grantor: LeaseGrantor): void {
  grantor.leading = undefined;
  grantor.leases.clear();
  grantor.confirms.clear();
}

/** Nothing to do when not leading: the request is dropped, and the node will ask another leader. */
export function grantorRequest(grantor: LeaseGrantor, request: LeaseRequest): GrantorEffect[] {
  if (grantor.leading === undefined) return [];
  if (grantor.confirms.size >= LEASE_CONFIRMS_MAX) {
    // The oldest has waited longest for a round that does not come; its node asks again.
    for (const oldest of grantor.confirms.keys()) {
      grantor.confirms.delete(oldest);
      break;
    }
  }
  const token = grantor.nextToken;
  grantor.nextToken += 1;
  grantor.confirms.set(token, request);
  return [{ kind: "confirm", token }];
}

/** The node's lease in its present epoch; one not heard of yet counts as granted at `nowMs`. */
function leaseOf(grantor: LeaseGrantor, nodeId: NodeId, leaseEpoch: number, nowMs: number): Lease {
  const known = grantor.leases.get(nodeId);
  if (known?.leaseEpoch === leaseEpoch) return known;
  const grantedAtMs = Math.max(nowMs, grantor.leading?.sinceMs ?? nowMs);
  const lease: Lease = { leaseEpoch, grantedAtMs, expiryProposedAtMs: undefined };
  grantor.leases.set(nodeId, lease);
  return lease;
}

/** The quorum round failed, or leadership is in doubt: no answer, the node asks again. */
export function grantorAbandoned(grantor: LeaseGrantor, token: number): void {
  grantor.confirms.delete(token);
}

/**
 * The quorum round of `token` succeeded and every entry before it is applied; `recordOf` reads the
 * node's record from that state. Undefined: an old token, there is nobody to answer.
 */
export function grantorConfirmed(
  grantor: LeaseGrantor,
  token: number,
  nowMs: number,
  recordOf: (nodeId: NodeId) => LeaseRecord | undefined,
): GrantorReply | undefined {
  const request = grantor.confirms.get(token);
  grantor.confirms.delete(token);
  if (request === undefined || grantor.leading === undefined) return undefined;
  const { nodeId, requestId, leaseEpoch } = request;
  const record = recordOf(nodeId);
  const refuse = (reason: RefusalReason): GrantorReply => {
    const currentEpoch = record?.leaseEpoch ?? 0;
    return { kind: "refused", nodeId, requestId, leaseEpoch, reason, currentEpoch };
  };
  if (record === undefined) return refuse("unknownNode");
  if (record.leaseEpoch !== leaseEpoch) return refuse("wrongEpoch");
  if (record.state !== "up") return refuse("lost");
  const lease = leaseOf(grantor, nodeId, leaseEpoch, nowMs);
  if (lease.expiryProposedAtMs !== undefined) return refuse("expiring");
  lease.grantedAtMs = nowMs;
  return { kind: "granted", nodeId, requestId, leaseEpoch };
}

/** `nodes`: all node records as applied here. Call it a few times per `renewEveryMs`. */
export function grantorTick(
  grantor: LeaseGrantor,
  nowMs: number,
  nodes: Iterable<Pick<NodeRecord, "id" | "state" | "leaseEpoch">>,
): GrantorEffect[] {
  const { leading, options } = grantor;
  if (leading === undefined) return [];
  const effects: GrantorEffect[] = [];
  const waitMs = options.leaseMs * (1 + options.maxDriftRatio);
  const up = new Set<NodeId>();
  for (const { id, state, leaseEpoch } of nodes) {
    if (state !== "up") continue;
    up.add(id);
    const lease = leaseOf(grantor, id, leaseEpoch, nowMs);
    if (nowMs - lease.grantedAtMs <= waitMs) continue;
    const proposedAt = lease.expiryProposedAtMs;
    if (proposedAt !== undefined && nowMs - proposedAt < options.renewEveryMs) continue;
    lease.expiryProposedAtMs = nowMs;
    effects.push({ kind: "expire", nodeId: id, leaseEpoch, term: leading.term });
  }
  for (const id of grantor.leases.keys()) if (!up.has(id)) grantor.leases.delete(id);
  return effects;
}
