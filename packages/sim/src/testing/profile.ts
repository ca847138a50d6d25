/** What the tests of all profiles do: many seeds, the same hash twice, mutants that are caught. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { type Mutant, type Outcome, type Profile, runSeed } from "../run.ts";
import { SEEDS } from "../seeds.ts";

export interface ProfileTests {
  readonly profile: Profile;
  /** Seeds 1 to this. Together the profiles run at least 2000, in at most 40 s of one core. */
  readonly runs: number;
  /** What all runs together must have reached, else they show nothing. */
  readonly reaches: readonly string[];
  readonly mutants: readonly (readonly [mutant: Mutant, finding: RegExp])[];
}

/** A mutant that this many seeds do not notice is not caught. */
const MUTANT_RUNS = 400;

function report({ seed, profile, violation, timeline }: Outcome): string {
  return `${profile} seed ${seed}: ${violation}\n${timeline.join("\n")}`;
}

function testSeeds({ profile, runs, reaches }: ProfileTests): void {
  const reached: Record<string, number> = {};
  for (let seed = 1; seed <= runs; seed++) {
    const outcome = runSeed(seed, profile);
    assert.ok(outcome.ok, report(outcome));
    for (const [what, count] of Object.entries(outcome.reached)) {
      reached[what] = (reached[what] ?? 0) + count;
    }
  }
  for (const what of reaches) assert.ok((reached[what] ?? 0) > 0, `never reached: ${what}`);
}

function testHash(profile: Profile): void {
  const hashes = new Set<string>();
  for (let seed = 1; seed <= 5; seed++) {
    const first = runSeed(seed, profile);
    const second = runSeed(seed, profile);
    assert.equal(first.hash, second.hash);
    assert.equal(first.events, second.events);
    hashes.add(first.hash);
  }
  assert.equal(hashes.size, 5);
}

function testMutant(profile: Profile, mutant: Mutant, finding: RegExp): void {
  for (let seed = 1; seed <= MUTANT_RUNS; seed++) {
    const { ok, violation } = runSeed(seed, profile, { mutant });
    if (ok) continue;
    assert.match(violation ?? "", finding);
    return;
  }
  assert.fail(`${MUTANT_RUNS} seeds did not notice`);
}

export function testProfile(tests: ProfileTests): void {
  const { profile, runs, mutants } = tests;
  void test(`${profile}: ${runs} seeds keep every invariant`, () => testSeeds(tests));
  void test(`${profile}: the same seed gives the same hash, another another`, () =>
    testHash(profile));
  void test(`${profile}: seeds that once failed still pass`, () => {
    for (const found of SEEDS.filter((one) => one.profile === profile)) {
      const outcome = runSeed(found.seed, profile);
      assert.ok(outcome.ok, report(outcome));
    }
  });
  for (const [mutant, finding] of mutants) {
    void test(`${profile}: ${mutant} is caught`, () => testMutant(profile, mutant, finding));
  }
}
