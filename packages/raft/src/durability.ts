/**
 * Which persist makes what durable. Several may be outstanding; they become durable in order.
 *
 * The ABA problem: entries 5..9 of term 1 are handed out in persist 3, then truncated and rewritten
 * in term 2 by persist 4. When persist 3 becomes durable it must not acknowledge the new 5..9:
 * truncation therefore lowers `upTo` of every outstanding persist.
 */

import { assert } from "@blixard/std";
import { isEtcd } from "./dialect.ts";
import { MAX_OUTSTANDING_PERSISTS } from "./limits.ts";
import { logSlice } from "./log.ts";
import { lastIndex, type RaftState } from "./state.ts";
import type { Persist } from "./types.ts";

/** The current term and vote differ from what was last handed out. */
export function hardDirty(state: RaftState): boolean {
  const { handedHard } = state.io;
  return handedHard.term !== state.term || handedHard.vote !== state.vote;
}

/** The persist after which the current term and vote are durable; 0: they are. */
export function afterHard(state: RaftState): number {
  const { io } = state;
  if (hardDirty(state)) return io.nextSeq;
  return io.hardSeq > io.durableSeq ? io.hardSeq : 0;
}

/** The last committed configuration whose commit is not yet durable, or 0. */
function unsafeConfig(state: RaftState): number {
  const { configs, commit, io } = state;
  for (let i = configs.length - 1; i >= 0; i--) {
    const index = configs[i] ?? 0;
    if (index <= commit) return index > io.durableCommit ? index : 0;
  }
  return 0;
}

/**
 * The persist after which a restart still knows every configuration committed so far; 0: it does
 * now. Until then the leader tells nobody and applies nothing: a member that goes away because it
 * was removed could otherwise be missed in an election under the old configuration.
 */
export function afterConfig(state: RaftState): number {
  const index = unsafeConfig(state);
  if (index === 0) return 0;
  return state.io.outstanding.find((record) => record.commit >= index)?.seq ?? state.io.nextSeq;
}

/**
 * Up to where committed entries may be applied: they are durable, and so is what is known of
 * configs.
 */
export function applicable(state: RaftState): number {
  const { commit, io } = state;
  if (isEtcd(state)) return etcdApplicable(state);
  const unsafe = state.configs.find((index) => index > io.durableCommit) ?? Infinity;
  return Math.min(commit, io.durableIndex, unsafe - 1);
}

/** A received snapshot is not yet durable. */
export function isLoading({ io }: RaftState): boolean {
  return io.snapshot !== undefined || io.outstanding.some((each) => each.snapshotIndex > 0);
}

/** Nothing beside a snapshot; and with storage "sync" what the same Ready makes durable, too. */
function etcdApplicable(state: RaftState): number {
  const { commit, io, config } = state;
  if (isLoading(state)) return 0;
  return config.storage === "sync" ? commit : Math.min(commit, io.durableIndex);
}

/** The persist after which the log up to `index` is durable; 0: it is. */
export function afterIndex(state: RaftState, index: number): number {
  const { io } = state;
  if (index <= io.durableIndex) return 0;
  // At most MAX_OUTSTANDING_PERSISTS steps, normally one or two.
  let after = io.nextSeq;
  for (let i = io.outstanding.length - 1; i >= 0; i--) {
    const record = io.outstanding[i];
    if (record === undefined || record.upTo < index) break;
    after = record.seq;
  }
  return after;
}

/** The log from `from` on is about to be replaced. */
export function noteTruncated(state: RaftState, from: number): void {
  const { io } = state;
  io.handedIndex = Math.min(io.handedIndex, from - 1);
  io.durableIndex = Math.min(io.durableIndex, from - 1);
  for (const record of io.outstanding) record.upTo = Math.min(record.upTo, from - 1);
}

/**
 * Whether something must be written now. A new commit index alone is not worth a write, unless it
 * covers a configuration.
 */
export function persistDue(state: RaftState): boolean {
  const { io, commit } = state;
  if (io.outstanding.length >= MAX_OUTSTANDING_PERSISTS) return false;
  const committed = isEtcd(state) ? commit : unsafeConfig(state);
  return (
    io.handedIndex !== lastIndex(state) ||
    hardDirty(state) ||
    committed > io.handedHard.commit ||
    io.snapshot !== undefined
  );
}

/** Collects what must be written now, or undefined. */
export function takePersist(state: RaftState): Persist | undefined {
  if (!persistDue(state)) return undefined;
  const { io } = state;
  const last = lastIndex(state);
  const hard = hardDirty(state);
  const seq = io.nextSeq++;
  const { term, vote, commit } = state;
  const persist: { -readonly [K in keyof Persist]: Persist[K] } = {
    seq,
    entries: io.handedIndex === last ? [] : logSlice(state.log, io.handedIndex + 1, last, Infinity),
  };
  if (hard || io.handedHard.commit !== commit) persist.hardState = { term, vote, commit };
  if (io.snapshot !== undefined) persist.snapshot = io.snapshot;
  io.outstanding.push({
    seq,
    upTo: last,
    snapshotIndex: io.snapshot?.index ?? 0,
    commit: persist.hardState?.commit ?? 0,
  });
  if (hard) io.hardSeq = seq;
  if (persist.hardState !== undefined) io.handedHard = persist.hardState;
  io.handedIndex = last;
  io.snapshot = undefined;
  return persist;
}

/**
 * The persist `seq`, and with it every earlier one, is durable.
 * @returns the index of a snapshot that became durable, or 0.
 */
export function notePersisted(state: RaftState, seq: number): number {
  const { io } = state;
  assert(seq < io.nextSeq, `persist ${seq} was never handed out`);
  if (seq <= io.durableSeq) return 0;
  io.durableSeq = seq;
  let count = 0;
  let snapshotIndex = 0;
  for (const record of io.outstanding) {
    if (record.seq > seq) break;
    io.durableIndex = Math.max(io.durableIndex, record.upTo);
    io.durableCommit = Math.max(io.durableCommit, record.commit);
    snapshotIndex = Math.max(snapshotIndex, record.snapshotIndex);
    count++;
  }
  io.outstanding.splice(0, count);
  assert(io.durableIndex <= lastIndex(state), "what is durable is in the log");
  return snapshotIndex;
}
