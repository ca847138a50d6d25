/** Leader: what members answer, and what the transport reports about them. */

import type { PeerId } from "@blixard/std";
import { noteRepair } from "./damaged.ts";
import { isEtcd } from "./dialect.ts";
import { maybeCommit } from "./leader-log.ts";
import { findByTerm } from "./log.ts";
import { send } from "./outbox.ts";
import {
  backTrack,
  canTellCommit,
  freeInflight,
  toProbe,
  toReplicate,
  updateMatch,
  type Progress,
} from "./progress.ts";
import { allVoters } from "./quorum.ts";
import { answerReads, noteRound } from "./read.ts";
import { broadcast, sendMore, sendTo } from "./replication.ts";
import { isVoter, lastIndex, type RaftState } from "./state.ts";
import { frozen, note } from "./trace.ts";
import type { MessageOf, StepError } from "./types.ts";

export function onAppendReply(
  state: RaftState,
  message: MessageOf<"appendReply">,
): StepError | undefined {
  const progress = state.progress.get(message.from);
  // A member removed meanwhile.
  if (progress === undefined) {
    note(state, { kind: "stranger", from: message.from });
    return undefined;
  }
  if (!message.rejected && message.index > lastIndex(state)) {
    return { code: "InvalidMessage", reason: `acknowledged ${message.index}, never sent` };
  }
  heard(state, progress, message.repair);
  if (message.rejected) onRejected(state, progress, message);
  else onAccepted(state, progress, message);
  return undefined;
}

function heard(state: RaftState, progress: Progress, repair: number): void {
  noteRepair(state, progress, repair);
  if (!progress.active) {
    progress.active = true;
    state.sendDue = true;
  }
}

/** One round trip for each term in which the logs differ, in either direction (etcd's hint). */
function onRejected(state: RaftState, progress: Progress, message: MessageOf<"appendReply">): void {
  note(state, { kind: "hinted", message });
  const before = frozen(progress);
  const hint =
    message.hintTerm > 0
      ? findByTerm(state.log, message.hintIndex, message.hintTerm)
      : message.hintIndex;
  if (!backTrack(progress, message.index, hint)) return;
  const wasReplicating = before.state === "replicate";
  const now = wasReplicating ? { ...before, next: progress.next } : frozen(progress);
  note(state, { kind: "progress", what: "decreased", progress: now });
  sendTo(state, progress);
}

function onAccepted(state: RaftState, progress: Progress, message: MessageOf<"appendReply">): void {
  const news = updateMatch(progress, message.index);
  if (!news && !(progress.state === "probe" && progress.match === message.index)) return;
  if (progress.state === "replicate") {
    freeInflight(progress, message.index);
  } else if (progress.state === "probe") {
    toReplicate(progress);
  } else if (progress.match >= state.log.offset) {
    note(state, { kind: "progress", what: "recovered", progress: frozen(progress) });
    // By way of probing, which accounts for the snapshot.
    toProbe(progress);
    toReplicate(progress);
  }
  const isOwn = progress.peer === state.id;
  if (maybeCommit(state)) broadcast(state);
  else if (!isOwn && canTellCommit(progress, state.commit)) sendTo(state, progress);
  if (isOwn) return;
  sendMore(state, progress);
  if (state.transferee !== progress.peer) return;
  const isReady = progress.match === lastIndex(state);
  if (isReady) note(state, { kind: "transfer", to: progress.peer, what: "caughtUp" });
  tryTransfer(state);
}

export function onHeartbeatReply(
  state: RaftState,
  message: MessageOf<"heartbeatReply">,
): StepError | undefined {
  const progress = state.progress.get(message.from);
  if (progress === undefined) return undefined;
  if (message.readRound > state.reads.round) {
    return { code: "InvalidMessage", reason: `round ${message.readRound} was never begun` };
  }
  heard(state, progress, message.repair);
  progress.paused = false;
  if (progress.match < lastIndex(state) || progress.state === "probe") sendTo(state, progress);
  // Again, in case it was lost or the target still had a configuration to apply.
  if (state.transferee === progress.peer && !isEtcd(state)) tryTransfer(state);
  if (message.readRound > progress.ackedRound) {
    progress.ackedRound = message.readRound;
    noteRound(state);
    answerReads(state);
  }
  return undefined;
}

