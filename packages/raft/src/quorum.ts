/** Majorities over a set of voters (Raft paper, section 5). */

import type { LogIndex, PeerId } from "@blixard/std";
import { toIndex } from "./log.ts";

export function majority(voters: number): number {
  return Math.floor(voters / 2) + 1;
}

/**
 * The highest value that a majority of `values` (one per voter) has reached; 0 without voters,
 * because an empty configuration decides nothing. Sorts `values` in place.
 */
export function majorityValue(values: number[]): number {
  if (values.length === 0) return 0;
  values.sort((a, b) => a - b);
  return values[values.length - majority(values.length)] ?? 0;
}

/** Highest index known durable on a majority, given what each voter is known to hold. */
export function quorumIndex(
  voters: readonly PeerId[],
  indexOf: (peer: PeerId) => number,
): LogIndex {
  const values: number[] = [];
  for (const peer of voters) values.push(indexOf(peer));
  return toIndex(majorityValue(values));
}

export type VoteResult = "won" | "lost" | "pending";

/** Outcome of an election among `voters`; votes of others are ignored. */
export function voteResult(
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
  if (voters.length === 0) return "lost";
  const need = majority(voters.length);
  if (granted >= need) return "won";
  return voters.length - refused < need ? "lost" : "pending";
}

/** True when the peers for which `has` holds form a majority of `voters`. */
export function hasMajority(voters: readonly PeerId[], has: (peer: PeerId) => boolean): boolean {
  let count = 0;
  for (const peer of voters) if (has(peer)) count++;
  return voters.length > 0 && count >= majority(voters.length);
}
