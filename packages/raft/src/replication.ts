/**
 * Leader: what to send to whom. Inputs only mark `sendDue`; `flushAppends` runs once for each
 * `ready`, so that many proposals and acknowledgements between two calls share one append.
 */

import { assert, present } from "@blixard/std";
import { afterConfig } from "./durability.ts";
import { repairEcho } from "./damaged.ts";
import { logSlice, termAt, toIndex } from "./log.ts";
import { send } from "./outbox.ts";
import { countedMatch, noteSent, toSnapshot, type Progress } from "./progress.ts";
import { lastIndex, type RaftState } from "./state.ts";
import type { Entry } from "./types.ts";

/** Builds the appends and snapshots that are due. */
export function flushAppends(state: RaftState): void {
  if (!state.sendDue) return;
  state.sendDue = false;
  for (const progress of state.progress.values()) {
    if (progress.peer !== state.id) flushOne(state, progress);
  }
}

function flushOne(state: RaftState, progress: Progress): void {
  if (progress.state === "snapshot") return;
  if (progress.next - 1 < state.log.offset) {
    sendSnapshot(state, progress);
  } else if (progress.state === "probe") {
    sendProbe(state, progress);
  } else {
    sendWindow(state, progress);
  }
}

/** One append, then silence until a reply comes. */
function sendProbe(state: RaftState, progress: Progress): void {
  if (progress.paused) return;
  progress.paused = true;
  progress.nudge = false;
  const last = lastIndex(state);
  const { maxAppendBytes } = state.config;
  const entries =
    progress.next > last ? [] : logSlice(state.log, progress.next, last, maxAppendBytes);
  sendAppend(state, progress, entries);
}

function sendWindow(state: RaftState, progress: Progress): void {
  const { maxAppendBytes, maxInflight } = state.config;
  const last = lastIndex(state);
  while (progress.next <= last && progress.inflight.length < maxInflight) {
    const entries = logSlice(state.log, progress.next, last, maxAppendBytes);
    sendAppend(state, progress, entries);
    noteSent(progress, present(entries.at(-1), "the last entry sent").index);
    progress.nudge = false;
  }
  // Empty: carries a new commit index, or finds out whether the last appends were lost. Even with a
  // full window, which would otherwise never open again if all that is in flight was lost.
  const sendable = Math.min(state.commit, progress.next - 1);
  if (progress.nudge || progress.commitSent < sendable) {
    progress.nudge = false;
    sendAppend(state, progress, []);
  }
}

function sendAppend(state: RaftState, progress: Progress, entries: readonly Entry[]): void {
  const prevIndex = toIndex(progress.next - 1);
  const last = prevIndex + entries.length;
  // Never more than the receiver can hold after this append, so that commitSent is exact.
  const commit = toIndex(Math.min(state.commit, last));
  progress.commitSent = toIndex(Math.max(progress.commitSent, commit));
  const message = {
    kind: "append",
    to: progress.peer,
    from: state.id,
    term: state.term,
    prevIndex,
    prevTerm: present(termAt(state.log, prevIndex), `term of ${prevIndex}`),
    entries,
    commit,
  } as const;
  send(state, message, afterConfig(state));
}

/** Only to a member that was heard from: a snapshot is dear, and a dead member gets none. */
function sendSnapshot(state: RaftState, progress: Progress): void {
  if (!progress.active) return;
  const meta = state.snapshot;
  assert(meta.index >= state.log.offset && meta.index > 0, "a snapshot covers what was compacted");
  toSnapshot(progress, meta.index);
  send(state, {
    kind: "snapshot",
    to: progress.peer,
    from: state.id,
    term: state.term,
    meta,
  });
}

/** A heartbeat to everyone, carrying the latest read round. */
export function sendHeartbeats(state: RaftState): void {
  const after = afterConfig(state);
  for (const progress of state.progress.values()) {
    if (progress.peer === state.id) continue;
    const message = {
      kind: "heartbeat",
      to: progress.peer,
      from: state.id,
      term: state.term,
      commit: toIndex(Math.min(countedMatch(progress), state.commit)),
      readRound: state.reads.round,
      repaired: repairEcho(progress),
    } as const;
    send(state, message, after);
  }
}
