import assert from "node:assert/strict";
import { test } from "node:test";
import {
  applyCommand,
  type Command,
  COMMAND_VERSION,
  createControlState,
  encodeCommand,
  getVm,
  type VmRecord,
  type VmSpec,
} from "@blixard/control";
import {
  as,
  type CorrelationId,
  type Epoch,
  type LogIndex,
  type NodeId,
  type PeerId,
  type PublicKeyHex,
  type Term,
  type VmId,
} from "@blixard/std";
import { Violation } from "../world/world.ts";
import { RecordChecker } from "./record-checker.ts";

const VM = as<VmId>("000000000000000a");
const nodeId = (n: number): NodeId => as<NodeId>(String(n).repeat(32));
const [N1, N2] = [nodeId(1), nodeId(2)];
const META = { correlationId: as<CorrelationId>("c".repeat(32)), proposedAtMs: 0 };
const finds = (invariant: string) => (thrown: unknown) =>
  thrown instanceof Violation && thrown.invariant === invariant;

function register(n: number, vcpus = 2): Command {
  const node = {
    id: nodeId(n),
    name: `node-${n}`,
    publicKey: as<PublicKeyHex>(String(n).repeat(64)),
    address: "a:1",
    peerId: as<PeerId>(n),
    capacity: { vcpus, memoryBytes: 2 ** 31, diskBytes: 0 },
    drivers: ["fake"],
    labels: {},
    commandVersion: COMMAND_VERSION,
  };
  return { kind: "registerNode", node };
}

function specOf(name: string, vcpus: number): VmSpec {
  const sizes = { vcpus, memoryBytes: 2 ** 29, diskBytes: 0 };
  return { name, image: "i", ...sizes, labels: {}, command: [] };
}

/** A VM of `vcpus` that runs on node 1, under lease epoch 1, in its first start. */
function setup(vcpus = 1) {
  const state = createControlState();
  let index = 0;
  let where: number | undefined;
  const checker = new RecordChecker(() => where);
  const apply = (command: Command) => {
    const entry = { index: as<LogIndex>(++index), term: as<Term>(1) };
    const data = encodeCommand(command, META);
    const result = applyCommand(state, entry, data);
    assert.ok(result.ok, result.ok ? "" : result.error.message);
    checker.applied(state, { ...entry, data }, result);
  };
  /** An entry that did what the shipped code would never do. */
  const pretend = (command: Command, change: Partial<VmRecord>, id = VM) => {
    const data = encodeCommand(command, META);
    const before = getVm(state, id);
    assert.ok(before !== undefined);
    const changes = [{ kind: "vm", id, before, after: { ...before, ...change } }] as const;
    checker.applied(state, { index: ++index, data }, { ok: true, value: {}, changes });
  };
  for (const n of [1, 2]) {
    apply(register(n));
    apply({ kind: "acquireLease", nodeId: nodeId(n), fromEpoch: 0 });
  }
  apply({ kind: "createVm", vmId: VM, spec: specOf("a", vcpus), desired: "running" });
  apply({ kind: "placeVm", vmId: VM, nodeId: N1, atRevision: as<LogIndex>(index) });
  apply({ kind: "claimStart", vmId: VM, nodeId: N1, leaseEpoch: 1 });
  return { apply, pretend, runsOn: (host: number | undefined) => (where = host) };
}

const claim = (node: NodeId, leaseEpoch: number): Command => ({
  kind: "claimStart",
  vmId: VM,
  nodeId: node,
  leaseEpoch,
});
const report = (phase: "running" | "stopped", epoch: number): Command => ({
  kind: "reportVm",
  vmId: VM,
  nodeId: N1,
  leaseEpoch: 1,
  epoch: as<Epoch>(epoch),
  phase,
});
const place: Command = { kind: "placeVm", vmId: VM, nodeId: N2, atRevision: as<LogIndex>(1) };

test("a VM that is placed, claimed, runs, ends and starts again breaks nothing", () => {
  const { apply } = setup();
  apply(report("running", 1));
  apply(report("stopped", 1));
  apply(claim(N1, 1));
  apply({ kind: "expireLease", nodeId: N1, leaseEpoch: 1, term: 1 });
});

test("what ends in its record while it executes is found, however it ends there", () => {
  for (const end of [
    report("stopped", 1),
    { kind: "expireLease", nodeId: N1, leaseEpoch: 1, term: 1 },
    { kind: "acquireLease", nodeId: N1, fromEpoch: 1 },
  ] as const) {
    const { apply, runsOn } = setup();
    apply(report("running", 1));
    runsOn(1);
    assert.throws(() => apply(end), finds("what ended runs nowhere"), end.kind);
  }
});

test("a start that is granted without the lease, or to another node, is found", () => {
  const again = { epoch: as<Epoch>(2) };
  const { pretend } = setup();
  assert.throws(() => pretend(claim(N1, 0), again), finds("starts are claimed under a lease"));
  assert.throws(() => pretend(claim(N2, 1), again), finds("starts are claimed"));
  assert.throws(() => pretend(place, again), finds("starts are claimed"));
  const lost = setup();
  lost.apply({ kind: "expireLease", nodeId: N1, leaseEpoch: 1, term: 1 });
  assert.throws(() => lost.pretend(claim(N1, 1), again), finds("starts are claimed"));
});

test("a report about an earlier start that ends the present one is found", () => {
  const { apply, pretend } = setup();
  apply(claim(N1, 1));
  const ended = { phase: "stopped" } as const;
  assert.throws(
    () => pretend(report("stopped", 1), ended),
    finds("reports are about the present start"),
  );
});

test("a VM that goes from node to node, and a node that is promised twice, are found", () => {
  const { pretend } = setup();
  assert.throws(() => pretend(place, { nodeId: N2 }), finds("a placed VM stays"));
  const crowded = setup(2);
  const other = as<VmId>("000000000000000b");
  crowded.apply({ kind: "createVm", vmId: other, spec: specOf("b", 1), desired: "running" });
  // It registers again with less than what its VM takes.
  crowded.apply(register(1, 1));
  assert.throws(
    () => crowded.pretend(place, { nodeId: N1 }, other),
    finds("capacity in the records"),
  );
});
