/** Checks of a decoded message that need no log: a bad message from a peer must never break us. */

import type { PeerId } from "@blixard/std";
import type { RaftState } from "./state.ts";
import type { ConfState, Entry, Message, SnapshotMeta } from "./types.ts";

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

function isPeer(value: number): boolean {
  return Number.isInteger(value) && value >= 1 && value <= 0xffffffff;
}

/**
 * Members ascending without repetition, none in two sets; joint fields empty until they mean
 * something.
 */
export function confProblem(conf: ConfState): string | undefined {
  if (conf.votersOutgoing.length > 0 || conf.learnersNext.length > 0 || conf.autoLeave) {
    return "joint configurations are not supported";
  }
  for (const peers of [conf.voters, conf.learners]) {
    let last: number = 0;
    for (const peer of peers) {
      if (!isPeer(peer) || peer <= last) return "members are not ascending ids";
      last = peer;
    }
  }
  const voters = new Set<PeerId>(conf.voters);
  if (conf.learners.some((peer) => voters.has(peer))) return "a learner is also a voter";
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

/** Why the message cannot be meant for us or makes no sense; undefined when it may be processed. */
export function messageProblem(state: RaftState, message: Message): string | undefined {
  if (message.to !== state.id) return `addressed to ${message.to}`;
  if (!isPeer(message.from) || message.from === state.id) return `sent by ${message.from}`;
  if (!isCount(message.term)) return `term ${message.term}`;
  if (message.kind === "append") {
    const { prevIndex, prevTerm, entries, commit, term } = message;
    if (!isCount(prevIndex) || !isCount(prevTerm) || !isCount(commit)) return "not an index";
    if (prevTerm > term) return "the previous entry's term is beyond its sender's";
    return entriesProblem(entries, prevIndex, prevTerm, term);
  }
  if (message.kind === "snapshot") return metaProblem(message.meta, message.term);
  if (message.kind === "vote" || message.kind === "preVote") {
    if (!isCount(message.lastIndex) || message.lastTerm >= message.term) {
      return "a candidate's log ends in an earlier term";
    }
  }
  if (message.kind === "heartbeat" && !isCount(message.commit)) return "not an index";
  if (message.kind === "appendReply" && !isCount(message.index)) return "not an index";
  return undefined;
}
