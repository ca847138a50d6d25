import assert from "node:assert/strict";
import { test } from "node:test";
import type { VmId } from "@blixard/std";
import { GIB, nodeId, vmId, World } from "../testing/world.ts";
import type { Maintenance } from "../types.ts";
import { nextToLeave } from "./drain.ts";
import { plan } from "./plan.ts";

class Draining extends World {
  previous: VmId | undefined;

  set(maintenance: Maintenance | "none"): void {
    this.ok({ kind: "setMaintenance", nodeId: nodeId(1), maintenance });
  }

  next(): VmId | undefined {
    this.previous = nextToLeave(this.state, nodeId(1), this.previous);
    return this.previous;
  }

  /** As the node does: it stops the VM, forgets it, and says so. */
  letGo(vm: number): void {
    this.ok(this.reportOf(vm, "gone"));
  }

  placeAll(): void {
    for (const placement of plan(this.state).placements) this.ok(placement);
  }
}

/** VMs 1 to 3 run on node 1, and node 2 has room for two of them. */
function world(): Draining {
  const made = new Draining();
  made.addNode(1);
  made.addNode(2, { capacity: { vcpus: 2, memoryBytes: 16 * GIB, diskBytes: GIB } });
  for (const n of [1, 2, 3]) made.runVm(n, 1);
  return made;
}

test("nothing leaves a node in service, or one that is only cordoned", () => {
  const made = world();
  assert.equal(made.next(), undefined);
  made.set("cordon");
  assert.equal(made.next(), undefined);
  assert.equal(nextToLeave(made.state, nodeId(9), undefined), undefined);
});

test("one after the other, each once the one before runs again, as far as there is room", () => {
  const made = world();
  made.set("drain");
  for (const n of [1, 2]) {
    assert.equal(made.next(), vmId(n));
    assert.equal(made.next(), vmId(n), "until it is gone");
    made.letGo(n);
    assert.equal(made.next(), vmId(n), "it is on no node");
    made.placeAll();
    assert.equal(made.vm(n).nodeId, nodeId(2));
    assert.equal(made.next(), vmId(n), "it is to be started");
    made.claim(n, 2);
    assert.equal(made.next(), vmId(n), "it is starting");
    made.ok(made.reportOf(n, "running"));
  }
  assert.equal(made.next(), undefined, "no room for the third");
  made.ok({ kind: "setDesired", vmId: vmId(3), desired: "stopped" });
  assert.equal(made.next(), vmId(3), "what shall not run needs none");
});

test("a VM that fails, is deleted or unwanted on its way holds nobody up", () => {
  const made = world();
  made.set("drain");
  assert.equal(made.next(), vmId(1));
  made.letGo(1);
  made.ok({ kind: "setDesired", vmId: vmId(1), desired: "stopped" });
  assert.equal(made.next(), vmId(2));
  made.letGo(2);
  made.ok({ kind: "deleteVm", vmId: vmId(2) });
  assert.equal(made.next(), vmId(3));
  made.letGo(3);
  made.placeAll();
  made.ok(made.reportOf(3, "failed", { reason: "no image" }));
  assert.equal(made.next(), undefined);
});

test("a disk stays, unless it may be lost; what is being deleted goes anyway", () => {
  const made = new Draining();
  made.addNode(1);
  made.addNode(2);
  made.addVm(1, { diskBytes: GIB });
  made.place(1, 1);
  made.runVm(2, 1);
  made.ok({ kind: "deleteVm", vmId: vmId(2) });
  made.set("drain");
  assert.equal(made.next(), undefined);
  made.set("drainDisks");
  assert.equal(made.next(), vmId(1));
  made.set("drain");
  assert.equal(made.next(), undefined, "it may stay after all");
});
