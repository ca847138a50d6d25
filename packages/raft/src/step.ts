/**
 * Inputs to one member. Every function here only changes the plain state; `ready` tells what
 * follows.
 */

import { unreachable } from "@blixard/std";
import { checksQuorum, handsOver, isEtcd, usesPreVote } from "./dialect.ts";
import {
  becomeFollower,
  checkQuorum,
  ignoresVote,
  noteVerdict,
  onCampaign,
  onForgetLeader,
  onTimeout,
  onTimeoutNow,
  onVoteReply,
  onVoteRequest,
} from "./election.ts";
import { onAppend, onHeartbeat, onSnapshot } from "./follower.ts";
import { send, sendAppendReply } from "./outbox.ts";
import { leaveWhenDue, onPropose, propose, proposeConf } from "./propose.ts";
import { beat, onReadIndexReply, requestRead } from "./read.ts";
import {
  handOver,
  onAppendReply,
  onHeartbeatReply,
  onSnapshotSent,
  onUnreachable,
  transferLeader,
} from "./replies.ts";
import { isVoter, type RaftState } from "./state.ts";
import { note } from "./trace.ts";
import type { Input, Message, StepError } from "./types.ts";
import { messageProblem } from "./validate.ts";
import type { PeerId } from "@blixard/std";

/**
 * Feeds one input to the member.
 * @returns why a request was refused, or why a message was ignored as malformed; undefined
 * otherwise.
 */
export function step(state: RaftState, input: Input): StepError | undefined {
  switch (input.kind) {
    case "tick":
      tick(state, input.missed ?? 0);
      return undefined;
    case "message":
      return onMessage(state, input.message);
    case "propose":
      return propose(state, input.entries);
    case "proposeConf":
      return proposeConf(state, input.change);
    case "readIndex":
      return requestRead(state, input.context, { from: 0, lateTicks: input.lateTicks ?? 0 });
    case "campaign":
      return onCampaign(state);
    case "forgetLeader":
      return onForgetLeader(state);
    case "transferLeader":
      return onTransfer(state, input.to);
    case "unreachable":
      onUnreachable(state, input.peer);
      return undefined;
    case "snapshotSent":
      onSnapshotSent(state, input.peer, input.ok);
      return undefined;
    default:
      return unreachable(input);
  }
}

function tick(state: RaftState, missed: number): void {
  state.electionElapsed++;
  if (state.electionElapsed >= state.config.electionTicks) state.justStarted = false;
  if (state.role === "leader") {
    state.reads.tick += 1 + missed;
    tickLeader(state);
  } else if (state.electionElapsed >= state.electionTimeout) {
    onTimeout(state);
  }
}

function tickLeader(state: RaftState): void {
  const { electionTicks, heartbeatTicks } = state.config;
  state.heartbeatElapsed++;
  if (state.electionElapsed >= electionTicks) {
    state.electionElapsed = 0;
    state.transferee = 0;
    if (checksQuorum(state)) checkQuorum(state);
    if (state.role === "leader" && !isEtcd(state)) onLeaderPeriod(state);
  }
  if (state.role === "leader" && state.heartbeatElapsed >= heartbeatTicks) {
    state.heartbeatElapsed = 0;
    beat(state);
  }
}

/** What did not succeed the first time is tried again. */
function onLeaderPeriod(state: RaftState): void {
  if (!isVoter(state, state.id) && handsOver(state)) handOver(state);
  else leaveWhenDue(state);
}

/** Whoever does not lead passes the wish on, in the name of who shall lead. */
function onTransfer(state: RaftState, to: PeerId): StepError | undefined {
  const { role, leader, term } = state;
  if (role === "leader") return transferLeader(state, to);
  if (state.config.forwarding !== true || role !== "follower" || leader === 0) {
    if (role === "follower") note(state, { kind: "transfer", to, what: "noLeader" });
    return { code: "NotLeader", leader };
  }
  send(state, { kind: "transferLeader", to: leader, from: to, term });
  return undefined;
}

function onMessage(state: RaftState, message: Message): StepError | undefined {
  const reason = messageProblem(state, message);
  if (reason !== undefined) return { code: "InvalidMessage", reason };
  // Requests of clients have no term: whoever leads answers them.
  if (message.kind === "propose") return onPropose(state, message);
  if (message.kind === "readIndex") {
    return requestRead(state, message.context, { from: message.from, lateTicks: 0 });
  }
  if (message.term > state.term) {
    if (!adoptTerm(state, message)) return undefined;
  } else if (message.term < state.term) {
    answerStale(state, message);
    return undefined;
  }
  return dispatch(state, message);
}

