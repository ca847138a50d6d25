/**
 * Seeds that once failed; each stays here for ever with what it found, and runs in every `npm
 * test`. A change of the world gives a seed another story: what a seed found gets a directed test
 * as well, named here and in docs/bugs-found.md.
 */

import type { Profile } from "./plan.ts";

export interface FoundSeed {
  readonly seed: number;
  readonly profile: Profile;
  /** What it found, when it failed. */
  readonly found: string;
}

export const FOUND_SEEDS: readonly FoundSeed[] = [
  {
    seed: 23,
    profile: "storage",
    found:
      "raft-node: a leader offered a rotten snapshot for ever (transfer.test.ts: a snapshot that " +
      "rots under a running leader)",
  },
];
