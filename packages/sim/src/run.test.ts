import assert from "node:assert/strict";
import { test } from "node:test";
import { type Mutant, type Outcome, type Profile, PROFILES, runSeed } from "./run.ts";
import { SEEDS } from "./seeds.ts";

/** Runs of each profile: together at least 2000, in at most 40 s of one core. */
const RUNS: Readonly<Record<Profile, number>> = { raft: 1650, node: 300, control: 100 };
/** What all runs of a profile together must have reached, else they show nothing. */
const REACHES: Readonly<Record<Profile, readonly string[]>> = {
  raft: ["acked", "reads", "leaders", "faults", "memberChanges", "installs", "repairs"],
  node: ["acked", "reads", "leaders", "faults", "memberChanges", "restores", "damaged"],
  control: ["acked", "starts", "expiries", "lost", "faults"],
};

function report({ seed, profile, violation, timeline }: Outcome): string {
  return `${profile} seed ${seed}: ${violation}\n${timeline.join("\n")}`;
}

for (const profile of PROFILES) {
  test(`${profile}: ${RUNS[profile]} seeds keep every invariant`, () => {
    const reached: Record<string, number> = {};
    for (let seed = 1; seed <= RUNS[profile]; seed++) {
      const outcome = runSeed(seed, profile);
      assert.ok(outcome.ok, report(outcome));
      for (const [what, count] of Object.entries(outcome.reached)) {
        reached[what] = (reached[what] ?? 0) + count;
      }
    }
    for (const what of REACHES[profile]) {
      assert.ok((reached[what] ?? 0) > 0, `${profile} never reached: ${what}`);
    }
  });

  test(`${profile}: the same seed gives the same hash, another seed another`, () => {
    const hashes = new Set<string>();
    for (let seed = 1; seed <= 5; seed++) {
      const { hash, events } = runSeed(seed, profile);
      assert.deepEqual({ hash, events }, pick(runSeed(seed, profile)));
      hashes.add(hash);
    }
    assert.equal(hashes.size, 5);
  });
}

function pick({ hash, events }: Outcome): { hash: string; events: number } {
  return { hash, events };
}

test("seeds that once failed still pass", () => {
  for (const { seed, profile } of SEEDS) {
    const outcome = runSeed(seed, profile);
    assert.ok(outcome.ok, report(outcome));
  }
});

const MUTANTS: readonly (readonly [Mutant, Profile, RegExp])[] = [
  ["lyingSync", "raft", /./],
  ["sendBeforePersist", "raft", /./],
  ["forgetVote", "raft", /./],
  ["applyTwice", "raft", /state at index/],
  ["lyingSync", "node", /./],
  ["applyTwice", "node", /state at index/],
  ["noLeaseWait", "control", /runs twice/],
];

for (const [mutant, profile, finding] of MUTANTS) {
  test(`${profile} with ${mutant} is caught`, () => {
    for (let seed = 1; seed <= 300; seed++) {
      const { ok, violation } = runSeed(seed, profile, { mutant });
      if (ok) continue;
      assert.match(violation ?? "", finding);
      return;
    }
    assert.fail("300 seeds did not notice");
  });
}
