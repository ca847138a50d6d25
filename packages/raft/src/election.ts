/**
 * Roles and elections (Raft paper, 5.2; thesis, 9.6 pre-vote and 6.2 check-quorum).
 *
 *   follower --timeout--> preCandidate --majority would vote--> candidate --majority--> leader
 *
 * A pre-candidate keeps its term, so that an isolated member never disturbs the others with a high
 * one.
 */

import type { PeerId, Term } from "@blixard/std";
import { membersOf } from "./changes.ts";
import { isDamaged } from "./damaged.ts";
import { checksQuorum, handsOver, isEtcd, leasesReads, usesPreVote } from "./dialect.ts";
import { afterHard, isLoading } from "./durability.ts";
import { acknowledgeOwn, appendOwn } from "./leader-log.ts";
import { logLastTerm, toIndex, toTerm } from "./log.ts";
import { send } from "./outbox.ts";
import { newProgress } from "./progress.ts";
import { allVoters, hasQuorum, voteResult } from "./quorum.ts";
import { dropReads } from "./read.ts";
import { broadcast } from "./replication.ts";
import { isVoter, lastIndex, resetElectionTimeout, type RaftState } from "./state.ts";
import { note } from "./trace.ts";
import type { MessageOf, Role, StepError } from "./types.ts";

function enterRole(state: RaftState, role: Role): void {
  if (state.role === "leader") dropReads(state);
  state.role = role;
  state.leader = 0;
  state.electionElapsed = 0;
  state.heartbeatElapsed = 0;
  state.votes = new Map();
  state.forced = false;
  state.justStarted &&= role !== "leader";
  state.progress = new Map();
  state.sendDue = false;
  state.uncommittedBytes = 0;
  state.transferee = 0;
  resetElectionTimeout(state);
}

function enterTerm(state: RaftState, term: Term): void {
  if (term === state.term) return;
  state.term = term;
  state.vote = 0;
}

export function becomeFollower(state: RaftState, term: Term, leader: PeerId | 0): void {
  enterTerm(state, term);
  enterRole(state, "follower");
  state.leader = leader;
  note(state, { kind: "role", role: "follower" });
}

/**
 * A voter, whole, that has applied every configuration it knows committed: with an older one it
 * might count a majority that no longer decides.
 */
export function promotable(state: RaftState): boolean {
  return isVoter(state, state.id) && eligible(state);
}

function eligible(state: RaftState): boolean {
  const config = state.configs[0];
  return !isDamaged(state) && !isLoading(state) && (config === undefined || config > state.commit);
}

/**
 * A voter that does not know of our removal yet may need our vote, and our log may be ahead of its
 * own: neither could then ever lead. The removed member campaigns in its place, without counting
 * itself; once it leads, it brings the voter up to date and hands over.
 */
function mustAssist(state: RaftState, voter: PeerId): boolean {
  return (
    state.role === "follower" &&
    handsOver(state) &&
    isVoter(state, voter) &&
    !isVoter(state, state.id) &&
    !state.conf.learners.includes(state.id) &&
    eligible(state)
  );
}

/** Starts an election: a pre-vote first, unless leadership is being handed to us. */
export function campaign(state: RaftState, force: boolean): void {
  note(state, { kind: "campaigns" });
  if (force || !usesPreVote(state)) becomeCandidate(state, force);
  else becomePreCandidate(state);
}

/** Nothing but the role changes: it goes on waiting as long as it was going to. */
function becomePreCandidate(state: RaftState): void {
  state.role = "preCandidate";
  state.leader = 0;
  state.votes = new Map();
  state.forced = false;
  note(state, { kind: "role", role: "preCandidate" });
  castOwnVote(state, "preVoteReply", toTerm(state.term + 1));
  if (!tryWin(state)) requestVotes(state, "preVote", toTerm(state.term + 1));
}

