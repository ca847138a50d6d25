/**
 * What a leader knows of one member (etcd's tracker).
 *
 *   probe      one append at a time, until the point where the logs agree is found
 *   replicate  appends are pipelined, up to a window
 *   snapshot   the member needs compacted entries; appends pause until the snapshot's fate is known
 *
 * Invariants: match < next; `inflight` ascends and lies in (match, next).
 */

import { assert, type LogIndex, type PeerId } from "@blixard/std";
import { toIndex } from "./log.ts";

export interface Progress {
  readonly peer: PeerId;
  /** Highest index known durable at the member. */
  match: LogIndex;
  /** First index not yet sent. */
  next: LogIndex;
  state: "probe" | "replicate" | "snapshot";
  /** Heard from within the current check-quorum period. */
  active: boolean;
  /** Probe, or full window: an append is under way; wait for its reply or for a heartbeat's. */
  paused: boolean;
  /** Send at least an empty append: the member may have missed one. */
  nudge: boolean;
  /** Last indexes of appends in flight, ascending, and the bytes of each. */
  inflight: number[];
  inflightSizes: number[];
  inflightBytes: number;
  /** Snapshot: the index being sent. */
  pendingSnapshot: LogIndex;
  /** Commit index in the last append or heartbeat sent; what was surely lost is taken back. */
  commitSent: LogIndex;
  /** Latest read round the member has acknowledged. */
  ackedRound: number;
  /** Nonce of a damaged member, else 0: its `match` does not count (damaged.ts). */
  repair: number;
  /** It is whole again once `match` reaches this. */
  repairTarget: LogIndex;
}

export function newProgress(peer: PeerId, next: LogIndex, active: boolean): Progress {
  const zero = toIndex(0);
  return {
    peer,
    match: zero,
    next,
    state: "probe",
    active,
    paused: false,
    nudge: false,
    inflight: [],
    inflightSizes: [],
    inflightBytes: 0,
    pendingSnapshot: zero,
    commitSent: zero,
    ackedRound: 0,
    repair: 0,
    repairTarget: zero,
  };
}

/** What counts for commit. */
export function countedMatch(progress: Progress): number {
  return progress.repair === 0 ? progress.match : 0;
}

export function toProbe(progress: Progress): void {
  const sent = progress.state === "snapshot" ? progress.pendingSnapshot : 0;
  enter(progress, "probe");
  progress.next = toIndex(Math.max(progress.match, sent) + 1);
  lowerCommitSent(progress);
}

export function toReplicate(progress: Progress): void {
  enter(progress, "replicate");
  progress.next = toIndex(progress.match + 1);
}

export function toSnapshot(progress: Progress, index: LogIndex): void {
  enter(progress, "snapshot");
  progress.pendingSnapshot = index;
  progress.next = toIndex(Math.max(progress.match, index) + 1);
  progress.commitSent = index;
}

function enter(progress: Progress, state: Progress["state"]): void {
  progress.state = state;
  progress.paused = false;
  progress.nudge = false;
  progress.inflight = [];
  progress.inflightSizes = [];
  progress.inflightBytes = 0;
  progress.pendingSnapshot = toIndex(0);
}

/** The member cannot have learned of a commit beyond what it holds. */
function lowerCommitSent(progress: Progress): void {
  progress.commitSent = toIndex(Math.min(progress.commitSent, progress.next - 1));
}

/** Forgets what the member held: it lost acknowledged entries. */
export function forgetMatch(progress: Progress): void {
  progress.match = toIndex(0);
  progress.commitSent = toIndex(0);
  const next = progress.next;
  enter(progress, "probe");
  progress.next = next;
}

/** The member holds everything up to `index`. True when that is news. */
export function updateMatch(progress: Progress, index: LogIndex): boolean {
  progress.next = toIndex(Math.max(progress.next, index + 1));
  if (index <= progress.match) return false;
  progress.match = index;
  progress.paused = false;
  return true;
}

export interface Window {
  readonly maxInflight: number;
  readonly maxInflightBytes?: number;
}

export function isFull(progress: Progress, window: Window): boolean {
  return (
    progress.inflight.length >= window.maxInflight ||
    progress.inflightBytes >= (window.maxInflightBytes ?? Infinity)
  );
}

/** Whether any append must wait; an empty one goes into a full window once it is not `paused`. */
export function isPaused(progress: Progress): boolean {
  return progress.state === "snapshot" || progress.paused;
}

/** Takes note of an append of `count` entries beginning at `next`. */
export function noteSent(progress: Progress, count: number, bytes: number, window: Window): void {
  assert(progress.state !== "snapshot", "no append goes to a member that waits for a snapshot");
  if (progress.state === "probe") {
    if (count > 0) progress.paused = true;
    return;
  }
  if (count > 0) {
    progress.next = toIndex(progress.next + count);
    progress.inflight.push(progress.next - 1);
    progress.inflightSizes.push(bytes);
    progress.inflightBytes += bytes;
  }
  // This one, or the one before, was the last that may go out unanswered.
  progress.paused = isFull(progress, window);
}

/** Whether `commit` could tell the member more than it was told. */
export function canTellCommit(progress: Progress, commit: number): boolean {
  return commit > progress.commitSent && progress.commitSent < progress.next - 1;
}

export function freeInflight(progress: Progress, upTo: LogIndex): void {
  const { inflight, inflightSizes } = progress;
  let count = 0;
  while (count < inflight.length && (inflight[count] ?? 0) <= upTo) {
    progress.inflightBytes -= inflightSizes[count] ?? 0;
    count++;
  }
  if (count === 0) return;
  inflight.splice(0, count);
  inflightSizes.splice(0, count);
}

/**
 * The member refused an append after `rejected`; its log may agree up to `hint`. False for a stale
 * refusal, which changes nothing.
 */
export function backTrack(progress: Progress, rejected: number, hint: number): boolean {
  if (progress.state === "replicate") {
    if (rejected <= progress.match) return false;
    toProbe(progress);
    return true;
  }
  if (progress.next - 1 !== rejected) return false;
  progress.next = toIndex(Math.max(Math.min(rejected, hint + 1), progress.match + 1));
  lowerCommitSent(progress);
  progress.paused = false;
  return true;
}
