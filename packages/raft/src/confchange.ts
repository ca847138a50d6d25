/**
 * Membership (thesis, chapter 4, with etcd's rule that a change takes effect when it is applied).
 * One voter at a time, so that adjacent configurations overlap in every majority, or any number
 * through a joint configuration. The leader proposes the next change only after applying the last,
 * and only after committing an entry of its own term.
 */

import { assert, type PeerId } from "@blixard/std";
import { followChange, isJoint, isJointChange, membersOf, simpleChange } from "./changes.ts";
import type { Changed } from "./changes.ts";
import { encodeAnyChange } from "./conf-codec.ts";
import { handsOver, isEtcd } from "./dialect.ts";
import { becomeFollower } from "./election.ts";
import { maybeCommit, ownTermCommitted } from "./leader-log.ts";
import { MAX_CHANGES, MAX_CONTEXT_BYTES, MAX_MEMBERS } from "./limits.ts";
import { toIndex } from "./log.ts";
import { newProgress, type Progress } from "./progress.ts";
import { answerReads } from "./read.ts";
import { broadcast, offerEntries } from "./replication.ts";
import { handOver } from "./replies.ts";
import { isVoter, lastIndex, type RaftState } from "./state.ts";
import { note } from "./trace.ts";
import type { AnyConfChange, ConfChange, ConfState, JointChange, StepError } from "./types.ts";

/** Leaves a joint configuration. */
export const LEAVE: JointChange = { transition: "auto", changes: [] };

/**
 * Why `change` cannot be made to `conf`, or undefined. Adding a member again updates its context.
 */
export function changeProblem(conf: ConfState, change: AnyConfChange): string | undefined {
  if (isJointChange(change)) return jointProblem(conf, change);
  if (isJoint(conf)) return "the configuration is joint; leave it first";
  const { op, peer } = change;
  const voter = conf.voters.includes(peer);
  const learner = conf.learners.includes(peer);
  const malformed = singleProblem(change);
  if (malformed !== undefined) return malformed;
  if (op === "removeMember" || op === "updateMember") {
    if (!voter && !learner) return `${peer} is not a member`;
    if (op === "updateMember") return undefined;
    return voter && conf.voters.length === 1 ? `${peer} is the last voter` : undefined;
  }
  if (op === "addLearner" && voter) return `${peer} is a voter; remove it first`;
  if (!voter && !learner && conf.voters.length + conf.learners.length >= MAX_MEMBERS) {
    return `the configuration has ${MAX_MEMBERS} members already`;
  }
  return undefined;
}

function singleProblem({ peer, context }: ConfChange): string | undefined {
  if (!Number.isInteger(peer) || peer < 1 || peer > 0xffffffff) return `${peer} is no member id`;
  if (context.length <= MAX_CONTEXT_BYTES) return undefined;
  return `context of ${context.length} bytes exceeds ${MAX_CONTEXT_BYTES}`;
}

function jointProblem(conf: ConfState, change: JointChange): string | undefined {
  const { changes } = change;
  if (changes.length > MAX_CHANGES) return `${changes.length} changes exceed ${MAX_CHANGES}`;
  for (const single of changes) {
    const malformed = singleProblem(single);
    if (malformed !== undefined) return malformed;
  }
  const followed = followChange(conf, change);
  if (!followed.ok) return followed.error;
  const members = membersOf(followed.value.conf).length;
  return members > MAX_MEMBERS ? `${members} members exceed ${MAX_MEMBERS}` : undefined;
}

/**
 * The configuration after `change`, members ascending. Total: an impossible change changes nothing.
 */
export function changeConf(conf: ConfState, change: AnyConfChange): ConfState {
  return changed(conf, change)?.conf ?? conf;
}

function changed(conf: ConfState, change: AnyConfChange): Changed | undefined {
  if (changeProblem(conf, change) !== undefined) return undefined;
  const followed = isJointChange(change)
    ? followChange(conf, change)
    : simpleChange(conf, [change]);
  return followed.ok ? followed.value : undefined;
}

/** Leader: why it does not propose `change` now, or undefined. */
export function confRefusal(state: RaftState, change: AnyConfChange): StepError | undefined {
  if (state.config.checkConfChanges === false) return undefined;
  if (isEtcd(state)) return etcdRefusal(state, change);
  if (!ownTermCommitted(state)) return { code: "TermNotCommitted" };
  if (state.configs.length > 0) return { code: "ConfChangeInFlight" };
  const reason = changeProblem(state.conf, change) ?? ownRemovalProblem(state, change);
  return reason === undefined ? undefined : { code: "InvalidConfChange", reason };
}