function becomeCandidate(state: RaftState, force: boolean): void {
  enterTerm(state, toTerm(state.term + 1));
  enterRole(state, "candidate");
  state.vote = state.id;
  state.forced = force;
  note(state, { kind: "role", role: "candidate" });
  castOwnVote(state, "voteReply", state.term);
  requestVotes(state, "vote", state.term);
}

/** Counted at once (but see `tryWin`), or, in etcd's dialect, when it comes back as a message. */
function castOwnVote(state: RaftState, kind: "preVoteReply" | "voteReply", term: Term): void {
  const { id } = state;
  if (!isEtcd(state)) state.votes.set(id, true);
  else if (isVoter(state, id)) send(state, { kind, to: id, from: id, term, granted: true });
}

function requestVotes(state: RaftState, kind: "preVote" | "vote", term: Term): void {
  for (const to of allVoters(state.conf)) {
    if (to === state.id) continue;
    const message = {
      kind,
      to,
      from: state.id,
      term,
      lastIndex: lastIndex(state),
      lastTerm: logLastTerm(state.log),
      force: state.forced,
    };
    note(state, { kind: "asksForVote", message });
    send(state, message);
  }
}

/**
 * Moves on if the votes suffice. A candidate's vote for itself counts once it is durable, so that a
 * leader's term always is.
 */
export function tryWin(state: RaftState): boolean {
  const { role } = state;
  if (role !== "preCandidate" && role !== "candidate") return false;
  const result = voteResult(state.conf, state.votes);
  if (result === "lost") becomeFollower(state, state.term, 0);
  if (result !== "won") return false;
  if (role === "preCandidate") becomeCandidate(state, false);
  else if (isEtcd(state) || afterHard(state) === 0) becomeLeader(state);
  return true;
}

function becomeLeader(state: RaftState): void {
  enterRole(state, "leader");
  state.leader = state.id;
  state.pendingConfig = lastIndex(state);
  const next = toIndex(lastIndex(state) + 1);
  for (const peer of membersOf(state.conf)) {
    state.progress.set(peer, newProgress(peer, next, peer === state.id));
  }
  const own = state.progress.get(state.id);
  if (own !== undefined) {
    own.state = "replicate";
    own.match = toIndex(isEtcd(state) ? lastIndex(state) : state.io.durableIndex);
  }
  appendOwn(state, "noop", new Uint8Array(0));
  acknowledgeOwn(state);
  note(state, { kind: "role", role: "leader" });
  broadcast(state);
}

/** Heard from a leader recently enough that votes for others are refused (thesis, 4.2.3). */
function inLease(state: RaftState): boolean {
  if (!checksQuorum(state)) return false;
  const mayHavePromised = state.leader !== 0 || state.justStarted;
  return mayHavePromised && state.electionElapsed < state.config.electionTicks;
}

/** Whether a vote request is to be ignored altogether, before its term is looked at. */
export function ignoresVote(state: RaftState, message: MessageOf<"preVote" | "vote">): boolean {
  const isIgnored = message.term > state.term && !message.force && inLease(state);
  if (isIgnored) noteVerdict(state, message, "lease");
  return isIgnored;
}

export function noteVerdict(
  state: RaftState,
  message: MessageOf<"preVote" | "vote">,
  verdict: "granted" | "refused" | "lease",
): void {
  const last = { term: logLastTerm(state.log), index: lastIndex(state) };
  const remainingTicks = state.config.electionTicks - state.electionElapsed;
  note(state, { kind: "judgedVote", message, verdict, vote: state.vote, last, remainingTicks });
}

/**
 * A request of our term, or a pre-vote for a later one. Learners vote too: they may be voters
 * unawares.
 */
