/**
 * Quorums (Raft paper, section 5; joint consensus: section 6). A joint configuration decides only
 * what both of its halves decide. An empty half has no objection; a configuration without any voter
 * decides nothing.
 */

import type { LogIndex, PeerId } from "@blixard/std";
import { toIndex } from "./log.ts";
import type { ConfState } from "./types.ts";

/** The two halves of a configuration; `votersOutgoing` is empty unless it is joint. */
export type Voters = Pick<ConfState, "voters" | "votersOutgoing">;

export function majority(voters: number): number {
  return Math.floor(voters / 2) + 1;
}

/**
 * The highest value that a majority of `values` (one per voter) has reached; infinite without any.
 * Sorts `values` in place.
 */
export function majorityValue(values: number[]): number {
  if (values.length === 0) return Infinity;
  values.sort((a, b) => a - b);
  return values[values.length - majority(values.length)] ?? 0;
}

/** The highest value that both halves have reached; infinite without voters. */
export function jointValue(conf: Voters, valueOf: (peer: PeerId) => number): number {
  const value = majorityValue(conf.voters.map(valueOf));
  if (conf.votersOutgoing.length === 0) return value;
  return Math.min(value, majorityValue(conf.votersOutgoing.map(valueOf)));
}

/** As `jointValue`, but 0 without voters. */
export function quorumValue(conf: Voters, valueOf: (peer: PeerId) => number): number {
  return conf.voters.length === 0 ? 0 : jointValue(conf, valueOf);
}

/** Highest index known durable on a quorum, given what each voter is known to hold. */
export function quorumIndex(conf: Voters, indexOf: (peer: PeerId) => number): LogIndex {
  return toIndex(quorumValue(conf, indexOf));
}

export type VoteResult = "won" | "lost" | "pending";

/** Outcome among `voters` alone; votes of others are ignored, and nobody objects to nobody. */
export function majorityVote(
  voters: readonly PeerId[],
  votes: ReadonlyMap<PeerId, boolean>,
): VoteResult {
  let granted = 0;
  let refused = 0;
  for (const peer of voters) {
    const vote = votes.get(peer);
    if (vote === true) granted++;
    else if (vote === false) refused++;
  }
  if (voters.length === 0) return "won";
  const need = majority(voters.length);
  if (granted >= need) return "won";
  return voters.length - refused < need ? "lost" : "pending";
}

/** Outcome of an election under `conf`: both halves must be won. */
export function jointVote(conf: Voters, votes: ReadonlyMap<PeerId, boolean>): VoteResult {
  const incoming = majorityVote(conf.voters, votes);
  const outgoing = majorityVote(conf.votersOutgoing, votes);
  if (incoming === outgoing) return incoming;
  return incoming === "lost" || outgoing === "lost" ? "lost" : "pending";
}

/** As `jointVote`, but a configuration without voters elects nobody. */
export function voteResult(conf: Voters, votes: ReadonlyMap<PeerId, boolean>): VoteResult {
  return conf.voters.length === 0 ? "lost" : jointVote(conf, votes);
}

/** True when the peers for which `has` holds are a quorum. */
export function hasQuorum(conf: Voters, has: (peer: PeerId) => boolean): boolean {
  return quorumValue(conf, (peer) => (has(peer) ? 1 : 0)) === 1;
}

/** Everybody with a vote in either half, ascending. */
export function allVoters(conf: Voters): PeerId[] {
  const { voters, votersOutgoing } = conf;
  if (votersOutgoing.length === 0) return [...voters];
  return [...new Set([...voters, ...votersOutgoing])].sort((a, b) => a - b);
}
