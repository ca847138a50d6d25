import assert from "node:assert/strict";
import { test } from "node:test";
import { owned, recomputeStateHash, stateHash } from "./state.ts";
import { SAMPLES } from "./testing/samples.ts";
import { nodeId, specOf, vmId, World } from "./testing/world.ts";
import type { VmRecord } from "./types.ts";

/** Node 1 with three running VMs; reading `field` of the last one's record throws. */
function poisoned(field: string): { world: World; heal: () => void } {
  const world = new World();
  world.addNode(1);
  for (const n of [1, 2, 3]) world.runVm(n, 1);
  const whole = world.vm(3);
  const trap: VmRecord = new Proxy(whole, {
    get(target, property, receiver) {
      if (property === field) throw new RangeError(`poisoned ${field}`);
      const value: unknown = Reflect.get(target, property, receiver);
      return value;
    },
  });
  owned(world.state).vms.set(vmId(3), trap);
  return { world, heal: () => owned(world.state).vms.set(vmId(3), whole) };
}

for (const field of ["phase", "deleting", "spec", "createdRevision"]) {
  test(`a throw while reading ${field} discards the whole command and raises an alarm`, () => {
    const { world, heal } = poisoned(field);
    const { hashSum, counters } = owned(world.state);
    const before = { one: world.vm(1), two: world.vm(2), node: world.node(1) };
    const result = world.apply(world.expire(1, 1));
    assert.ok(!result.ok);
    assert.equal(result.error.code, "Internal");
    assert.doesNotMatch(result.error.message, /poisoned/, "the same on every node");
    assert.match(result.alarm ?? "", /entry \d+ .*poisoned/);
    assert.deepEqual({ one: world.vm(1), two: world.vm(2), node: world.node(1) }, before);
    assert.equal(owned(world.state).hashSum, hashSum);
    assert.equal(world.state.counters.revision, counters.revision + 1);
    heal();
    assert.equal(stateHash(world.state), recomputeStateHash(world.state));
    world.ok(world.expire(1, 1));
    assert.equal(world.vm(1).phase, "pending");
    assert.equal(stateHash(world.state), recomputeStateHash(world.state));
  });
}

test("something thrown that is no Error is an alarm too", () => {
  const world = new World();
  world.addNode(1);
  const odd = new Proxy(world.node(1), {
    get() {
      // oxlint-disable-next-line typescript/only-throw-error -- exactly what is tested
      throw "a bare string";
    },
  });
  owned(world.state).nodes.set(nodeId(1), odd);
  const result = world.apply({ kind: "removeNode", nodeId: nodeId(1) });
  assert.ok(!result.ok && result.alarm?.includes("a bare string"));
});

test("a refused command changes nothing but the revision", () => {
  const world = new World();
  world.addNode(1);
  const { hashSum, counters } = owned(world.state);
  world.refused(SAMPLES.deleteVm);
  assert.equal(owned(world.state).hashSum, hashSum);
  assert.deepEqual(world.state.counters, { ...counters, revision: counters.revision + 1 });
});

test("results and records are frozen: a reader cannot change the state", () => {
  const world = new World();
  const result = world.ok({
    kind: "createVm",
    vmId: vmId(1),
    spec: specOf("web", { labels: { a: "1" } }),
    desired: "running",
  });
  assert.ok(Object.isFrozen(result.vm));
  assert.throws(() => Object.assign(world.vm(1), { phase: "running" }), TypeError);
});
