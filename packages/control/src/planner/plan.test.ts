import assert from "node:assert/strict";
import { test } from "node:test";
import { PLAN_BATCH, PLAN_SCAN_MAX } from "../limits.ts";
import { GIB, nodeId, registrationOf, specOf, vmId, World } from "../testing/world.ts";
import { formatBytes } from "./fit.ts";
import { canEverFit, explain, plan, type Plan } from "./plan.ts";

const chosenBy = ({ placements }: Plan): string[] =>
  placements.map(
    ({ vmId, nodeId }) => `${Number.parseInt(vmId, 16)}@${Number.parseInt(nodeId, 16)}`,
  );

test("nothing pending, nothing planned", () => {
  assert.deepEqual(plan(new World().state), { placements: [], explanations: [] });
});

test("spread: fewest VMs, then the greatest free fraction, then the name", () => {
  const world = new World();
  world.addNode(1, { name: "c" });
  world.addNode(2, { name: "a" });
  world.addNode(3, {
    name: "b",
    capacity: { vcpus: 64, memoryBytes: 64 * GIB, diskBytes: 0 },
  });
  for (let n = 1; n <= 6; n++) world.addVm(n);
  // First round by name (all are empty), second by free share: the large node b has most.
  assert.deepEqual(chosenBy(plan(world.state)), ["1@2", "2@3", "3@1", "4@3", "5@2", "6@1"]);
  assert.deepEqual(plan(world.state), plan(world.state));
});

test("a plan counts its own earlier placements: every one of them is accepted", () => {
  const world = new World();
  const capacity = { vcpus: 2, memoryBytes: 3 * GIB, diskBytes: 5 * GIB };
  world.addNode(1, { capacity });
  world.addNode(2, { capacity });
  for (let n = 1; n <= 9; n++) world.addVm(n, { diskBytes: GIB });
  const { placements, explanations } = plan(world.state);
  assert.equal(placements.length, 4);
  for (const placement of placements) world.ok(placement);
  const refused = explanations.at(-1);
  assert.equal(refused?.chosen, undefined);
  assert.deepEqual(
    refused?.nodes.map(({ why }) => why),
    ["needs 1 vCPU, 0 free", "needs 1 vCPU, 0 free"],
  );
  assert.deepEqual(plan(world.state).placements, []);
});

test("nodes that are lost, joining or without a driver take nothing, and say why", () => {
  const world = new World();
  world.addNode(1);
  world.addNode(2, { drivers: [] });
  world.ok({ kind: "registerNode", node: registrationOf(3) });
  world.ok(world.expire(1, 1));
  world.addVm(1);
  const { placements, explanations } = plan(world.state);
  assert.deepEqual(placements, []);
  assert.deepEqual(
    explanations[0]?.nodes.map(({ fits, why }) => [fits, why]),
    [
      [false, "node is lost"],
      [false, "no driver works there"],
      [false, "node has not acquired its first lease"],
    ],
  );
});

test("stopped, deleting and placed VMs are left alone", () => {
  const world = new World();
  world.addNode(1);
  world.ok({ kind: "createVm", vmId: vmId(1), spec: specOf("idle"), desired: "stopped" });
  world.addVm(2);
  world.place(2, 1);
  world.addVm(3);
  assert.deepEqual(chosenBy(plan(world.state)), ["3@1"]);
});

test("one call plans a bounded number and says where to go on", () => {
  const world = new World();
  world.addNode(1, { capacity: { vcpus: 9999, memoryBytes: 9999 * GIB, diskBytes: 0 } });
  for (let n = 1; n <= PLAN_BATCH + 5; n++) world.addVm(n);
  const first = plan(world.state);
  assert.equal(first.placements.length, PLAN_BATCH);
  assert.ok(first.next !== undefined);
  const second = plan(world.state, { after: first.next });
  assert.equal(second.placements.length, 5);
  assert.equal(second.next, undefined);
  assert.equal(second.placements[0]?.vmId, vmId(PLAN_BATCH + 1));
});

test("VMs that fit nowhere do not keep the others waiting", () => {
  const world = new World();
  world.addNode(1);
  for (let n = 1; n <= 2 * PLAN_BATCH; n++) world.addVm(n, { vcpus: 99 });
  world.addVm(9999);
  assert.deepEqual(chosenBy(plan(world.state)), ["9999@1"], "one shape costs one comparison");
  const many = new World();
  many.addNode(1);
  for (let n = 1; n <= PLAN_BATCH; n++) many.addVm(n, { memoryBytes: 99 * GIB + n });
  many.addVm(9999);
  const first = plan(many.state);
  assert.deepEqual(first.placements, []);
  assert.deepEqual(chosenBy(plan(many.state, { after: first.next ?? assert.fail() })), ["9999@1"]);
});

