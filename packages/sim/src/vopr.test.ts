import assert from "node:assert/strict";
import { test } from "node:test";
import { type Outcome, type Plan, type Profile, PROFILES } from "./plan.ts";
import { FOUND_SEEDS } from "./seeds.ts";
import { drawPlan, profileOf } from "./swarm.ts";
import { Tally } from "./tally.ts";
import { runPlan } from "./vopr.ts";

/** Of each profile; `npm run sim` runs as many as there is time for. */
const RUNS: Readonly<Record<Profile, number>> = { raft: 14, storage: 14, control: 6, liveness: 8 };
/** What the runs of a profile must have reached between them, else they show nothing. */
const REACHED: Readonly<Record<Profile, readonly string[]>> = {
  raft: ["acked", "reads", "leaders", "memberChanges", "restores"],
  storage: ["acked", "reads", "leaders", "restores"],
  control: ["acked", "starts", "killedAll", "watched"],
  liveness: ["acked", "reads", "leaders"],
};

function report({ seed, profile, failure }: Outcome): string {
  return `${profile} seed ${seed}: ${failure?.invariant}: ${failure?.message}`;
}

for (const profile of PROFILES) {
  void test(`${profile}: ${RUNS[profile]} seeds keep every invariant`, () => {
    const tally = new Tally();
    for (let seed = 1; seed <= RUNS[profile]; seed++) {
      const plan = drawPlan(seed, profile);
      const outcome = runPlan(plan);
      assert.ok(outcome.ok, report(outcome));
      tally.add({ ...outcome, machines: plan.cluster.voters, realMs: 1 });
    }
    const { reached, operationsPerSimulatedSecond } = tally.summary(1, 0);
    for (const what of REACHED[profile]) {
      assert.ok((reached[what] ?? 0) > 0, `never reached: ${what}`);
    }
    assert.ok(operationsPerSimulatedSecond > 10, `${operationsPerSimulatedSecond}`);
  });

  void test(`${profile}: a plan is JSON, and the same one gives the same hash`, () => {
    const plan = drawPlan(77, profile);
    // Safe: it is what was written.
    const copy = JSON.parse(JSON.stringify(plan)) as Plan;
    assert.deepEqual(copy, plan);
    const first = runPlan(plan);
    const second = runPlan(copy, { traceLines: 50 });
    assert.deepEqual([second.hash, second.events], [first.hash, first.events]);
    assert.ok(second.trace !== undefined && second.trace.length === 50);
    assert.notEqual(runPlan({ ...plan, seed: 78 }).hash, first.hash);
  });
}

void test("a plan without some of its items is a plan, and the items draw as before", () => {
  const plan = drawPlan(5, "raft");
  const without = { ...plan, items: plan.items.filter(({ id }) => id % 3 !== 0) };
  assert.ok(runPlan(without).ok);
  const idle = runPlan({ ...plan, items: [] });
  assert.ok(idle.ok);
  assert.deepEqual([idle.operations, idle.history.length], [0, 0]);
});

void test("each seed has a profile of its own; what cannot be run is a failure, not a crash", () => {
  assert.deepEqual(new Set([0, 1, 2, 3].map(profileOf)), new Set(PROFILES));
  const plan = drawPlan(1, "control");
  const wrong = { ...drawPlan(1, "raft"), items: plan.items };
  assert.equal(runPlan(wrong).failure?.invariant, "valid plan");
});

void test("seeds that once failed still pass", () => {
  for (const { seed, profile } of FOUND_SEEDS) {
    const outcome = runPlan(drawPlan(seed, profile));
    assert.ok(outcome.ok, report(outcome));
  }
});