/** Follows a later term. False when the message must leave no trace. */
function adoptTerm(state: RaftState, message: Message): boolean {
  switch (message.kind) {
    case "preVote":
      // Asks about a future term; nobody is in it yet.
      return !ignoresVote(state, message);
    case "vote":
      if (ignoresVote(state, message)) return false;
      follow(state, message, 0);
      return true;
    case "preVoteReply":
      if (!message.granted) follow(state, message, 0);
      return true;
    case "append":
    case "heartbeat":
    case "snapshot":
      follow(state, message, message.from);
      return true;
    case "timeoutNow":
    case "appendReply":
    case "heartbeatReply":
    case "voteReply":
    case "readIndexReply":
    case "transferLeader":
      follow(state, message, 0);
      return true;
    case "propose":
    case "readIndex":
      return true;
    default:
      return unreachable(message);
  }
}

function follow(state: RaftState, message: Message, leader: PeerId | 0): void {
  note(state, { kind: "laterTerm", message, own: state.term });
  becomeFollower(state, message.term, leader);
}

/**
 * A leader of an earlier term learns ours and steps down; otherwise a member that came back with a
 * higher term could never be heard again, since its votes are ignored under the lease. The same for
 * a stale pre-candidate.
 */
function answerStale(state: RaftState, message: Message): void {
  const to = message.from;
  switch (message.kind) {
    case "append":
    case "heartbeat":
      // Of no use but its term: it acknowledges nothing.
      if (!checksQuorum(state) && !usesPreVote(state)) {
        note(state, { kind: "earlierTerm", message, own: state.term });
        break;
      }
      sendAppendReply(state, to, { rejected: !isEtcd(state), index: 0, hintIndex: 0, hintTerm: 0 });
      break;
    case "snapshot":
      if (isEtcd(state)) {
        note(state, { kind: "earlierTerm", message, own: state.term });
        break;
      }
      sendAppendReply(state, to, { rejected: true, index: 0, hintIndex: 0, hintTerm: 0 });
      break;
    case "preVote":
      noteVerdict(state, message, "refused");
      send(state, {
        kind: "preVoteReply",
        to,
        from: state.id,
        term: state.term,
        granted: false,
      });
      break;
    case "vote":
    case "preVoteReply":
    case "voteReply":
    case "appendReply":
    case "heartbeatReply":
    case "timeoutNow":
    case "propose":
    case "readIndex":
    case "readIndexReply":
    case "transferLeader":
      note(state, { kind: "earlierTerm", message, own: state.term });
      break;
    default:
      unreachable(message);
  }
}

/** A message of our own term, or a pre-vote exchange about the next. */
function dispatch(state: RaftState, message: Message): StepError | undefined {
  switch (message.kind) {
    case "preVote":
    case "vote":
      onVoteRequest(state, message);
      return undefined;
    case "preVoteReply":
    case "voteReply":
      onVoteReply(state, message);
      return undefined;
    case "appendReply":
      return state.role === "leader" ? onAppendReply(state, message) : undefined;
    case "heartbeatReply":
      return state.role === "leader" ? onHeartbeatReply(state, message) : undefined;
    case "append":
    case "heartbeat":
    case "snapshot":
      return fromLeader(state, message);
    case "timeoutNow":
      return isEtcd(state) ? onEtcdTimeoutNow(state, message) : fromLeader(state, message);
    case "readIndexReply":
      return onReadIndexReply(state, message);
    case "transferLeader":
      return onTransfer(state, message.from);
    case "propose":
    case "readIndex":
      return undefined;
    default:
      return unreachable(message);
  }
}

function fromLeader(
  state: RaftState,
  message: Extract<Message, { kind: "append" | "heartbeat" | "snapshot" | "timeoutNow" }>,
): StepError | undefined {
  const { from } = message;
  if (state.role === "leader" || (state.leader !== 0 && state.leader !== from)) {
    return { code: "InvalidMessage", reason: `${from} claims to lead term ${state.term} too` };
  }
  if (state.role !== "follower") becomeFollower(state, state.term, from);
  state.leader = from;
  state.justStarted = false;
  state.electionElapsed = 0;
  switch (message.kind) {
    case "append":
      return onAppend(state, message);
    case "heartbeat":
      return onHeartbeat(state, message);
    case "snapshot":
      onSnapshot(state, message);
      return undefined;
    case "timeoutNow":
      onTimeoutNow(state, from);
      return undefined;
    default:
      return unreachable(message);
  }
}

/** Etcd takes it from anybody, and from nobody as a sign of a leader. */
function onEtcdTimeoutNow(state: RaftState, { from }: Message): undefined {
  if (state.role !== "leader") onTimeoutNow(state, from);
}
