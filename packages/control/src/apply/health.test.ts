import assert from "node:assert/strict";
import { test } from "node:test";
import { SAMPLES } from "../testing/samples.ts";
import { epoch, nodeId, vmId, World } from "../testing/world.ts";
import type { Command } from "../types.ts";

function running(): World {
  const world = new World();
  world.addNode(1);
  world.addNode(2);
  world.runVm(1, 1);
  return world;
}

const report = (world: World, over: object = {}): Command => ({
  ...SAMPLES.reportHealth,
  vmId: vmId(1),
  leaseEpoch: world.node(1).leaseEpoch,
  epoch: world.vm(1).epoch,
  ...over,
});

test("a guest that stops to answer is marked, once, until it answers", () => {
  const world = running();
  const [change] = world.ok(report(world)).changes;
  assert.ok(change?.kind === "vm" && change.after?.health === "unresponsive");
  assert.deepEqual(world.ok(report(world)).changes, [], "said already");
  assert.equal(world.vm(1).phase, "running");
  world.ok(world.reportOf(1, "running", { commandExit: 3 }));
  assert.equal(world.vm(1).health, "unresponsive", "its command ended, no more");
  world.ok(report(world, { health: "responsive" }));
  assert.ok(!("health" in world.vm(1)));
  assert.deepEqual(world.ok(report(world, { health: "responsive" })).changes, []);
});

test("whatever ends its running takes the mark along", () => {
  for (const end of ["stopping", "crashed", "gone"] as const) {
    const world = running();
    world.ok(report(world));
    world.ok(world.reportOf(1, end));
    assert.ok(!("health" in world.vm(1)), end);
    assert.match(world.refused(report(world)).message, /not running/);
  }
  const world = running();
  world.ok(report(world));
  world.claim(1, 1);
  assert.ok(!("health" in world.vm(1)));
  world.ok(world.reportOf(1, "running"));
  world.ok(report(world));
  world.ok(world.expire(1, 1));
  assert.deepEqual([world.vm(1).phase, "health" in world.vm(1)], ["pending", false]);
});

test("it is refused from elsewhere, under another lease and about another start", () => {
  const world = running();
  assert.equal(world.refused(report(world, { vmId: vmId(9) })).code, "NotFound");
  assert.equal(world.refused(report(world, { nodeId: nodeId(9) })).code, "NotFound");
  assert.match(world.refused(report(world, { nodeId: nodeId(2) })).message, /not on node node-2/);
  assert.match(world.refused(report(world, { leaseEpoch: 7 })).message, /lease epoch/);
  assert.match(world.refused(report(world, { epoch: epoch(9) })).message, /the report is about 9/);
});