/** A message to `peer` was surely lost: stop pipelining until it is heard from. */
export function onUnreachable(state: RaftState, peer: PeerId): void {
  const progress = state.progress.get(peer);
  if (state.role !== "leader" || progress === undefined) return;
  if (progress.state === "replicate") {
    toProbe(progress);
    if (!isEtcd(state)) state.sendDue = true;
  }
  note(state, { kind: "progress", what: "unreachable", progress: frozen(progress) });
}

/**
 * The snapshot's bytes arrived, or did not. Either way the next heartbeat's reply resumes appends.
 */
export function onSnapshotSent(state: RaftState, peer: PeerId, ok: boolean): void {
  const progress = state.progress.get(peer);
  if (state.role !== "leader" || progress?.state !== "snapshot") return;
  if (!ok) progress.pendingSnapshot = progress.match;
  toProbe(progress);
  note(state, { kind: "progress", what: ok ? "arrived" : "lost", progress: frozen(progress) });
  progress.paused = true;
}

/**
 * A leader that is no longer a voter leads on, without counting itself, until the most advanced
 * voter takes over or a majority is silent. Were it to fall silent at once, nobody else might know
 * that its removal is committed, and need its vote.
 */
export function handOver(state: RaftState): void {
  let best: Progress | undefined;
  for (const peer of allVoters(state.conf)) {
    const progress = state.progress.get(peer);
    if (progress === undefined || progress.repair !== 0) continue;
    if (best === undefined || progress.match > best.match) best = progress;
  }
  if (best === undefined) return;
  state.transferee = best.peer;
  tryTransfer(state);
}

/** Input or message: `to` shall lead. */
export function transferLeader(state: RaftState, to: PeerId): StepError | undefined {
  const refusal = transferRefusal(state, to);
  if (refusal !== undefined) return refusal;
  const before = state.transferee;
  if (before === to && to !== state.id) {
    note(state, { kind: "transfer", to, what: "same" });
    return undefined;
  }
  state.transferee = 0;
  if (before !== 0) note(state, { kind: "transfer", to: before, what: "aborted" });
  const progress = state.progress.get(to);
  if (to === state.id || progress === undefined) {
    note(state, { kind: "transfer", to, what: "self" });
    return undefined;
  }
  note(state, { kind: "transfer", to, what: "starts" });
  state.transferee = to;
  // It must succeed within one election timeout from here.
  state.electionElapsed = 0;
  if (progress.match === lastIndex(state)) {
    tryTransfer(state);
    note(state, { kind: "transfer", to, what: "upToDate" });
  } else {
    sendTo(state, progress);
  }
  return undefined;
}

function transferRefusal(state: RaftState, to: PeerId): StepError | undefined {
  if (to === state.id) return undefined;
  const progress = state.progress.get(to);
  if (progress === undefined) return { code: "InvalidMessage", reason: `${to} is not a voter` };
  if (!isVoter(state, to)) {
    note(state, { kind: "transfer", to, what: "learner" });
    return { code: "InvalidMessage", reason: `${to} is not a voter` };
  }
  return progress.repair === 0 ? undefined : { code: "InvalidMessage", reason: `${to} is damaged` };
}

/** Hands leadership over once the target has the whole log. */
export function tryTransfer(state: RaftState): void {
  const to = state.transferee;
  if (to === 0 || state.progress.get(to)?.match !== lastIndex(state)) return;
  // Its votes will go before any lease.
  state.reads.leaseLost = true;
  send(state, { kind: "timeoutNow", to, from: state.id, term: state.term });
}
