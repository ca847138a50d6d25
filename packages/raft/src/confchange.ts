/**
 * Membership, one member at a time (thesis, section 4.1, with etcd's rule that a change takes
 * effect when it is applied). Adjacent configurations overlap in every majority; the leader
 * proposes the next change only after applying the last, and only after committing an entry of its
 * own term.
 */

import { assert, type PeerId } from "@blixard/std";
import { encodeConfChange } from "./conf-codec.ts";
import { becomeFollower } from "./election.ts";
import { appendOwn, maybeCommit, ownTermCommitted } from "./leader-log.ts";
import { MAX_CONTEXT_BYTES, MAX_MEMBERS } from "./limits.ts";
import { toIndex } from "./log.ts";
import { newProgress } from "./progress.ts";
import { answerReads } from "./read.ts";
import { handOver } from "./replies.ts";
import { isVoter, lastIndex, type RaftState } from "./state.ts";
import type { ConfChange, ConfState, StepError } from "./types.ts";

/**
 * Why `change` cannot be made to `conf`, or undefined. Adding a member again updates its context.
 */
export function changeProblem(conf: ConfState, change: ConfChange): string | undefined {
  const { op, peer } = change;
  const voter = conf.voters.includes(peer);
  const learner = conf.learners.includes(peer);
  if (!Number.isInteger(peer) || peer < 1 || peer > 0xffffffff) return `${peer} is no member id`;
  if (change.context.length > MAX_CONTEXT_BYTES) {
    return `context of ${change.context.length} bytes exceeds ${MAX_CONTEXT_BYTES}`;
  }
  if (op === "removeMember") {
    if (!voter && !learner) return `${peer} is not a member`;
    return voter && conf.voters.length === 1 ? `${peer} is the last voter` : undefined;
  }
  if (op === "addLearner" && voter) return `${peer} is a voter; remove it first`;
  if (!voter && !learner && conf.voters.length + conf.learners.length >= MAX_MEMBERS) {
    return `the configuration has ${MAX_MEMBERS} members already`;
  }
  return undefined;
}

/**
 * The configuration after `change`, members ascending. Total: an impossible change changes nothing.
 */
export function changeConf(conf: ConfState, change: ConfChange): ConfState {
  if (changeProblem(conf, change) !== undefined) return conf;
  const { op, peer } = change;
  const without = (peers: readonly PeerId[]): PeerId[] => peers.filter((p) => p !== peer);
  const including = (peers: readonly PeerId[]): PeerId[] =>
    [...without(peers), peer].sort((a, b) => a - b);
  return {
    ...conf,
    voters: op === "addVoter" ? including(conf.voters) : without(conf.voters),
    learners: op === "addLearner" ? including(conf.learners) : without(conf.learners),
  };
}

export function proposeConf(state: RaftState, change: ConfChange): StepError | undefined {
  if (state.role !== "leader") return { code: "NotLeader", leader: state.leader };
  if (state.transferee !== 0) return { code: "Transferring", to: state.transferee };
  if (!ownTermCommitted(state)) return { code: "TermNotCommitted" };
  if (state.configs.length > 0) return { code: "ConfChangeInFlight" };
  const reason = changeProblem(state.conf, change) ?? ownRemovalProblem(state, change);
  if (reason !== undefined) return { code: "InvalidConfChange", reason };
  appendOwn(state, "config", encodeConfChange(change));
  return undefined;
}

/**
 * Of two voters, one that leads must not remove itself: if it is gone before the other learns that
 * the change is committed, the other waits for its vote for ever.
 */
function ownRemovalProblem(state: RaftState, change: ConfChange): string | undefined {
  const alone = change.op === "removeMember" && change.peer === state.id;
  return alone && state.conf.voters.length === 2
    ? "the leader of two voters cannot remove itself; transfer leadership first"
    : undefined;
}

/**
 * Called by the driver for every "config" entry of Ready.committed, in order, when it applies it,
 * and before `advance({kind: "applied"})` passes its index. `undefined` cancels the change.
 * @returns the configuration now in force, to be kept with the next snapshot.
 */
export function applyConfChange(state: RaftState, change: ConfChange | undefined): ConfState {
  const index = state.configs[0];
  assert(
    index !== undefined && index <= state.handedApply,
    "applyConfChange follows a config entry of Ready.committed",
  );
  state.configs.shift();
  if (change === undefined) return state.conf;
  state.conf = changeConf(state.conf, change);
  if (state.role === "leader") onLeaderConf(state);
  else if (state.role !== "follower" && !isVoter(state, state.id)) {
    becomeFollower(state, state.term, 0);
  }
  return state.conf;
}

/** Brings a leader's view of the members up to date; one that was removed hands over. */
function onLeaderConf(state: RaftState): void {
  const members = new Set([...state.conf.voters, ...state.conf.learners]);
  for (const peer of state.progress.keys()) if (!members.has(peer)) state.progress.delete(peer);
  const next = toIndex(lastIndex(state) + 1);
  for (const peer of members) {
    // New members count as heard from, or check-quorum might fire before they ever could answer.
    if (!state.progress.has(peer)) state.progress.set(peer, newProgress(peer, next, true));
  }
  if (state.transferee !== 0 && !isVoter(state, state.transferee)) state.transferee = 0;
  if (!isVoter(state, state.id)) handOver(state);
  state.sendDue = true;
  // The majority may have become smaller.
  maybeCommit(state);
  answerReads(state);
}
