import assert from "node:assert/strict";
import { test } from "node:test";
import { explain, plan } from "../planner/plan.ts";
import { GIB, nodeId, registrationOf, vmId, World } from "../testing/world.ts";
import type { Command, Maintenance } from "../types.ts";

const set = (node: number, maintenance: Maintenance | "none"): Command => ({
  kind: "setMaintenance",
  nodeId: nodeId(node),
  maintenance,
});

/** VM 1 runs on node 1, VM 2 has a disk there; node 2 is empty. */
function world(): World {
  const made = new World();
  made.addNode(1);
  made.addNode(2);
  made.runVm(1, 1);
  made.addVm(2, { diskBytes: GIB });
  made.place(2, 1);
  return made;
}

test("a node out of service takes no VM, and says why; in service again it does", () => {
  for (const [maintenance, why] of [
    ["cordon", "node is cordoned"],
    ["drain", "node is being drained"],
    ["drainDisks", "node is being drained"],
  ] as const) {
    const made = world();
    made.addVm(3);
    made.ok(set(2, maintenance));
    assert.equal(made.node(2).maintenance, maintenance);
    assert.deepEqual(made.ok(set(2, maintenance)).changes, [], "nothing new");
    const rows = explain(made.state, vmId(3))?.nodes.map((row) => row.why);
    assert.equal(rows?.[1], why);
    assert.equal(plan(made.state).placements[0]?.nodeId, nodeId(1));
    const { modifiedRevision: atRevision } = made.vm(3);
    const place: Command = { kind: "placeVm", vmId: vmId(3), nodeId: nodeId(2), atRevision };
    assert.match(made.refused(place).message, new RegExp(why));
    made.ok(set(2, "none"));
    assert.ok(!("maintenance" in made.node(2)));
    made.ok(place);
  }
  assert.equal(world().refused(set(9, "drain")).code, "NotFound");
});

test("what a drained node has let go of is placed anew; a disk stays unless it may be lost", () => {
  const made = world();
  made.ok(set(1, "drain"));
  made.ok(made.reportOf(1, "gone"));
  assert.equal(made.vm(1).phase, "pending");
  assert.equal(made.vm(1).nodeId, undefined);
  assert.equal(made.vm(1).reason, "node node-1 is being drained");
  made.claim(2, 1);
  made.ok(made.reportOf(2, "gone"));
  assert.equal(made.vm(2).nodeId, nodeId(1), "it has a disk");
  assert.equal(made.vm(2).phase, "scheduled");
  made.ok(set(1, "drainDisks"));
  made.ok(made.reportOf(2, "gone"));
  assert.equal(made.vm(2).phase, "pending");
  made.ok({ kind: "removeNode", nodeId: nodeId(1) });
});

test("stopped and failed VMs leave a drained node as they are; a cordoned one keeps its own", () => {
  const made = world();
  made.ok({ kind: "setDesired", vmId: vmId(1), desired: "stopped" });
  made.ok(made.reportOf(1, "stopped"));
  made.ok(set(1, "cordon"));
  made.ok(made.reportOf(1, "gone"));
  assert.equal(made.vm(1).nodeId, nodeId(1));
  made.ok(set(1, "drain"));
  made.ok(made.reportOf(1, "gone"));
  assert.deepEqual([made.vm(1).phase, made.vm(1).nodeId], ["stopped", undefined]);
  made.runVm(3, 2);
  made.ok(made.reportOf(3, "failed", { reason: "no image" }));
  made.ok(set(2, "drain"));
  made.ok(made.reportOf(3, "gone"));
  assert.deepEqual([made.vm(3).phase, made.vm(3).nodeId], ["failed", undefined]);
});

test("registering anew leaves it out of service", () => {
  const made = world();
  made.ok(set(1, "cordon"));
  made.ok({ kind: "registerNode", node: registrationOf(1, { labels: { zone: "b" } }) });
  assert.equal(made.node(1).maintenance, "cordon");
  assert.deepEqual(made.node(1).labels, { zone: "b" });
});
