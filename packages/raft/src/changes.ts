/**
 * What a configuration change makes of a configuration (Raft paper, section 6; etcd's confchange).
 * Plain sets in, plain sets out; who is tracked, and from when, follows.
 *
 * Invariants: a learner is no voter of either half; who is to become a learner on leaving is a
 * voter of the outgoing half; a configuration that is not joint has neither outgoing voters, nor
 * members to become learners, nor leaves by itself.
 */

import { err, ok, type PeerId, type Result } from "@blixard/std";
import type { AnyConfChange, ConfChange, ConfState, JointChange } from "./types.ts";

export interface Changed {
  readonly conf: ConfState;
  /** Members whose tracking begins anew: new ones, and those removed and added in one change. */
  readonly renewed: ReadonlySet<PeerId>;
}

type Single = Pick<ConfChange, "op" | "peer">;

interface Draft {
  readonly voters: Set<PeerId>;
  readonly outgoing: Set<PeerId>;
  readonly learners: Set<PeerId>;
  readonly learnersNext: Set<PeerId>;
  readonly renewed: Set<PeerId>;
}

export function isJoint(conf: ConfState): boolean {
  return conf.votersOutgoing.length > 0;
}

export function isJointChange(change: AnyConfChange): change is JointChange {
  return "changes" in change;
}

/** Everybody in any role, ascending. */
export function membersOf(conf: ConfState): PeerId[] {
  const { voters, votersOutgoing, learners, learnersNext } = conf;
  const members = new Set([...voters, ...votersOutgoing, ...learners, ...learnersNext]);
  return [...members].sort((a, b) => a - b);
}

function draftOf(conf: ConfState): Draft {
  return {
    voters: new Set(conf.voters),
    outgoing: new Set(conf.votersOutgoing),
    learners: new Set(conf.learners),
    learnersNext: new Set(conf.learnersNext),
    renewed: new Set(),
  };
}

function finish(draft: Draft, autoLeave: boolean): Changed {
  const list = (peers: ReadonlySet<PeerId>): PeerId[] => [...peers].sort((a, b) => a - b);
  const conf = {
    voters: list(draft.voters),
    votersOutgoing: list(draft.outgoing),
    learners: list(draft.learners),
    learnersNext: list(draft.learnersNext),
    autoLeave,
  };
  return { conf, renewed: draft.renewed };
}

function isMember(draft: Draft, peer: PeerId): boolean {
  return draft.voters.has(peer) || draft.outgoing.has(peer) || draft.learners.has(peer);
}

function makeVoter(draft: Draft, peer: PeerId): void {
  if (!isMember(draft, peer)) draft.renewed.add(peer);
  draft.learners.delete(peer);
  draft.learnersNext.delete(peer);
  draft.voters.add(peer);
}

function makeLearner(draft: Draft, peer: PeerId): void {
  if (draft.learners.has(peer)) return;
  if (!isMember(draft, peer)) draft.renewed.add(peer);
  draft.voters.delete(peer);
  // A voter of the outgoing half votes until it is left.
  if (draft.outgoing.has(peer)) draft.learnersNext.add(peer);
  else draft.learners.add(peer);
}

function remove(draft: Draft, peer: PeerId): void {
  draft.voters.delete(peer);
  draft.learners.delete(peer);
  draft.learnersNext.delete(peer);
  if (!draft.outgoing.has(peer)) draft.renewed.delete(peer);
}

function applyAll(draft: Draft, changes: readonly Single[]): string | undefined {
  for (const { op, peer } of changes) {
    // Member 0 is nobody: whoever proposed the change has thought better of it.
    if (Number(peer) === 0) continue;
    if (op === "addVoter") makeVoter(draft, peer);
    else if (op === "addLearner") makeLearner(draft, peer);
    else if (op === "removeMember") remove(draft, peer);
  }
  return draft.voters.size === 0 ? "removed all voters" : undefined;
}

/** Changes at most one voter, so that every quorum before overlaps every one after. */
export function simpleChange(conf: ConfState, changes: readonly Single[]): Result<Changed, string> {
  if (isJoint(conf)) return err("can't apply simple config change in joint config");
  const draft = draftOf(conf);
  const problem = applyAll(draft, changes);
  if (problem !== undefined) return err(problem);
  const added = [...draft.voters].filter((peer) => !conf.voters.includes(peer));
  const removed = conf.voters.filter((peer) => !draft.voters.has(peer));
  if (added.length + removed.length > 1) {
    return err("more than one voter changed without entering joint config");
  }
  return ok(finish(draft, false));
}

/** Old and new voters decide together from here on. */
export function enterJoint(
  conf: ConfState,
  autoLeave: boolean,
  changes: readonly Single[],
): Result<Changed, string> {
  if (isJoint(conf)) return err("config is already joint");
  if (conf.voters.length === 0) return err("can't make a zero-voter config joint");
  const draft = { ...draftOf(conf), outgoing: new Set(conf.voters) };
  const problem = applyAll(draft, changes);
  return problem === undefined ? ok(finish(draft, autoLeave)) : err(problem);
}

/** The new voters decide alone from here on. */
export function leaveJoint(conf: ConfState): Result<Changed, string> {
  if (!isJoint(conf)) return err("can't leave a non-joint config");
  const draft = draftOf(conf);
  for (const peer of draft.learnersNext) draft.learners.add(peer);
  draft.learnersNext.clear();
  draft.outgoing.clear();
  return ok(finish(draft, false));
}

/** True for the change that leaves a joint configuration. */
export function leaves(change: AnyConfChange): boolean {
  return isJointChange(change) && change.transition === "auto" && change.changes.length === 0;
}

/** Whichever of the three `change` asks for. */
export function followChange(conf: ConfState, change: AnyConfChange): Result<Changed, string> {
  if (!isJointChange(change)) return simpleChange(conf, [change]);
  const { transition, changes } = change;
  if (leaves(change)) return leaveJoint(conf);
  const isSimple = transition === "auto" && changes.length <= 1;
  if (isSimple) return simpleChange(conf, changes);
  return enterJoint(conf, transition !== "explicit", changes);
}
