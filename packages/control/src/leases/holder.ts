/**
 * The node's side of its lease. Plain data; time comes in with each call.
 *
 *   needsLease --acquire, epoch moves on--> waiting --first grant--> held
 *       ^                                      |                       |
 *       +---- refused, deadline, clock jump ---+-----------------------+  "expired": kill all VMs
 *
 * The deadline counts from the *sending* of the request that was granted, whenever the answer
 * arrives: the leader's own count begins later, at the grant (see grantor.ts for the inequality).
 */

import { assert } from "@blixard/std";
import { DEFAULT_LEASE_OPTIONS, LEASE_REQUESTS_MAX, leaseOptionsProblem } from "../limits.ts";
import type { LeaseOptions } from "../types.ts";

export type HolderEffect =
  /** Send to the leader; lost, delayed and reordered answers are expected. */
  | {
      readonly kind: "sendRenew";
      readonly requestId: number;
      readonly leaseEpoch: number;
      readonly sentAtMs: number;
    }
  /**
   * VMs may run until the first of the two passes, each on its own clock of the host; neither moves
   * backwards within an epoch. Supervisors must count both: while the daemon stalls, only they see
   * short suspensions add up.
   */
  | {
      readonly kind: "extend";
      readonly deadlineMonotonicMs: number;
      readonly deadlineBootMs: number;
      readonly leaseEpoch: number;
    }
  /** Kill all VMs now; start none until the next "extend". */
  | { readonly kind: "expired"; readonly reason: string }
  /** Propose acquireLease, once nothing of any VM runs here. */
  | { readonly kind: "acquire"; readonly fromEpoch: number };

export interface HolderClock {
  readonly monotonicMs: number;
  /** Like monotonic, but counts suspended time. */
  readonly bootMs: number;
}

export interface HolderTick extends HolderClock {
  /** Of this node's record as applied here; absent while there is none. */
  readonly leaseEpoch?: number;
  /** VM processes still alive here: "acquire" is held back until there are none. Absent: none. */
  readonly runningVms?: number;
}

export type HolderReply =
  | { readonly kind: "granted"; readonly requestId: number; readonly leaseEpoch: number }
  | {
      readonly kind: "refused";
      readonly requestId: number;
      readonly leaseEpoch: number;
      readonly reason: string;
      readonly currentEpoch: number;
    };

interface Request {
  readonly requestId: number;
  readonly sentAt: HolderClock;
}

interface Deadline {
  readonly monotonicMs: number;
  readonly bootMs: number;
}

export interface LeaseHolder {
  readonly options: LeaseOptions;
  phase: "needsLease" | "waiting" | "held";
  /** The epoch it works under; meaningful in "waiting" and "held". */
  leaseEpoch: number;
  /** In "needsLease": the epoch that an acquire was asked from, if one was. */
  askedFrom: number | undefined;
  /** Highest epoch heard of, from the record or a refusal. */
  knownEpoch: number | undefined;
  deadline: Deadline | undefined;
  last: HolderClock | undefined;
  nextSendMs: number;
  nextRequestId: number;
  /** Invariant: only requests of the present epoch, oldest first, at most LEASE_REQUESTS_MAX. */
  requests: Request[];
}

export interface HolderStart {
  /**
   * The epoch under which VMs that outlived this node's last daemon still run; absent when nothing
   * runs. It goes on renewing that epoch, and gives up like any holder when no grant comes.
   */
  readonly resumeLeaseEpoch?: number;
  /**
   * A random integer up to 2^48: answers to requests of an earlier life of the daemon must not be
   * taken for answers to requests of this one.
   */
  readonly firstRequestId?: number;
}

export function createHolder(
  options: LeaseOptions = DEFAULT_LEASE_OPTIONS,
  start: HolderStart = {},
): LeaseHolder {
  const problem = leaseOptionsProblem(options);
  assert(problem === undefined, `lease options: ${problem}`);
  const resumed = start.resumeLeaseEpoch;
  return {
    options,
    phase: resumed === undefined ? "needsLease" : "waiting",
    leaseEpoch: resumed ?? 0,
    askedFrom: undefined,
    knownEpoch: undefined,
    deadline: undefined,
    last: undefined,
    nextSendMs: Number.NEGATIVE_INFINITY,
    nextRequestId: start.firstRequestId ?? 1,
    requests: [],
  };
}

function giveUp(holder: LeaseHolder, reason: string): HolderEffect {
  holder.phase = "needsLease";
  holder.deadline = undefined;
  holder.requests = [];
  holder.askedFrom = undefined;
  holder.nextSendMs = Number.NEGATIVE_INFINITY;
  return { kind: "expired", reason };
}

function deadlineFrom(holder: LeaseHolder, at: HolderClock): Deadline {
  const { stopAfterMs } = holder.options;
  return { monotonicMs: at.monotonicMs + stopAfterMs, bootMs: at.bootMs + stopAfterMs };
}

/** Why the lease is over by the clocks, if it is. */
function clockProblem(holder: LeaseHolder, now: HolderClock): string | undefined {
  const { last, deadline, options } = holder;
  if (last !== undefined) {
    const jumpMs = now.bootMs - last.bootMs - (now.monotonicMs - last.monotonicMs);
    if (Math.abs(jumpMs) > options.maxClockJumpMs) {
      return `the clock jumped by ${Math.round(jumpMs)} ms: the machine was suspended`;
    }
    if (now.monotonicMs < last.monotonicMs) return "the monotonic clock went backwards";
  }
  if (deadline === undefined) return undefined;
  // Both clocks count, so that many jumps too small to notice cannot add up.
  if (now.monotonicMs < deadline.monotonicMs && now.bootMs < deadline.bootMs) return undefined;
  return `no renewal was granted for ${options.stopAfterMs} ms`;
}

