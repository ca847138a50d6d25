/** Seeds that once failed; each stays here for ever with what it found, and runs in every `npm test`. */

import type { Profile } from "./run.ts";

export interface FoundSeed {
  readonly seed: number;
  readonly profile: Profile;
  /** What it found, when it failed. */
  readonly found: string;
}

export const SEEDS: readonly FoundSeed[] = [];