/** Only what etcd looks at; a change that turns out impossible is noticed when it is applied. */
function etcdRefusal(state: RaftState, change: AnyConfChange): StepError | undefined {
  const { pendingConfig, applied, conf } = state;
  const refused = (why: "pending" | "joint" | "notJoint"): void =>
    note(state, { kind: "confRefused", change, why, pendingConfig, applied, conf });
  if (pendingConfig > applied) {
    refused("pending");
    return { code: "ConfChangeInFlight" };
  }
  const isEmpty = isJointChange(change) && change.changes.length === 0;
  if (isJoint(conf) === isEmpty) return undefined;
  refused(isEmpty ? "notJoint" : "joint");
  const reason = isEmpty ? "not in joint state" : "must transition out of joint config first";
  return { code: "InvalidConfChange", reason };
}

/**
 * Of two voters, one that leads must not remove itself: if it is gone before the other learns that
 * the change is committed, the other waits for its vote for ever.
 */
function ownRemovalProblem(state: RaftState, change: AnyConfChange): string | undefined {
  const { voters } = state.conf;
  const after = changeConf(state.conf, change).voters;
  return voters.length === 2 && voters.includes(state.id) && !after.includes(state.id)
    ? "the leader of two voters cannot remove itself; transfer leadership first"
    : undefined;
}

/** The change that the leader owes: out of a joint configuration that is left by itself. */
export function owedChange(state: RaftState): Uint8Array | undefined {
  if (state.role !== "leader" || !state.conf.autoLeave) return undefined;
  // What an earlier leader has proposed may be just this.
  if (state.applied < state.pendingConfig) return undefined;
  return confRefusal(state, LEAVE) === undefined ? encodeAnyChange(LEAVE) : undefined;
}

/**
 * Called by the driver for every "config" entry of Ready.committed, in order, when it applies it,
 * and before `advance({kind: "applied"})` passes its index. `undefined` cancels the change.
 * @returns the configuration now in force, to be kept with the next snapshot.
 */
export function applyConfChange(state: RaftState, change: AnyConfChange | undefined): ConfState {
  const index = state.configs[0];
  assert(
    index !== undefined && index <= state.handedApply,
    "applyConfChange follows a config entry of Ready.committed",
  );
  state.configs.shift();
  if (change === undefined) return state.conf;
  const next = isEtcd(state) ? etcdChanged(state.conf, change) : changed(state.conf, change);
  state.conf = next?.conf ?? state.conf;
  note(state, { kind: "conf", conf: state.conf });
  if (state.role === "leader") onLeaderConf(state, next?.renewed ?? new Set());
  else if (state.role !== "follower" && !isVoter(state, state.id) && !isEtcd(state)) {
    becomeFollower(state, state.term, 0);
  }
  return state.conf;
}

function etcdChanged(conf: ConfState, change: AnyConfChange): Changed | undefined {
  const followed = followChange(conf, change);
  return followed.ok ? followed.value : undefined;
}

/** Brings a leader's view of the members up to date; one that was removed hands over. */
function onLeaderConf(state: RaftState, renewed: ReadonlySet<PeerId>): void {
  trackMembers(state, renewed);
  if (state.transferee !== 0 && !isVoter(state, state.transferee)) state.transferee = 0;
  if (!isVoter(state, state.id)) {
    if (state.config.onRemoval === "stepDown") {
      becomeFollower(state, state.term, 0);
      return;
    }
    if (!handsOver(state)) return;
    handOver(state);
  }
  // The quorum may have become smaller.
  if (maybeCommit(state)) broadcast(state);
  else offerEntries(state);
  answerReads(state);
}

function trackMembers(state: RaftState, renewed: ReadonlySet<PeerId>): void {
  const before = state.progress;
  state.progress = track(before, { conf: state.conf, renewed }, lastIndex(state));
  const own = state.progress.get(state.id);
  if (own !== undefined && own !== before.get(state.id)) {
    own.match = toIndex(state.io.durableIndex);
    own.next = toIndex(own.match + 1);
  }
}

/** Everybody's progress under a new configuration: as known, or from the beginning. */
export function track(
  before: ReadonlyMap<PeerId, Progress>,
  { conf, renewed }: Changed,
  last: number,
): Map<PeerId, Progress> {
  const progress = new Map<PeerId, Progress>();
  // The last entry is sent along with the first probe: a member that has the log has it at once.
  const next = toIndex(Math.max(last, 1));
  for (const peer of membersOf(conf)) {
    const known = renewed.has(peer) ? undefined : before.get(peer);
    // New members count as heard from, or check-quorum might fire before they ever could answer.
    progress.set(peer, known ?? newProgress(peer, next, true));
  }
  return progress;
}
