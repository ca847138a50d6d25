import assert from "node:assert/strict";
import { test } from "node:test";
import { decodePlan, encodePlan } from "./minimise/plan-file.ts";
import { FAULT_KINDS } from "./plan.ts";
import { drawPlan } from "./swarm.ts";

const SEEDS = 200;
const SPARSE_ITEMS_MAX = 60;

test("some seeds of control are sparse; all scenes come, within the plan's time", () => {
  const kinds = new Set<string>();
  let sparse = 0;
  for (let seed = 1; seed <= SEEDS; seed++) {
    const plan = drawPlan(seed, "control");
    if (plan.items.length > SPARSE_ITEMS_MAX) continue;
    sparse++;
    const read = decodePlan(encodePlan(plan));
    assert.deepEqual(read, { ok: true, value: plan });
    for (const item of plan.items) {
      assert.ok(item.atMs < plan.cluster.safetyMs);
      if (item.type === "fault") kinds.add(item.kind);
    }
  }
  assert.ok(sparse > SEEDS / 5 && sparse < SEEDS / 2, `${sparse} of ${SEEDS}`);
  const expected = [
    "clockFreeze",
    "delay",
    "diskHung",
    "diskSlow",
    "isolateOne",
    "leadershipTransfer",
    "partitionAsymmetric",
    "pause",
  ];
  assert.deepEqual(
    FAULT_KINDS.filter((kind) => kinds.has(kind)).sort((a, b) => a.localeCompare(b)),
    expected,
  );
});
