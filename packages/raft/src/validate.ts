/** Checks of a decoded message that need no log: a bad message from a peer must never break us. */

import type { PeerId } from "@blixard/std";
import { isEtcd } from "./dialect.ts";
import type { RaftState } from "./state.ts";
import type { ConfState, Entry, Message, SnapshotMeta } from "./types.ts";

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

function isPeer(value: number): boolean {
  return Number.isInteger(value) && value >= 1 && value <= 0xffffffff;
}

/** Members ascending without repetition, and every one in the roles that go together only. */
export function confProblem(conf: ConfState): string | undefined {
  const { voters, votersOutgoing, learners, learnersNext, autoLeave } = conf;
  for (const peers of [voters, votersOutgoing, learners, learnersNext]) {
    let last: number = 0;
    for (const peer of peers) {
      if (!isPeer(peer) || peer <= last) return "members are not ascending ids";
      last = peer;
    }
  }
  const incoming = new Set<PeerId>(voters);
  const outgoing = new Set<PeerId>(votersOutgoing);
  if (learners.some((peer) => incoming.has(peer) || outgoing.has(peer))) {
    return "a learner is also a voter";
  }
  if (learnersNext.some((peer) => !outgoing.has(peer) || incoming.has(peer))) {
    return "who is to become a learner is a voter of the outgoing half only";
  }
  if (autoLeave && outgoing.size === 0) return "only a joint configuration can be left";
  return undefined;
}

function entriesProblem(
  entries: readonly Entry[],
  prevIndex: number,
  prevTerm: number,
  maxTerm: number,
): string | undefined {
  let index = prevIndex;
  let term = prevTerm;
  for (const entry of entries) {
    index++;
    if (entry.index !== index) return `entry ${entry.index} where ${index} belongs`;
    if (!isCount(entry.term) || entry.term < term || entry.term > maxTerm) {
      return `entry ${index} has term ${entry.term} after ${term}`;
    }
    term = entry.term;
  }
  return isCount(index) ? undefined : "index beyond 2^53";
}

function metaProblem(meta: SnapshotMeta, term: number): string | undefined {
  if (!isCount(meta.index) || meta.index === 0) return "a snapshot has index 1 or more";
  if (!isCount(meta.term) || meta.term > term) return "the snapshot's term is beyond its sender's";
  if (meta.conf.voters.length === 0) return "the snapshot has no voters";
  return confProblem(meta.conf);
}

/** Dialect of etcd: a member acknowledges its own writes by messages to itself. */
function isOwnAck(state: RaftState, { kind }: Message): boolean {
  const isAck = kind === "voteReply" || kind === "preVoteReply" || kind === "appendReply";
  return isAck && isEtcd(state);
}

/** Why the message cannot be meant for us or makes no sense; undefined when it may be processed. */
export function messageProblem(state: RaftState, message: Message): string | undefined {
  if (message.to !== state.id) return `addressed to ${message.to}`;
  if (!isPeer(message.from) || (message.from === state.id && !isOwnAck(state, message))) {
    return `sent by ${message.from}`;
  }
  if (!isCount(message.term)) return `term ${message.term}`;
  if (message.kind === "append") {
    const { prevIndex, prevTerm, entries, commit, term } = message;
    if (!isCount(prevIndex) || !isCount(prevTerm) || !isCount(commit)) return "not an index";
    if (prevTerm > term) return "the previous entry's term is beyond its sender's";
    return entriesProblem(entries, prevIndex, prevTerm, term);
  }
  if (message.kind === "snapshot") return metaProblem(message.meta, message.term);
  if (message.kind === "vote" || message.kind === "preVote") {
    // Etcd's founders campaign in the term of their snapshot (state.ts).
    const max = message.term - (isEtcd(state) ? 0 : 1);
    if (!isCount(message.lastIndex) || message.lastTerm > max) {
      return "a candidate's log ends in an earlier term";
    }
  }
  if (message.kind === "heartbeat" && !isCount(message.commit)) return "not an index";
  if (message.kind === "appendReply" && !isCount(message.index)) return "not an index";
  if (message.kind === "readIndexReply" && !isCount(message.index)) return "not an index";
  return undefined;
}
