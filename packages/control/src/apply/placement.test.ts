import assert from "node:assert/strict";
import { test } from "node:test";
import { as, type LogIndex } from "@blixard/std";
import { usage } from "../state.ts";
import { GIB, nodeId, registrationOf, specOf, vmId, World } from "../testing/world.ts";
import type { Command } from "../types.ts";

const place = (vm: number, node: number, atRevision: number): Command => ({
  kind: "placeVm",
  vmId: vmId(vm),
  nodeId: nodeId(node),
  atRevision: as<LogIndex>(atRevision),
});
const claim = (vm: number, node: number, leaseEpoch = 1): Command => ({
  kind: "claimStart",
  vmId: vmId(vm),
  nodeId: nodeId(node),
  leaseEpoch,
});

test("placeVm schedules a pending VM and counts it in the node's usage", () => {
  const world = new World();
  world.addNode(1);
  const { modifiedRevision } = world.addVm(1, { vcpus: 2, diskBytes: GIB });
  const { vm } = world.ok(place(1, 1, modifiedRevision));
  assert.equal(vm?.phase, "scheduled");
  assert.equal(vm.nodeId, nodeId(1));
  const expected = { vcpus: 2, memoryBytes: GIB, diskBytes: GIB };
  assert.deepEqual(usage(world.state, nodeId(1)), expected);
});

test("placeVm refuses what moved on since it was planned", () => {
  const world = new World();
  world.addNode(1);
  const at = world.addVm(1).modifiedRevision;
  assert.equal(world.refused(place(9, 1, at)).code, "NotFound");
  assert.equal(world.refused(place(1, 9, at)).code, "NotFound");
  assert.match(world.refused(place(1, 1, at + 1)).message, /changed at/);
  world.ok({ kind: "registerNode", node: registrationOf(2) });
  assert.match(world.refused(place(1, 2, at)).message, /no lease: it is joining/);
  world.ok(place(1, 1, at));
  assert.match(world.refused(place(1, 1, at)).message, /scheduled, not pending/);
  world.ok({ kind: "createVm", vmId: vmId(2), spec: specOf("idle"), desired: "stopped" });
  const idle = world.vm(2).modifiedRevision;
  assert.match(world.refused(place(2, 1, idle)).message, /stopped, not pending/);
  world.ok({ kind: "deleteVm", vmId: vmId(1) });
  assert.match(world.refused(place(1, 1, at)).message, /being deleted/);
});

test("placeVm never exceeds a node's capacity, and says what is short", () => {
  const world = new World();
  world.addNode(1, { capacity: { vcpus: 3, memoryBytes: 4 * GIB, diskBytes: 0 } });
  world.addVm(1, { vcpus: 2 });
  world.place(1, 1);
  const at = world.addVm(2, { vcpus: 2, memoryBytes: 3.5 * GIB, diskBytes: 1 }).modifiedRevision;
  const refusal = world.refused(place(2, 1, at));
  assert.equal(refusal.code, "NoCapacity");
  assert.match(
    refusal.message,
    /needs 2 vCPUs, 1 free; needs 3.5 GiB memory, 3 GiB free; needs 1 B disk, 0 B free/,
  );
});

test("claimStart gives the next epoch and counts the start", () => {
  const world = new World();
  world.addNode(1);
  world.addVm(1);
  world.place(1, 1);
  const first = world.ok(claim(1, 1));
  assert.equal(first.epoch, 1);
  assert.equal(first.vm?.phase, "starting");
  assert.equal(first.vm.restarts, 1);
  assert.equal(world.ok(claim(1, 1)).epoch, 2, "the daemon died before it started epoch 1");
  world.ok(world.reportOf(1, "running"));
  assert.equal(world.ok(claim(1, 1)).epoch, 3);
});

test("claimStart refuses the wrong node, lease, wish or phase", () => {
  const world = new World();
  world.addNode(1);
  world.addNode(2);
  world.addVm(1);
  assert.equal(world.refused(claim(9, 1)).code, "NotFound");
  assert.equal(world.refused(claim(1, 9)).code, "NotFound");
  assert.match(world.refused(claim(1, 1)).message, /not on node node-1/);
  world.place(1, 1);
  assert.match(world.refused(claim(1, 2)).message, /not on node node-2/);
  assert.match(world.refused(claim(1, 1, 0)).message, /lease epoch 1, the command names 0/);
  world.ok({ kind: "setDesired", vmId: vmId(1), desired: "stopped" });
  assert.match(world.refused(claim(1, 1)).message, /not wanted to run/);
  world.ok({ kind: "setDesired", vmId: vmId(1), desired: "running" });
  world.ok(world.reportOf(1, "failed"));
  assert.match(world.refused(claim(1, 1)).message, /failed: it cannot be started/);
  world.ok({ kind: "deleteVm", vmId: vmId(1) });
  assert.match(world.refused(claim(1, 1)).message, /being deleted/);
  world.ok(world.expire(1, 1));
  assert.equal(world.refused(claim(1, 1)).code, "NotFound");
});

test("after a lost lease the old node can claim nothing, the new one a higher epoch", () => {
  const world = new World();
  world.addNode(1);
  world.addNode(2);
  world.runVm(1, 1);
  world.ok(world.expire(1, 1));
  assert.equal(world.refused(claim(1, 1)).code, "Conflict");
  world.place(1, 2);
  assert.equal(world.claim(1, 2).epoch, 2);
});
