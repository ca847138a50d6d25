/**
 * Seeds that once failed; each stays here for ever with what it found, and runs in every `npm
 * test`. A change of the world gives a seed another story: what a seed found gets a directed test
 * as well, named here.
 */

import type { Profile } from "./run.ts";

export interface FoundSeed {
  readonly seed: number;
  readonly profile: Profile;
  /** What it found, when it failed. */
  readonly found: string;
}

export const SEEDS: readonly FoundSeed[] = [
  {
    seed: 95,
    profile: "node",
    found:
      "raft-node: a disk full at start-up was never tried again " +
      "(node-member.test.ts: a disk that is full while a node starts)",
  },
  {
    seed: 274,
    profile: "node",
    found:
      "raft-node: hard state became durable before the entries beside it, and its commit index " +
      "then named older, uncommitted entries " +
      "(raft-node, log.test.ts: hard state never becomes durable)",
  },
  {
    seed: 1333,
    profile: "raft",
    found: "raft: the order within a persist was not part of the contract (as node 274)",
  },
];
