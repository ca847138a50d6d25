import assert from "node:assert/strict";
import { test } from "node:test";
import { RESTARTS_MAX } from "../limits.ts";
import { SAMPLES } from "../testing/samples.ts";
import { epoch, nodeId, vmId, World } from "../testing/world.ts";

function running(): World {
  const world = new World();
  world.addNode(1);
  world.addNode(2);
  world.runVm(1, 1);
  return world;
}
const stop = { kind: "setDesired", vmId: vmId(1), desired: "stopped" } as const;
const start = { kind: "setDesired", vmId: vmId(1), desired: "running" } as const;

test("a report is refused for another VM, node, lease or epoch", () => {
  const world = running();
  const report = (over: object) => world.refused(world.reportOf(1, "running", over));
  assert.equal(report({ vmId: vmId(9) }).code, "NotFound");
  assert.equal(report({ nodeId: nodeId(9) }).code, "NotFound");
  assert.match(report({ nodeId: nodeId(2) }).message, /not on node node-2/);
  assert.match(report({ leaseEpoch: 7 }).message, /lease epoch 1, the command names 7/);
  assert.match(report({ epoch: epoch(0) }).message, /in epoch 1, the report is about 0/);
});

test("starting, running, stopping, and back never; a repeated report makes no revision", () => {
  const world = new World();
  world.addNode(1);
  world.addVm(1);
  world.place(1, 1);
  world.claim(1, 1);
  world.ok(world.reportOf(1, "running"));
  assert.equal(world.vm(1).phase, "running");
  assert.deepEqual(world.ok(world.reportOf(1, "running")).changes, []);
  world.ok(world.reportOf(1, "stopping", { reason: "asked to" }));
  assert.equal(world.vm(1).reason, "asked to");
  assert.deepEqual(world.ok(world.reportOf(1, "running")).changes, []);
  assert.equal(world.vm(1).phase, "stopping");
});

test("an exit code that comes while the VM runs is kept", () => {
  const world = running();
  world.ok(world.reportOf(1, "running", { commandExit: 7 }));
  assert.equal(world.vm(1).commandExit, 7);
  assert.equal(world.vm(1).phase, "running");
});

test("a start that ended never lives again", () => {
  const world = running();
  world.ok(world.reportOf(1, "crashed"));
  assert.equal(world.vm(1).phase, "scheduled");
  assert.match(world.refused(world.reportOf(1, "running")).message, /has ended/);
  for (const phase of ["crashed", "stopped", "gone"] as const) {
    assert.deepEqual(world.ok(world.reportOf(1, phase)).changes, [], phase);
  }
});

test(`a VM that crashes after ${RESTARTS_MAX} restarts is failed`, () => {
  const world = running();
  for (let i = 0; i < RESTARTS_MAX; i++) {
    world.ok(world.reportOf(1, "crashed", { reason: "panic" }));
    assert.equal(world.vm(1).phase, "scheduled");
    world.claim(1, 1);
  }
  world.ok(world.reportOf(1, "crashed", { reason: "panic" }));
  assert.equal(world.vm(1).phase, "failed");
  assert.equal(world.vm(1).reason, "panic (6 starts in a row)");
  assert.deepEqual(world.ok(world.reportOf(1, "failed")).changes, []);
});

test("a start that settled, and only one that lives, clears what came before", () => {
  const world = running();
  const settle = (over: object = {}) => ({ ...SAMPLES.settleVm, ...at(), ...over });
  const at = () => ({ vmId: vmId(1), nodeId: nodeId(1), leaseEpoch: 1, epoch: world.vm(1).epoch });
  assert.deepEqual(world.ok(settle()).changes, [], "one start is what counts already");
  for (let i = 0; i < 3; i++) {
    world.ok(world.reportOf(1, "crashed"));
    assert.match(world.refused(settle()).message, /has ended: it is scheduled/);
    world.claim(1, 1);
  }
  assert.equal(world.vm(1).restarts, 4);
  assert.equal(world.refused(settle({ vmId: vmId(9) })).code, "NotFound");
  assert.equal(world.refused(settle({ nodeId: nodeId(9) })).code, "NotFound");
  assert.match(world.refused(settle({ nodeId: nodeId(2) })).message, /not on node node-2/);
  assert.match(world.refused(settle({ leaseEpoch: 7 })).message, /lease epoch 1/);
  assert.match(world.refused(settle({ epoch: epoch(3) })).message, /what settled is 3/);
  world.ok(settle());
  assert.equal(world.vm(1).restarts, 1);
  assert.deepEqual(world.ok(settle()).changes, []);
  world.ok(world.reportOf(1, "crashed"));
  assert.equal(world.vm(1).phase, "scheduled");
});

test("a crash while it is wanted stopped, or is being deleted, is a stop", () => {
  const world = running();
  world.ok(stop);
  world.ok(world.reportOf(1, "crashed"));
  assert.equal(world.vm(1).phase, "stopped");
  world.runVm(2, 1);
  world.ok({ kind: "deleteVm", vmId: vmId(2) });
  world.ok(world.reportOf(2, "stopped"));
  assert.equal(world.vm(2).phase, "stopped");
});

test("a workload that ended stays ended: desired becomes stopped", () => {
  const world = running();
  world.ok(world.reportOf(1, "stopping"));
  world.ok(world.reportOf(1, "stopped", { commandExit: 0 }));
  assert.equal(world.vm(1).phase, "stopped");
  assert.equal(world.vm(1).desired, "stopped");
  assert.equal(world.vm(1).commandExit, 0);
});

test("a start asked for after a stop is not lost with the end of the earlier start", () => {
  const world = running();
  world.ok(stop);
  world.ok(start);
  world.ok(world.reportOf(1, "stopped", { commandExit: 143 }));
  assert.equal(world.vm(1).phase, "scheduled");
  assert.equal(world.vm(1).desired, "running");
});

test("a guest without a workload that shuts down is started again", () => {
  const world = running();
  world.ok(world.reportOf(1, "stopped"));
  assert.equal(world.vm(1).phase, "scheduled");
  assert.equal(world.vm(1).reason, "the guest shut down");
});

test("failed: before any start too, and as stopped when it is not wanted", () => {
  const world = new World();
  world.addNode(1);
  world.addVm(1);
  world.place(1, 1);
  world.ok(world.reportOf(1, "failed"));
  assert.equal(world.vm(1).phase, "failed");
  assert.equal(world.vm(1).reason, "its node could not start it");
  world.ok(start);
  world.claim(1, 1);
  world.ok(stop);
  world.ok(world.reportOf(1, "failed", { reason: "no image" }));
  assert.equal(world.vm(1).phase, "stopped");
  assert.equal(world.vm(1).reason, "no image");
});

test("gone: removed when it is being deleted, else to be started again or stopped", () => {
  const world = running();
  world.ok(world.reportOf(1, "gone"));
  assert.equal(world.vm(1).phase, "scheduled");
  world.claim(1, 1);
  world.ok(stop);
  world.ok(world.reportOf(1, "gone"));
  assert.equal(world.vm(1).phase, "stopped");
  world.ok({ kind: "deleteVm", vmId: vmId(1) });
  world.ok(world.reportOf(1, "gone"));
  assert.equal(world.state.vms.size, 0);
});
