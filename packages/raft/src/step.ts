/**
 * Inputs to one member. Every function here only changes the plain state; `ready` tells what
 * follows.
 */

import { unreachable } from "@blixard/std";
import { proposeConf } from "./confchange.ts";
import { isRepairing } from "./damaged.ts";
import {
  becomeFollower,
  campaign,
  checkQuorum,
  ignoresVote,
  onCampaign,
  onTimeoutNow,
  onVoteReply,
  onVoteRequest,
  promotable,
} from "./election.ts";
import { onAppend, onHeartbeat, onSnapshot } from "./follower.ts";
import { appendOwn } from "./leader-log.ts";
import { ENTRY_OVERHEAD_BYTES } from "./limits.ts";
import { send, sendAppendReply } from "./outbox.ts";
import { requestRead } from "./read.ts";
import { sendHeartbeats } from "./replication.ts";
import {
  handOver,
  onAppendReply,
  onHeartbeatReply,
  onSnapshotSent,
  onUnreachable,
  tryTransfer,
} from "./replies.ts";
import { isVoter, type RaftState } from "./state.ts";
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
      tick(state);
      return undefined;
    case "message":
      return onMessage(state, input.message);
    case "propose":
      return propose(state, input.entries);
    case "proposeConf":
      return proposeConf(state, input.change);
    case "readIndex":
      return requestRead(state, input.context);
    case "campaign":
      return onCampaign(state);
    case "transferLeader":
      return transferLeader(state, input.to);
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

function tick(state: RaftState): void {
  state.electionElapsed++;
  if (state.role === "leader") {
    tickLeader(state);
  } else if (state.electionElapsed >= state.electionTimeout && promotable(state)) {
    // Who cannot campaign lets the time run on: its lease on a dead leader must not begin anew.
    campaign(state, false);
  }
}

function tickLeader(state: RaftState): void {
  const { electionTicks, heartbeatTicks } = state.config;
  state.heartbeatElapsed++;
  if (state.electionElapsed >= electionTicks) {
    state.electionElapsed = 0;
    state.transferee = 0;
    checkQuorum(state);
    if (state.role === "leader" && !isVoter(state, state.id)) handOver(state);
  }
  if (state.role === "leader" && state.heartbeatElapsed >= heartbeatTicks) {
    state.heartbeatElapsed = 0;
    sendHeartbeats(state);
  }
}

function propose(state: RaftState, entries: readonly Uint8Array[]): StepError | undefined {
  if (state.role !== "leader") return { code: "NotLeader", leader: state.leader };
  if (state.transferee !== 0) return { code: "Transferring", to: state.transferee };
  let bytes = 0;
  for (const data of entries) bytes += data.length + ENTRY_OVERHEAD_BYTES;
  const before = state.uncommittedBytes;
  // One proposal always fits an idle leader, however large: the caller bounds its size.
  if (before > 0 && before + bytes > state.config.maxUncommittedBytes) {
    return { code: "Overloaded" };
  }
  for (const data of entries) appendOwn(state, "command", data);
  return undefined;
}

function transferLeader(state: RaftState, to: PeerId): StepError | undefined {
  if (state.role !== "leader") return { code: "NotLeader", leader: state.leader };
  if (to === state.id) {
    state.transferee = 0;
    return undefined;
  }
  if (!isVoter(state, to)) return { code: "InvalidMessage", reason: `${to} is not a voter` };
  if (isRepairing(state, to)) return { code: "InvalidMessage", reason: `${to} is damaged` };
  if (state.transferee === to) return undefined;
  state.transferee = to;
  // It must succeed within one election timeout from here.
  state.electionElapsed = 0;
  tryTransfer(state);
  return undefined;
}

function onMessage(state: RaftState, message: Message): StepError | undefined {
  const reason = messageProblem(state, message);
  if (reason !== undefined) return { code: "InvalidMessage", reason };
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
      becomeFollower(state, message.term, 0);
      return true;
    case "preVoteReply":
      if (!message.granted) becomeFollower(state, message.term, 0);
      return true;
    case "append":
    case "heartbeat":
    case "snapshot":
    case "timeoutNow":
      becomeFollower(state, message.term, message.from);
      return true;
    case "appendReply":
    case "heartbeatReply":
    case "voteReply":
      becomeFollower(state, message.term, 0);
      return true;
    default:
      return unreachable(message);
  }
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
    case "snapshot":
      sendAppendReply(state, to, { rejected: true, index: 0, hintIndex: 0, hintTerm: 0 });
      break;
    case "preVote":
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
    case "timeoutNow":
      return fromLeader(state, message);
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
      onTimeoutNow(state);
      return undefined;
    default:
      return unreachable(message);
  }
}