export function onVoteRequest(state: RaftState, message: MessageOf<"preVote" | "vote">): void {
  const pre = message.kind === "preVote";
  const free =
    state.vote === message.from ||
    (state.vote === 0 && state.leader === 0) ||
    (pre && message.term > state.term);
  const last = logLastTerm(state.log);
  const upToDate =
    message.lastTerm > last || (message.lastTerm === last && message.lastIndex >= lastIndex(state));
  const granted = free && upToDate && !isDamaged(state);
  noteVerdict(state, message, granted ? "granted" : "refused");
  if (granted && !pre) {
    state.electionElapsed = 0;
    state.vote = message.from;
  }
  send(state, {
    kind: pre ? "preVoteReply" : "voteReply",
    to: message.from,
    from: state.id,
    // A granted pre-vote names the term it is for; a refusal ours, so that a stale candidate
    // catches up.
    term: granted ? message.term : state.term,
    granted,
  });
  if (pre && !upToDate && mustAssist(state, message.from)) campaign(state, false);
}

export function onVoteReply(
  state: RaftState,
  message: MessageOf<"preVoteReply" | "voteReply">,
): void {
  const expected = message.kind === "preVoteReply" ? "preCandidate" : "candidate";
  if (state.role !== expected) return;
  const term = expected === "preCandidate" && message.granted ? state.term + 1 : state.term;
  // The first answer of a voter stands, as it did when it was given.
  if (message.term !== term || state.votes.has(message.from)) return;
  state.votes.set(message.from, message.granted);
  const cast = allVoters(state.conf).map((peer) => state.votes.get(peer));
  const granted = cast.filter((vote) => vote === true).length;
  const refused = cast.filter((vote) => vote === false).length;
  note(state, { kind: "ballot", message, granted, refused });
  tryWin(state);
}

/** The leader asks us to take over: at once and without pre-vote. */
export function onTimeoutNow(state: RaftState, from: PeerId): void {
  const taken = state.role === "follower";
  note(state, { kind: "timeoutNow", from, taken });
  if (taken && mayCampaign(state)) campaign(state, true);
}

/** Nothing was heard from a leader for an election timeout. */
export function onTimeout(state: RaftState): void {
  // Who cannot campaign lets the time run on: its lease on a dead leader must not begin anew.
  // (Etcd's begins anew where only a configuration is still to be applied.)
  const isLate = isEtcd(state) && isVoter(state, state.id) && !isLoading(state);
  if (isLate || promotable(state)) state.electionElapsed = 0;
  else return;
  if (mayCampaign(state)) campaign(state, false);
}

/** As `promotable`, and says why not. */
function mayCampaign(state: RaftState): boolean {
  if (promotable(state)) return true;
  const isPending = isVoter(state, state.id) && (state.configs[0] ?? Infinity) <= state.commit;
  note(state, { kind: "cannotCampaign", why: isPending ? "confPending" : "noVoter" });
  return false;
}

/** Leader, once in an election timeout: steps down if a majority has gone silent. */
export function checkQuorum(state: RaftState): void {
  const live = hasQuorum(
    state.conf,
    (peer) => peer === state.id || state.progress.get(peer)?.active === true,
  );
  if (!live) {
    note(state, { kind: "quorumLost" });
    becomeFollower(state, state.term, 0);
    return;
  }
  for (const progress of state.progress.values()) {
    if (progress.peer !== state.id) progress.active = false;
  }
}

/**
 * Follower: no longer counts on its leader, so that another can be elected before a whole timeout
 * is over. Refused with leases, which rest on just that.
 */
export function onForgetLeader(state: RaftState): StepError | undefined {
  if (state.role !== "follower") return undefined;
  if (leasesReads(state)) {
    note(state, { kind: "keepsLeader" });
    return { code: "InvalidMessage", reason: "the leader may hold a lease" };
  }
  if (state.leader !== 0) note(state, { kind: "forgets", leader: state.leader });
  state.leader = 0;
  return undefined;
}

/** Campaign input: refused by who cannot become leader. */
export function onCampaign(state: RaftState): StepError | undefined {
  if (state.role === "leader") {
    note(state, { kind: "cannotCampaign", why: "leads" });
    return undefined;
  }
  if (!mayCampaign(state)) return { code: "NotLeader", leader: state.leader };
  campaign(state, false);
  return undefined;
}
