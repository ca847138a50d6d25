import assert from "node:assert/strict";
import { test } from "node:test";
import { nodeId, specOf, vmId, World } from "../testing/world.ts";
import type { Command } from "../types.ts";

const create = (n: number, name: string, desired: "running" | "stopped" = "running"): Command => ({
  kind: "createVm",
  vmId: vmId(n),
  spec: specOf(name),
  desired,
});
const want = (n: number, desired: "running" | "stopped"): Command => ({
  kind: "setDesired",
  vmId: vmId(n),
  desired,
});
const remove = (n: number): Command => ({ kind: "deleteVm", vmId: vmId(n) });

test("createVm makes a pending VM, or a stopped one when it is not wanted to run", () => {
  const world = new World();
  const { vm, changes } = world.ok(create(1, "web"));
  assert.equal(vm?.phase, "pending");
  assert.equal(vm.epoch, 0);
  assert.equal(vm.createdRevision, 1);
  assert.deepEqual(changes, [{ kind: "vm", id: vmId(1), after: vm }]);
  assert.equal(world.ok(create(2, "idle", "stopped")).vm?.phase, "stopped");
  assert.ok(Object.isFrozen(vm) && Object.isFrozen(vm.spec) && Object.isFrozen(vm.spec.labels));
});

test("the same createVm again answers with the record and changes nothing", () => {
  const world = new World();
  const first = world.ok(create(1, "web"));
  const again = world.ok(create(1, "web"));
  assert.deepEqual(again.vm, first.vm);
  assert.deepEqual(again.changes, []);
});

test("createVm refuses a known id with another spec, and a taken name", () => {
  const world = new World();
  world.addNode(1);
  world.ok(create(1, "web"));
  assert.equal(world.refused(create(1, "other")).code, "AlreadyExists");
  const taken = world.refused(create(2, "web"));
  assert.deepEqual(taken.data, { kind: "VM", name: "web" });
  world.place(1, 1);
  world.ok(remove(1));
  assert.match(world.refused(create(2, "web")).message, /being deleted/);
  assert.equal(world.refused(create(1, "web")).code, "AlreadyExists");
});

test("a name is free again once its VM is gone", () => {
  const world = new World();
  world.ok(create(1, "web"));
  world.ok(remove(1));
  assert.equal(world.ok(create(2, "web")).vm?.id, vmId(2));
});

test("setDesired stopped: pending and scheduled at once, live ones when their node says so", () => {
  const world = new World();
  world.addNode(1);
  world.addVm(1);
  assert.equal(world.ok(want(1, "stopped")).vm?.phase, "stopped");
  assert.deepEqual(world.ok(want(1, "stopped")).changes, []);
  world.addVm(2);
  world.place(2, 1);
  const scheduled = world.ok(want(2, "stopped")).vm;
  assert.equal(scheduled?.phase, "stopped");
  assert.equal(scheduled.nodeId, nodeId(1), "it keeps its place");
  world.runVm(3, 1);
  assert.equal(world.ok(want(3, "stopped")).vm?.phase, "running");
  assert.deepEqual(world.ok(want(3, "stopped")).changes, []);
  world.ok(world.reportOf(3, "stopped"));
  assert.equal(world.vm(3).phase, "stopped");
});

test("setDesired running: stopped goes back to its node, or waits for one", () => {
  const world = new World();
  world.addNode(1);
  world.ok(create(1, "a", "stopped"));
  assert.equal(world.ok(want(1, "running")).vm?.phase, "pending");
  assert.deepEqual(world.ok(want(1, "running")).changes, [], "already as wished");
  world.runVm(2, 1);
  assert.deepEqual(world.ok(want(2, "running")).changes, [], "it runs");
  assert.equal(world.vm(2).restarts, 1);
  world.ok(want(2, "stopped"));
  world.ok(world.reportOf(2, "stopped", { commandExit: 3 }));
  const started = world.ok(want(2, "running")).vm;
  assert.equal(started?.phase, "scheduled");
  assert.equal(started.restarts, 0);
  assert.equal(started.commandExit, undefined);
});

test("setDesired running gives a failed VM and one in a crash loop new tries", () => {
  const world = new World();
  world.addNode(1);
  world.runVm(1, 1);
  world.ok(world.reportOf(1, "crashed"));
  assert.equal(world.vm(1).restarts, 1);
  assert.equal(world.ok(want(1, "running")).vm?.restarts, 0);
  world.claim(1, 1);
  world.ok(world.reportOf(1, "failed"));
  assert.equal(world.ok(want(1, "stopped")).vm?.phase, "failed");
  const again = world.ok(want(1, "running")).vm;
  assert.equal(again?.phase, "scheduled");
  assert.equal(again.reason, undefined);
});

test("setDesired refuses an unknown VM and one that is being deleted", () => {
  const world = new World();
  world.addNode(1);
  assert.equal(world.refused(want(1, "running")).code, "NotFound");
  world.runVm(1, 1);
  world.ok(remove(1));
  assert.equal(world.refused(want(1, "running")).code, "Conflict");
});

test("deleteVm: without a node it goes at once, with one it waits for the node's word", () => {
  const world = new World();
  world.addNode(1);
  const before = world.addVm(1);
  const { vm, changes } = world.ok(remove(1));
  assert.equal(vm?.deleting, true);
  assert.deepEqual(changes, [{ kind: "vm", id: vmId(1), before }]);
  assert.equal(world.refused(remove(1)).code, "NotFound");
  world.runVm(2, 1);
  world.ok(remove(2));
  assert.equal(world.vm(2).deleting, true);
  assert.deepEqual(world.ok(remove(2)).changes, [], "asked twice");
  const gone = world.ok(world.reportOf(2, "gone"));
  assert.equal(gone.changes[0]?.after, undefined);
  assert.equal(world.state.vms.size, 0);
});

test("a VM id that comes back never repeats an epoch", () => {
  const world = new World();
  world.addNode(1);
  world.runVm(1, 1);
  world.claim(1, 1);
  assert.equal(world.vm(1).epoch, 2);
  world.ok(remove(1));
  world.ok(world.reportOf(1, "gone"));
  world.addVm(1);
  world.place(1, 1);
  assert.equal(world.claim(1, 1).epoch, 3);
});
