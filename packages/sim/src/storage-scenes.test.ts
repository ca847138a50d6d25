import assert from "node:assert/strict";
import { test } from "node:test";
import { MEDIA_KINDS } from "./atlas.ts";
import type { ClusterPlan, PlanItem } from "./plan.ts";
import { drawStorageScenes } from "./storage-scenes.ts";
import { drawPlan } from "./swarm.ts";

const SEEDS = Array.from({ length: 60 }, (_, seed) => seed + 1);

function drawn(seed: number, cluster: ClusterPlan, others: readonly PlanItem[] = []) {
  let id = 1000;
  const media = new Map([[1 + (seed % 3), seed % 3]]);
  return { items: drawStorageScenes(seed, cluster, media, () => id++, others), media };
}

test("scenes stay within the atlas: media fail where they may, and in their places", () => {
  const kinds = new Set<string>();
  for (const seed of SEEDS) {
    const { cluster } = drawPlan(seed, "storage");
    const { items, media } = drawn(seed, cluster);
    for (const item of items) {
      assert(item.atMs < cluster.safetyMs);
      if (item.type !== "fault") continue;
      kinds.add(item.kind);
      assert(item.untilMs >= item.atMs && item.untilMs <= cluster.safetyMs);
      if (!MEDIA_KINDS.has(item.kind)) continue;
      const [target = 0] = item.targets;
      assert.deepEqual([item.targets.length, item.amount], [1, media.get(target)], item.kind);
    }
  }
  const expected = ["diskCorruptWrite", "diskHung", "diskLostDirectoryEntry", "powerCut"];
  for (const kind of expected) assert(kinds.has(kind), `${kind} of ${[...kinds].join(" ")}`);
});

test("scenes take nothing away but writes, and those only for a while", () => {
  let dropped = 0;
  let all = 0;
  for (const seed of SEEDS) {
    const { cluster, items: others } = drawPlan(seed, "raft");
    const { items } = drawn(seed, cluster, others);
    const kept = new Set(items);
    for (const item of others) {
      if (item.type === "operation" && item.input.kind !== "read") {
        all++;
        if (!kept.has(item)) dropped++;
      } else assert(kept.has(item));
    }
    assert.deepEqual(drawn(seed, cluster, others).items, items, "the same seed draws the same");
  }
  assert(dropped > 0 && dropped < all / 2, `${dropped} of ${all}`);
});
