/**
 * Leader: what to send to whom. Inputs only mark what is due; `flushAppends` runs once for each
 * `ready`, so that many proposals and acknowledgements between two calls share one append. (In the
 * dialect of etcd each input sends at once: more messages, the same decisions.)
 */

import { assert, present } from "@blixard/std";
import { afterConfig } from "./durability.ts";
import { repairEcho } from "./damaged.ts";
import { isEtcd } from "./dialect.ts";
import { entryBytes, logSlice, termAt, toIndex } from "./log.ts";
import { send } from "./outbox.ts";
import {
  canTellCommit,
  countedMatch,
  isFull,
  isPaused,
  noteSent,
  toSnapshot,
  type Progress,
} from "./progress.ts";
import { lastIndex, type RaftState } from "./state.ts";
import { frozen, note } from "./trace.ts";
import type { Entry } from "./types.ts";

/** Everybody gets what is new: entries, or at least the commit index. */
export function broadcast(state: RaftState): void {
  state.sendDue = true;
  if (!isEtcd(state)) return;
  for (const progress of state.progress.values()) {
    if (progress.peer !== state.id) maybeSendAppend(state, progress, true);
  }
}

/** One member gets an append, if only an empty one. */
export function sendTo(state: RaftState, progress: Progress): void {
  state.sendDue = true;
  if (isEtcd(state)) maybeSendAppend(state, progress, true);
  else progress.nudge = true;
}

/** One member gets as many entries as its window allows. */
export function sendMore(state: RaftState, progress: Progress): void {
  state.sendDue = true;
  if (!isEtcd(state)) return;
  while (maybeSendAppend(state, progress, false)) continue;
}

/** After a change of membership: whoever lacks entries gets some. */
export function offerEntries(state: RaftState): void {
  state.sendDue = true;
  if (!isEtcd(state)) return;
  for (const progress of state.progress.values()) {
    if (progress.peer !== state.id) maybeSendAppend(state, progress, false);
  }
}

/** Builds the appends and snapshots that are due. */
export function flushAppends(state: RaftState): void {
  if (!state.sendDue) return;
  state.sendDue = false;
  if (isEtcd(state)) return;
  for (const progress of state.progress.values()) {
    if (progress.peer === state.id) continue;
    let evenEmpty = progress.nudge || canTellCommit(progress, state.commit);
    while (maybeSendAppend(state, progress, evenEmpty)) evenEmpty = false;
  }
}

/**
 * Sends one append, or a snapshot where the entries are gone. An empty append (`evenEmpty`) carries
 * the commit index, or finds out whether the last appends were lost. It goes even into a full
 * window, which would otherwise never open again if all that is in flight was lost.
 */
function maybeSendAppend(state: RaftState, progress: Progress, evenEmpty: boolean): boolean {
  if (isPaused(progress)) return false;
  if (termAt(state.log, progress.next - 1) === undefined) return sendSnapshot(state, progress);
  const entries = sendable(state, progress);
  if (entries.length === 0 && !evenEmpty) return false;
  progress.nudge = false;
  sendAppend(state, progress, entries);
  return true;
}

function sendable(state: RaftState, progress: Progress): readonly Entry[] {
  const { config, log } = state;
  const last = lastIndex(state);
  if (progress.next > last) return [];
  if (progress.state === "replicate" && isFull(progress, config)) return [];
  return logSlice(log, progress.next, last, config.maxAppendBytes);
}

function sendAppend(state: RaftState, progress: Progress, entries: readonly Entry[]): void {
  const prevIndex = toIndex(progress.next - 1);
  const message = {
    kind: "append",
    to: progress.peer,
    from: state.id,
    term: state.term,
    prevIndex,
    prevTerm: present(termAt(state.log, prevIndex), `term of ${prevIndex}`),
    entries,
    // The receiver takes of it what it holds after this append.
    commit: state.commit,
  } as const;
  send(state, message, afterConfig(state));
  // Without a bound on them nobody asks for the bytes in flight.
  const bytes = state.config.maxInflightBytes === undefined ? 0 : bytesOf(entries);
  noteSent(progress, entries.length, bytes, state.config);
  progress.commitSent = state.commit;
}

function bytesOf(entries: readonly Entry[]): number {
  let bytes = 0;
  for (const entry of entries) bytes += entryBytes(entry);
  return bytes;
}

/** Only to a member that was heard from: a snapshot is dear, and a dead member gets none. */
function sendSnapshot(state: RaftState, progress: Progress): boolean {
  if (!progress.active) {
    note(state, { kind: "keepsSnapshot", peer: progress.peer });
    return false;
  }
  const meta = state.snapshot;
  assert(meta.index >= state.log.offset && meta.index > 0, "a snapshot covers what was compacted");
  const firstIndex = state.log.offset + 1;
  note(state, { kind: "sendsSnapshot", meta, progress: frozen(progress), firstIndex });
  toSnapshot(progress, meta.index);
  note(state, { kind: "progress", what: "paused", progress: frozen(progress) });
  send(state, {
    kind: "snapshot",
    to: progress.peer,
    from: state.id,
    term: state.term,
    meta,
  });
  return true;
}

/** A heartbeat to everyone, carrying the latest read round. */
export function sendHeartbeats(state: RaftState): void {
  const after = afterConfig(state);
  for (const progress of state.progress.values()) {
    if (progress.peer === state.id) continue;
    const commit = toIndex(Math.min(countedMatch(progress), state.commit));
    const message = {
      kind: "heartbeat",
      to: progress.peer,
      from: state.id,
      term: state.term,
      commit,
      readRound: state.reads.round,
      repaired: repairEcho(progress),
    } as const;
    send(state, message, after);
    progress.commitSent = commit;
  }
}
