import assert from "node:assert/strict";
import { test } from "node:test";
import { decodePlan, encodePlan } from "./minimise/plan-file.ts";
import type { Plan } from "./plan.ts";
import { drawPlacementScenes } from "./placement-scenes.ts";
import { drawPlan } from "./swarm.ts";

const SEEDS = Array.from({ length: 60 }, (_, n) => n + 1);

function drawn(seed: number): Plan {
  const plan = drawPlan(seed, "control");
  let id = Math.max(...plan.items.map((item) => item.id)) + 1;
  const items = drawPlacementScenes(seed, plan.cluster, () => id++, plan.items);
  return { ...plan, items: [...items].sort((a, b) => a.atMs - b.atMs || a.id - b.id) };
}

test("some seeds have scenes, the others stay as they are; a plan is a plan", () => {
  let arranged = 0;
  for (const seed of SEEDS) {
    const plan = drawn(seed);
    assert.deepEqual(drawn(seed), plan);
    assert.equal(new Set(plan.items.map(({ id }) => id)).size, plan.items.length);
    const decoded = decodePlan(encodePlan(plan));
    assert.ok(decoded.ok, decoded.ok ? "" : decoded.error);
    assert.deepEqual(decoded.value, plan);
    if (plan.items.length !== drawPlan(seed, "control").items.length) arranged++;
    for (const item of plan.items) {
      assert.ok(item.atMs < plan.cluster.safetyMs);
      if (item.type === "fault") assert.ok(item.untilMs <= plan.cluster.safetyMs);
    }
  }
  assert.ok(arranged >= SEEDS.length / 5 && arranged <= SEEDS.length / 2, `${arranged}`);
});

test("a node's words are late in one direction only, and it dies while they are under way", () => {
  const plans = SEEDS.map(drawn);
  const items = plans.flatMap((plan) => plan.items);
  const late = items.filter((item) => item.type === "fault" && item.isOneWay === true);
  assert.ok(late.length > 20);
  for (const { items: own, seed } of plans) {
    for (const delay of own) {
      if (delay.type !== "fault" || delay.isOneWay !== true) continue;
      const end = own.find(
        (item) =>
          item.type === "fault" &&
          (item.kind === "powerCut" || item.kind === "crash") &&
          item.targets[0] === delay.targets[0] &&
          item.atMs >= delay.atMs &&
          item.atMs < delay.atMs + delay.amount / 1000,
      );
      assert.ok(end !== undefined, `seed ${seed}: item ${delay.id}`);
    }
  }
});
