/**
 * What a follower does with its leader's messages (Raft paper, figure 2, AppendEntries receiver).
 */

import { present } from "@blixard/std";
import { isDamaged, noteRepaired } from "./damaged.ts";
import { isEtcd } from "./dialect.ts";
import { noteTruncated } from "./durability.ts";
import { findByTerm, logAppend, logLast, logLastTerm, logTruncate, termAt } from "./log.ts";
import { send, sendAccepted, sendAppendReply } from "./outbox.ts";
import { commitTo, inferCommit, lastIndex, type RaftState } from "./state.ts";
import { note } from "./trace.ts";
import type { Entry, MessageOf, SnapshotMeta, StepError } from "./types.ts";

function invalid(reason: string): StepError {
  return { code: "InvalidMessage", reason };
}

export function onAppend(state: RaftState, message: MessageOf<"append">): StepError | undefined {
  const { log, commit } = state;
  const { prevIndex, prevTerm, entries, from } = message;
  if (prevIndex < commit && (isEtcd(state) || !reaches(message, commit))) {
    // Old news: all of it is committed here already.
    sendAccepted(state, from, commit);
    return undefined;
  }
  if (prevIndex >= log.offset && termAt(log, prevIndex) !== prevTerm) {
    if (prevIndex <= commit) return invalid(`entry ${prevIndex} differs from a committed one`);
    reject(state, message);
    return undefined;
  }
  const skip = Math.max(0, log.offset - prevIndex);
  const conflict = findConflict(state, entries, skip);
  const first = conflict === undefined ? undefined : entries[conflict];
  if (first !== undefined && first.index <= commit) {
    return invalid(`entry ${first.index} differs from a committed one`);
  }
  if (conflict !== undefined) replaceFrom(state, entries, conflict);
  const last = prevIndex + entries.length;
  commitTo(state, Math.min(message.commit, last));
  inferCommit(state);
  sendAccepted(state, from, last);
  return undefined;
}

function reaches(message: MessageOf<"append">, index: number): boolean {
  return message.prevIndex + message.entries.length > index;
}

/** Position in `entries` of the first one that the log lacks or holds with another term. */
function findConflict(
  state: RaftState,
  entries: readonly Entry[],
  skip: number,
): number | undefined {
  for (let i = skip; i < entries.length; i++) {
    const entry = entries[i];
    if (entry !== undefined && termAt(state.log, entry.index) !== entry.term) return i;
  }
  return undefined;
}

function replaceFrom(state: RaftState, entries: readonly Entry[], start: number): void {
  const first = entries[start]?.index ?? 0;
  if (first <= lastIndex(state)) {
    noteConflict(state, present(entries[start], "the first that differs"));
    noteTruncated(state, first);
    logTruncate(state.log, first);
    while ((state.configs.at(-1) ?? 0) >= first) state.configs.pop();
  }
  for (let i = start; i < entries.length; i++) {
    const entry = entries[i];
    if (entry === undefined) continue;
    logAppend(state.log, entry);
    if (entry.kind === "config") state.configs.push(entry.index);
  }
}

function noteConflict(state: RaftState, at: Entry): void {
  const had = termAt(state.log, at.index) ?? 0;
  note(state, { kind: "conflict", at, had, durable: state.io.durableIndex });
}

/**
 * Tells the leader where the logs may agree: the last entry here whose term is not above its own.
 */
function reject(state: RaftState, message: MessageOf<"append">): void {
  const { log } = state;
  note(state, { kind: "appendRefused", message, had: termAt(log, message.prevIndex) ?? 0 });
  const hintIndex = findByTerm(log, Math.min(message.prevIndex, logLast(log)), message.prevTerm);
  sendAppendReply(state, message.from, {
    rejected: true,
    index: message.prevIndex,
    hintIndex,
    hintTerm: termAt(log, hintIndex) ?? 0,
  });
}

export function onHeartbeat(
  state: RaftState,
  message: MessageOf<"heartbeat">,
): StepError | undefined {
  if (!isDamaged(state)) {
    if (message.commit > lastIndex(state)) {
      return invalid(`commit ${message.commit} beyond what was ever acknowledged here`);
    }
    commitTo(state, message.commit);
  }
  noteRepaired(state, message.repaired);
  send(state, {
    kind: "heartbeatReply",
    to: message.from,
    from: state.id,
    term: state.term,
    readRound: message.readRound,
    repair: state.damage.nonce,
  });
  return undefined;
}

/**
 * Replaces log and configuration by the leader's snapshot, unless the log already reaches there.
 * The driver has received the bytes beside this message and drops them if no persist names them.
 */
export function onSnapshot(state: RaftState, message: MessageOf<"snapshot">): void {
  const { meta, from } = message;
  if (meta.index > state.commit && termAt(state.log, meta.index) === meta.term) {
    noteSnapshot(state, meta, "forwarded");
    commitTo(state, meta.index);
    inferCommit(state);
  }
  if (meta.index <= state.commit) {
    noteSnapshot(state, meta, "ignored");
    sendAccepted(state, from, state.commit);
    return;
  }
  // A configuration handed out and not yet applied would otherwise be applied on top of this newer
  // one. The leader will try again.
  if ((state.configs[0] ?? Infinity) <= state.handedApply) return;
  noteRestoring(state, meta);
  noteTruncated(state, state.commit + 1);
  state.log = { offset: meta.index, offsetTerm: meta.term, entries: [] };
  state.snapshot = meta;
  state.conf = meta.conf;
  state.configs = [];
  state.commit = meta.index;
  state.handedApply = meta.index;
  state.applyingBytes = 0;
  state.applyPaused = false;
  state.io.handedIndex = meta.index;
  state.io.snapshot = meta;
  note(state, { kind: "conf", conf: meta.conf });
  noteSnapshot(state, meta, "restored");
  noteSnapshot(state, meta, "done");
  sendAccepted(state, from, meta.index);
}

function noteRestoring(state: RaftState, meta: SnapshotMeta): void {
  const { commit, applied, handedApply: applying, io } = state;
  const [durable, handed, last] = [io.durableIndex, io.handedIndex, lastIndex(state)];
  note(state, { kind: "restoring", meta, commit, applied, applying, durable, handed, last });
}

function noteSnapshot(
  state: RaftState,
  meta: SnapshotMeta,
  what: "restored" | "forwarded" | "done" | "ignored",
): void {
  const last = { term: logLastTerm(state.log), index: lastIndex(state) };
  note(state, { kind: "snapshot", meta, what, commit: state.commit, last });
}