/** The same, and the clocks are remembered for the next look at them. */
function lookAtClocks(holder: LeaseHolder, now: HolderClock): string | undefined {
  const problem = clockProblem(holder, now);
  holder.last = { monotonicMs: now.monotonicMs, bootMs: now.bootMs };
  return problem;
}

function noteEpoch(holder: LeaseHolder, epoch: number | undefined): void {
  if (epoch === undefined) return;
  holder.knownEpoch = Math.max(holder.knownEpoch ?? epoch, epoch);
}

/** Asks for a new epoch, or finds that the record has one. */
function tickWithout(holder: LeaseHolder, tick: HolderTick): HolderEffect[] {
  const { askedFrom } = holder;
  if (askedFrom !== undefined && tick.leaseEpoch !== undefined && tick.leaseEpoch > askedFrom) {
    holder.phase = "waiting";
    holder.leaseEpoch = tick.leaseEpoch;
    holder.askedFrom = undefined;
    holder.nextSendMs = Number.NEGATIVE_INFINITY;
    return tickWith(holder, tick);
  }
  if (holder.knownEpoch === undefined || (tick.runningVms ?? 0) > 0) return [];
  if (tick.monotonicMs < holder.nextSendMs) return [];
  holder.nextSendMs = tick.monotonicMs + holder.options.renewEveryMs;
  holder.askedFrom = holder.knownEpoch;
  return [{ kind: "acquire", fromEpoch: holder.knownEpoch }];
}

function tickWith(holder: LeaseHolder, tick: HolderTick): HolderEffect[] {
  if (tick.leaseEpoch !== undefined && tick.leaseEpoch > holder.leaseEpoch) {
    const moved = `lease epoch ${holder.leaseEpoch} is over, the record has ${tick.leaseEpoch}`;
    return [giveUp(holder, moved)];
  }
  // Before the first grant this bounds how long VMs of an earlier daemon go unanswered for.
  holder.deadline ??= deadlineFrom(holder, tick);
  if (tick.monotonicMs < holder.nextSendMs) return [];
  holder.nextSendMs = tick.monotonicMs + holder.options.renewEveryMs;
  const requestId = holder.nextRequestId;
  holder.nextRequestId += 1;
  const { monotonicMs, bootMs } = tick;
  holder.requests.push({ requestId, sentAt: { monotonicMs, bootMs } });
  if (holder.requests.length > LEASE_REQUESTS_MAX) holder.requests.shift();
  return [{ kind: "sendRenew", requestId, leaseEpoch: holder.leaseEpoch, sentAtMs: monotonicMs }];
}

/** Call it several times per `renewEveryMs`, and carry the effects out in their order. */
export function holderTick(holder: LeaseHolder, tick: HolderTick): HolderEffect[] {
  const problem = lookAtClocks(holder, tick);
  noteEpoch(holder, tick.leaseEpoch);
  const effects: HolderEffect[] = [];
  if (problem !== undefined && holder.phase !== "needsLease") {
    effects.push(giveUp(holder, problem));
    return effects;
  }
  return holder.phase === "needsLease" ? tickWithout(holder, tick) : tickWith(holder, tick);
}

/**
 * An answer from a leader. Answers to requests not sent, answered already, or of another epoch
 * change nothing. Give `now` where it is at hand: after a suspension the answer may be read before
 * any tick.
 */
export function holderReply(
  holder: LeaseHolder,
  reply: HolderReply,
  now?: HolderClock,
): HolderEffect[] {
  if (holder.phase === "needsLease") return [];
  const problem = now === undefined ? undefined : lookAtClocks(holder, now);
  if (problem !== undefined) return [giveUp(holder, problem)];
  const at = holder.requests.findIndex(({ requestId }) => requestId === reply.requestId);
  const request = holder.requests[at];
  if (request === undefined || reply.leaseEpoch !== holder.leaseEpoch) return [];
  holder.requests.splice(at, 1);
  if (reply.kind === "refused") {
    noteEpoch(holder, reply.currentEpoch);
    return [giveUp(holder, `the leader refused to renew: ${reply.reason}`)];
  }
  const deadline = deadlineFrom(holder, request.sentAt);
  const isFirst = holder.phase === "waiting";
  const current = holder.deadline;
  // An answer that was overtaken by a later one's adds nothing.
  if (!isFirst && current !== undefined && deadline.monotonicMs <= current.monotonicMs) return [];
  holder.phase = "held";
  holder.deadline = deadline;
  const { leaseEpoch } = holder;
  const { monotonicMs: deadlineMonotonicMs, bootMs: deadlineBootMs } = deadline;
  return [{ kind: "extend", deadlineMonotonicMs, deadlineBootMs, leaseEpoch }];
}

/**
 * The lease under which VMs may be started now: a grant was received, its deadline lies ahead, and the
 * clocks say that the machine has not slept since. Whoever asks after a suspension may be the first to
 * look at the clocks, before any tick.
 */
export function heldLease(
  holder: LeaseHolder,
  now: HolderClock,
): { readonly epoch: number; readonly deadlineMonotonicMs: number } | undefined {
  const { phase, deadline, leaseEpoch } = holder;
  if (phase !== "held" || deadline === undefined) return undefined;
  if (clockProblem(holder, now) !== undefined) return undefined;
  return { epoch: leaseEpoch, deadlineMonotonicMs: deadline.monotonicMs };
}
