import assert from "node:assert/strict";
import { test } from "node:test";
import { as, type Epoch, type LogIndex, type NodeId, type VmId } from "@blixard/std";
import type { VmPhase, VmRecord } from "../types.ts";
import { decide } from "./decide.ts";
import type { Instance, InstanceEnd, InstancePhase } from "./instance.ts";

const SELF = as<NodeId>("a".repeat(32));
const OTHER = as<NodeId>("b".repeat(32));
const VM = as<VmId>("0123456789abcdef");

function record(phase: VmPhase, more: Partial<VmRecord> = {}): VmRecord {
  return {
    id: VM,
    spec: {
      name: "web",
      image: "base",
      vcpus: 1,
      memoryBytes: 1,
      diskBytes: 0,
      labels: {},
      command: [],
    },
    desired: "running",
    deleting: false,
    phase,
    nodeId: SELF,
    epoch: as<Epoch>(3),
    restarts: 0,
    createdRevision: as<LogIndex>(1),
    modifiedRevision: as<LogIndex>(2),
    ...more,
  };
}

function instance(phase: InstancePhase, epoch = 3, ended?: InstanceEnd): Instance {
  return { vmId: VM, epoch: as<Epoch>(epoch), phase, ...(ended === undefined ? {} : { ended }) };
}

const kinds = (vm: VmRecord | undefined, here: Instance | undefined): string => {
  const step = decide(SELF, vm, here);
  return step.kind === "report" ? `report ${step.phase}` : step.kind;
};

test("what is not ours is killed, then removed, and never reported", () => {
  for (const vm of [undefined, record("running", { nodeId: OTHER })]) {
    assert.equal(kinds(vm, instance("running")), "kill");
    assert.deepEqual(decide(SELF, vm, instance("stopped")), { kind: "delete", report: false });
    assert.equal(kinds(vm, undefined), "nothing");
  }
});

test("a deleted VM is stopped, removed and reported gone, even when nothing of it is here", () => {
  const vm = record("running", { deleting: true });
  assert.equal(kinds(vm, instance("running")), "stop");
  assert.deepEqual(decide(SELF, vm, instance("stopped")), { kind: "delete", report: true });
  assert.deepEqual(decide(SELF, vm, undefined), { kind: "delete", report: true });
});

test("a VM whose turn it is to leave goes as a deleted one does, whatever it shall be", () => {
  const leave = (vm: VmRecord, here?: Instance) => decide(SELF, vm, here, { leaving: true });
  for (const desired of ["running", "stopped"] as const) {
    for (const phase of ["scheduled", "running", "stopped", "failed"] as const) {
      const vm = record(phase, { desired });
      assert.equal(leave(vm, instance("running")).kind, "stop");
      assert.deepEqual(leave(vm, instance("stopped")), { kind: "delete", report: true });
      assert.deepEqual(leave(vm), { kind: "delete", report: true });
    }
  }
  assert.equal(leave(record("running", { nodeId: OTHER })).kind, "nothing");
});

test("a VM that shall not run is stopped and then reported once", () => {
  const vm = record("running", { desired: "stopped" });
  assert.equal(kinds(vm, instance("running")), "stop");
  assert.equal(kinds(vm, instance("stopped", 3, { kind: "shutdown" })), "report stopped");
  assert.equal(kinds(record("stopped", { desired: "stopped" }), instance("stopped")), "nothing");
});

test("nothing starts before an older epoch is dead", () => {
  assert.equal(kinds(record("scheduled"), undefined), "start");
  assert.equal(kinds(record("scheduled"), instance("stopped", 2)), "start");
  assert.equal(kinds(record("scheduled"), instance("running", 2)), "kill");
  assert.equal(kinds(record("starting"), instance("running", 2)), "kill");
  assert.equal(kinds(record("running"), instance("starting", 2)), "kill");
});

test("a claim that never became a start is claimed anew", () => {
  assert.equal(kinds(record("starting"), undefined), "start");
  assert.equal(kinds(record("starting"), instance("created", 0)), "start");
  assert.equal(kinds(record("starting"), instance("stopped", 2, { kind: "killed" })), "start");
});

test("a start is followed to running, and an end to its report", () => {
  assert.equal(kinds(record("starting"), instance("starting")), "nothing");
  assert.equal(kinds(record("starting"), instance("running")), "report running");
  assert.equal(kinds(record("running"), instance("running")), "nothing");
  const ends: [InstanceEnd, string][] = [
    [{ kind: "shutdown" }, "report stopped"],
    [{ kind: "killed" }, "report crashed"],
    [{ kind: "leaseExpired" }, "report crashed"],
    [{ kind: "crashed", reason: "panic" }, "report crashed"],
  ];
  for (const [end, expected] of ends) {
    assert.equal(kinds(record("starting"), instance("stopped", 3, end)), expected);
    assert.equal(kinds(record("running"), instance("stopped", 3, end)), expected);
  }
  assert.equal(kinds(record("running"), undefined), "report crashed");
});

test("the exit code of the VM's command is reported while it runs on, once", () => {
  const here: Instance = { ...instance("running"), commandExit: 7 };
  assert.deepEqual(decide(SELF, record("running"), here), {
    kind: "report",
    phase: "running",
    commandExit: 7,
  });
  assert.equal(kinds(record("running", { commandExit: 7 }), here), "nothing");
});

test("a start that holds clears the count of those before it, once", () => {
  const here = instance("running");
  const settled = (vm: VmRecord) => decide(SELF, vm, here, { settled: true }).kind;
  assert.equal(settled(record("running", { restarts: 3 })), "settle");
  assert.equal(settled(record("running", { restarts: 1 })), "nothing");
  assert.equal(settled(record("starting", { restarts: 3 })), "report");
  assert.equal(settled(record("running", { restarts: 3, deleting: true })), "stop");
  assert.equal(kinds(record("running", { restarts: 3 }), here), "nothing");
});

test("only what the guest did itself counts against it", () => {
  const blameless = (end: InstanceEnd | undefined): boolean => {
    const here = end === undefined ? undefined : instance("stopped", 3, end);
    const step = decide(SELF, record("running"), here);
    return step.kind === "report" && step.blameless === true;
  };
  assert.ok(blameless({ kind: "leaseExpired" }));
  assert.ok(blameless({ kind: "killed" }));
  assert.ok(blameless(undefined));
  assert.ok(!blameless({ kind: "crashed", reason: "panic" }));
  assert.ok(!blameless({ kind: "shutdown" }));
});

test("a guest's health is told when the record says otherwise, after all that matters more", () => {
  const silent = { ...instance("running"), unresponsive: true };
  const marked = record("running", { health: "unresponsive" });
  assert.deepEqual(decide(SELF, record("running"), silent), {
    kind: "health",
    health: "unresponsive",
  });
  assert.equal(kinds(marked, silent), "nothing");
  assert.deepEqual(decide(SELF, marked, instance("running")), {
    kind: "health",
    health: "responsive",
  });
  const exited = { ...silent, commandExit: 3 };
  assert.equal(kinds(record("running"), exited), "report running");
  assert.equal(kinds(record("starting"), silent), "report running");
  const settled = decide(SELF, record("running", { restarts: 2 }), silent, { settled: true });
  assert.equal(settled.kind, "settle");
});