test("the scan is bounded even when every VM is passed over", () => {
  const world = new World();
  world.addNode(1);
  for (let n = 1; n <= PLAN_SCAN_MAX + 1; n++) world.addVm(n, { vcpus: 99 });
  const first = plan(world.state);
  assert.equal(first.explanations.length, 1);
  assert.equal(first.next?.vmId, vmId(PLAN_SCAN_MAX));
});

test("VMs unplaced together are taken by id", () => {
  const world = new World();
  world.addNode(1);
  world.addNode(2);
  for (const n of [3, 1, 2]) world.runVm(n, 1);
  world.ok(world.expire(1, 1));
  assert.deepEqual(chosenBy(plan(world.state)), ["1@2", "2@2", "3@2"]);
});

test("explain says of each node what speaks for or against it", () => {
  const world = new World();
  world.addNode(1, { capacity: { vcpus: 1, memoryBytes: 1.5 * GIB, diskBytes: 0 } });
  world.addNode(2);
  world.addVm(1, { memoryBytes: 4 * GIB });
  const pending = explain(world.state, vmId(1));
  assert.equal(pending?.chosen, nodeId(2), "where it would go");
  assert.equal(pending?.nodes[0]?.why, "needs 4 GiB memory, 1.5 GiB free");
  assert.equal(pending?.nodes[1]?.why, "0 VMs, 8 vCPUs and 16 GiB free");
  assert.equal(pending?.nodes[1]?.score, 1);
  world.place(1, 2);
  const placed = explain(world.state, vmId(1));
  assert.equal(placed?.chosen, nodeId(2));
  assert.equal(placed?.nodes[1]?.why, "0 VMs, 8 vCPUs and 16 GiB free", "without itself");
  world.runVm(2, 2);
  assert.equal(explain(world.state, vmId(1))?.nodes[1]?.why, "1 VM, 7 vCPUs and 15 GiB free");
  world.ok({ kind: "createVm", vmId: vmId(3), spec: specOf("idle"), desired: "stopped" });
  assert.equal(explain(world.state, vmId(3))?.chosen, undefined);
  assert.equal(explain(world.state, vmId(9)), undefined);
});

test("canEverFit refuses what no node could hold even empty", () => {
  const world = new World();
  assert.ok(canEverFit(world.state, specOf("any")).ok, "no node yet: it may come");
  world.addNode(1);
  world.addNode(2);
  world.ok(world.expire(1, 1));
  assert.ok(canEverFit(world.state, specOf("fits")).ok);
  const never = canEverFit(world.state, specOf("huge", { vcpus: 99 }));
  assert.ok(!never.ok && never.error.code === "NoCapacity");
  assert.equal(never.error.data.nodes.length, 2);
  assert.match(never.error.message, /node-1: needs 99 vCPUs, 8 free even when empty/);
});

test("a driver's bounds are told for each node, and keep a VM from being placed or created", () => {
  const world = new World();
  world.addNode(1);
  world.addNode(2);
  const vmBounds = { vcpusMax: 1, memoryBytesMin: GIB / 16, memoryBytesMax: 2 * GIB };
  const bound = (node: number, over: object = {}): void => {
    world.ok({
      kind: "setVmBounds",
      nodeId: nodeId(node),
      vmBounds: { ...vmBounds, ...over },
    });
  };
  bound(1);
  world.addVm(1, { vcpus: 2 });
  assert.deepEqual(chosenBy(plan(world.state)), ["1@2"], "what is not known of is not refused");
  bound(2);
  assert.deepEqual(plan(world.state).placements, []);
  const why = explain(world.state, vmId(1))?.nodes.map((node) => node.why);
  assert.equal(why?.[0], "its driver fake gives a VM at most 1 vCPU, not 2");
  const { modifiedRevision: atRevision } = world.vm(1);
  const place = { kind: "placeVm", vmId: vmId(1), nodeId: nodeId(2), atRevision } as const;
  assert.match(world.refused(place).message, /does not fit node node-2: its driver fake/);
  const never = (over: object): string => {
    const found = canEverFit(world.state, specOf("x", over));
    assert.ok(!found.ok && found.error.code === "NoCapacity");
    return found.error.message;
  };
  assert.match(never({ vcpus: 2 }), /No node .* node-1: its driver fake gives .*, node-2: its/);
  assert.match(never({ memoryBytes: GIB / 64 }), /at least 64 MiB memory, not 16 MiB/);
  assert.match(never({ memoryBytes: 3 * GIB, vcpus: 3 }), /1 vCPU, not 3; at most 2 GiB memory/);
  bound(2, { vcpusMax: 4 });
  assert.ok(canEverFit(world.state, specOf("x", { vcpus: 2 })).ok);
  assert.deepEqual(chosenBy(plan(world.state)), ["1@2"]);
});

test("bytes in words", () => {
  assert.equal(formatBytes(0), "0 B");
  assert.equal(formatBytes(1023), "1023 B");
  assert.equal(formatBytes(1.99 * GIB), "1.9 GiB");
  assert.equal(formatBytes(2 ** 60), "1024 PiB");
});
