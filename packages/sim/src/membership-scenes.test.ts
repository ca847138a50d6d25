import assert from "node:assert/strict";
import { test } from "node:test";
import { MEDIA_KINDS } from "./atlas.ts";
import { decodePlan, encodePlan } from "./minimise/plan-file.ts";
import { drawPlan } from "./swarm.ts";

const SEEDS = Array.from({ length: 150 }, (_, n) => n + 1);

test("every part of the protocol is off, or small, in some seeds, and as shipped in others", () => {
  const parts = [
    "preVote",
    "checkQuorum",
    "maxAppendBytes",
    "maxInflight",
    "maxInflightBytes",
    "maxUncommittedBytes",
    "maxApplyBytes",
  ] as const;
  const drawn = SEEDS.map((seed) => drawPlan(seed, "raft").cluster);
  for (const part of parts) {
    const count = drawn.filter(({ protocol }) => protocol?.[part] !== undefined).length;
    assert.ok(count > 0 && count < SEEDS.length / 2, `${part}: ${count}`);
  }
  assert.ok(drawn.some(({ promoteLag }) => promoteLag !== undefined));
  for (const { leaseReads, protocol } of drawn) {
    assert.ok(!leaseReads || protocol?.checkQuorum === undefined, "leases rest on it");
  }
});

test("several machines change their part at once, but never where media fail", () => {
  let bursts = 0;
  for (const seed of SEEDS) {
    const { items, cluster } = drawPlan(seed, "raft");
    const faults = items.filter((item) => item.type === "fault");
    const churns = faults.filter(({ kind }) => kind === "membershipChurn");
    assert.ok(faults.every(({ atMs }) => atMs < cluster.safetyMs));
    if (churns.some((one) => churns.some((other) => other !== one && other.atMs === one.atMs))) {
      bursts++;
    }
    assert.ok(churns.length === 0 || !faults.some(({ kind }) => MEDIA_KINDS.has(kind)));
  }
  assert.ok(bursts > SEEDS.length / 5, `${bursts} seeds with bursts`);
});

test("the control profile has the protocol as shipped", () => {
  for (const seed of SEEDS.slice(0, 20)) {
    const { cluster } = drawPlan(seed, "control");
    assert.equal(cluster.protocol, undefined);
    assert.equal(cluster.promoteLag, undefined);
  }
});

test("a plan file keeps what is off and what is small; what it does not know is refused", () => {
  const small = { preVote: false, maxInflight: 2 };
  const drawn = drawPlan(1, "raft");
  const cluster = { ...drawn.cluster, protocol: small, promoteLag: 7 };
  const text = encodePlan({ ...drawn, cluster, items: drawn.items.slice(0, 3) });
  const read = decodePlan(text);
  assert.ok(read.ok, JSON.stringify(read));
  assert.deepEqual(read.value.cluster, cluster);
  for (const [from, to] of [
    ['"maxInflight":2', '"maxInflight":0'],
    ['"maxInflight":2', '"maxOutflight":2'],
    ['"preVote":false', '"preVote":1'],
    ['"promoteLag":7', '"promoteLag":"7"'],
  ] as const) {
    assert.equal(decodePlan(text.replace(from, to)).ok, false, to);
  }
});
