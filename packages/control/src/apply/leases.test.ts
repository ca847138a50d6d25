import assert from "node:assert/strict";
import { test } from "node:test";
import { as, type Term } from "@blixard/std";
import { nodeId, vmId, World } from "../testing/world.ts";
import { registrationOf } from "../testing/world.ts";
import type { VmPhase, VmRecord } from "../types.ts";

/**
 * Node 1 up with VMs: 1 running, 2 running and stopped, 3 running and deleting, 4 failed, 5
 * scheduled.
 */
function populated(): World {
  const world = new World();
  world.addNode(1);
  for (const n of [1, 2, 3, 4]) world.runVm(n, 1);
  world.ok({ kind: "setDesired", vmId: vmId(2), desired: "stopped" });
  world.ok({ kind: "deleteVm", vmId: vmId(3) });
  world.ok(world.reportOf(4, "failed", { reason: "no image" }));
  world.addVm(5);
  world.place(5, 1);
  world.addVm(6);
  world.place(6, 1);
  world.ok({ kind: "deleteVm", vmId: vmId(6) });
  return world;
}

function shapes(world: World): Record<number, [VmPhase, boolean] | undefined> {
  const shape = (vm: VmRecord | undefined): [VmPhase, boolean] | undefined =>
    vm && [vm.phase, vm.nodeId !== undefined];
  return Object.fromEntries(
    [1, 2, 3, 4, 5, 6].map((n) => [n, shape(world.state.vms.get(vmId(n)))]),
  );
}

test("acquireLease begins the next epoch; what was live is to be started again, or is over", () => {
  const world = populated();
  const { node, changes } = world.ok({ kind: "acquireLease", nodeId: nodeId(1), fromEpoch: 1 });
  assert.equal(node?.leaseEpoch, 2);
  assert.equal(node.state, "up");
  assert.deepEqual(shapes(world), {
    1: ["scheduled", true],
    2: ["stopped", true],
    3: undefined,
    4: ["failed", true],
    5: ["scheduled", true],
    6: ["scheduled", true],
  });
  assert.deepEqual(
    changes.map(({ kind, id }) => [kind, id]),
    [
      ["node", nodeId(1)],
      ["vm", vmId(1)],
      ["vm", vmId(2)],
      ["vm", vmId(3)],
    ],
  );
  assert.match(world.vm(1).reason ?? "", /node-1 began lease epoch 2/);
});

test("acquireLease refuses an unknown node, and an epoch that moved on by naming it", () => {
  const world = populated();
  const stray = world.refused({ kind: "acquireLease", nodeId: nodeId(9), fromEpoch: 0 });
  assert.equal(stray.code, "NotFound");
  const stale = world.refused({ kind: "acquireLease", nodeId: nodeId(1), fromEpoch: 0 });
  assert.equal(stale.code, "Conflict");
  assert.match(stale.message, /lease epoch 1, not 0/);
});

test("expireLease unplaces everything the node had", () => {
  const world = populated();
  const { node } = world.ok(world.expire(1, 1));
  assert.equal(node?.state, "lost");
  assert.equal(node.leaseEpoch, 1);
  assert.deepEqual(shapes(world), {
    1: ["pending", false],
    2: ["stopped", false],
    3: undefined,
    4: ["failed", false],
    5: ["pending", false],
    6: undefined,
  });
  assert.equal(world.vm(1).reason, "node node-1 lost");
  assert.equal(world.vm(4).reason, "no image");
});

test("expireLease is refused for another node, epoch, term, or a node not up", () => {
  const world = new World();
  world.ok({ kind: "registerNode", node: registrationOf(1) });
  assert.match(world.refused(world.expire(1, 0)).message, /joining already/);
  world.ok({ kind: "acquireLease", nodeId: nodeId(1), fromEpoch: 0 });
  assert.equal(world.refused(world.expire(9, 1)).code, "NotFound");
  assert.match(world.refused(world.expire(1, 0)).message, /lease epoch 1, not 0/);
  const decided = world.expire(1, 1);
  world.term = as<Term>(2);
  assert.match(world.refused(decided).message, /term 1 .* entry is of term 2/);
  assert.equal(world.node(1).state, "up");
  world.ok(world.expire(1, 1));
  assert.match(world.refused(world.expire(1, 1)).message, /lost already/);
});

test("a lost node comes back with an empty hand and the next epoch", () => {
  const world = populated();
  world.ok(world.expire(1, 1));
  const { changes } = world.ok({ kind: "acquireLease", nodeId: nodeId(1), fromEpoch: 1 });
  assert.equal(changes.length, 1);
  assert.equal(world.node(1).leaseEpoch, 2);
});
