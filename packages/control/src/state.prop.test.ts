/** Random commands, valid, stale and garbage, against what must hold whatever comes. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { as, concat, Prng, type LogIndex, type NodeId, type Term, type VmId } from "@blixard/std";
import { applyCommand } from "./apply.ts";
import { decodeCommand, encodeCommand } from "./codec.ts";
import { listNodes, listVms, vmsOnNode } from "./lookup.ts";
import { plan } from "./planner/plan.ts";
import { restoreState, snapshotState } from "./snapshot.ts";
import { owned, recomputeStateHash, stateHash, usage, type ControlState } from "./state.ts";
import { SAMPLES } from "./testing/samples.ts";
import { epoch, GIB, META, nodeId, registrationOf, specOf, tokenHash } from "./testing/world.ts";
import { vmId, World } from "./testing/world.ts";
import type { Change, Command, CommandResult, NodeRecord, VmRecord } from "./types.ts";

const SEEDS = 25;
const COMMANDS = 300;
const NODES = 4;
const VMS = 12;

const pick = <T>(prng: Prng, ...from: readonly T[]): T =>
  from[prng.below(from.length)] ?? assert.fail("nothing to pick from");

/** Half of the time what the record says, else something near it. */
function near(prng: Prng, value: number): number {
  return prng.chance(0.8) ? value : Math.max(0, value + prng.between(-1, 1));
}

function aboutVm(prng: Prng, world: World): Command {
  if (prng.chance(0.2)) {
    const begun = [...world.state.vms.values()].filter(({ phase }) => /^(start|runn)/.test(phase));
    if (begun.length > 0) return aboutStart(prng, world, pick(prng, ...begun));
  }
  const id = vmId(prng.between(1, VMS));
  const vm = world.state.vms.get(id);
  const home = vm?.nodeId ?? nodeId(prng.between(1, NODES));
  const place = prng.chance(0.9) ? home : nodeId(prng.between(1, NODES));
  const leaseEpoch = near(prng, world.state.nodes.get(place)?.leaseEpoch ?? 0);
  switch (prng.below(9)) {
    case 0:
      return { kind: "setDesired", vmId: id, desired: pick(prng, "running", "stopped") };
    case 1:
      return prng.chance(0.4) ? { kind: "deleteVm", vmId: id } : claim(id, place, leaseEpoch);
    case 2:
    case 3:
      return claim(id, place, leaseEpoch);
    case 4:
      return settle(prng, world, id);
    default: {
      const phase = pick(
        prng,
        ...(["running", "running", "stopping", "stopped", "failed", "crashed", "gone"] as const),
      );
      const at = epoch(near(prng, vm?.epoch ?? 0));
      const exit = prng.chance(0.3) ? { commandExit: prng.below(256) } : {};
      const node = { nodeId: place, leaseEpoch };
      return { kind: "reportVm", vmId: id, ...node, epoch: at, phase, ...exit };
    }
  }
}

/** Few live for long here: one that does, if any. */
function settle(prng: Prng, world: World, id: VmId): Command {
  const live = [...world.state.vms.values()].filter(({ phase }) =>
    /^(starting|running|stopping)$/.test(phase),
  );
  const vm = live.length === 0 ? world.state.vms.get(id) : pick(prng, ...live);
  const node = vm?.nodeId ?? nodeId(1);
  return {
    kind: "settleVm",
    vmId: vm?.id ?? id,
    nodeId: node,
    leaseEpoch: near(prng, world.state.nodes.get(node)?.leaseEpoch ?? 0),
    epoch: epoch(near(prng, vm?.epoch ?? 0)),
  };
}

/** Its node says that it runs, or how it does: few would get that far by chance alone. */
function aboutStart(prng: Prng, world: World, vm: VmRecord): Command {
  const node = vm.nodeId ?? nodeId(1);
  const about = {
    vmId: vm.id,
    nodeId: node,
    leaseEpoch: world.state.nodes.get(node)?.leaseEpoch ?? 0,
    epoch: epoch(prng.chance(0.7) ? vm.epoch : near(prng, vm.epoch)),
  };
  if (vm.phase === "starting" && prng.chance(0.6)) {
    return { kind: "reportVm", ...about, phase: "running" };
  }
  const to = prng.chance(0.6) ? "unresponsive" : "responsive";
  return { kind: "reportHealth", ...about, health: to };
}

const claim = (id: VmId, node: NodeId, leaseEpoch: number): Command => ({
  kind: "claimStart",
  vmId: id,
  nodeId: node,
  leaseEpoch,
});

function aboutNode(prng: Prng, world: World): Command {
  const n = prng.between(1, NODES);
  const id = nodeId(n);
  const known = world.state.nodes.get(id);
  const leaseEpoch = near(prng, known?.leaseEpoch ?? 0);
  switch (prng.below(7)) {
    case 0: {
      const peerId = known?.peerId ?? as(world.state.counters.lastPeerId + prng.below(2));
      const vcpus = prng.chance(0.8) ? 6 : prng.between(1, 8);
      const capacity = { vcpus, memoryBytes: 8 * GIB, diskBytes: 4 * GIB };
      const name = `node-${prng.chance(0.9) ? n : prng.between(1, NODES)}`;
      return { kind: "registerNode", node: registrationOf(n, { peerId, capacity, name }) };
    }
    case 1: {
      const { name, publicKey, address } = registrationOf(n);
      const node = { id, name, publicKey, address };
      return { kind: "admitNode", tokenHash: tokenHash(prng.below(3)), node };
    }
    case 2: {
      const to = pick(
        prng,
        ...(["none", "none", "none", "none", "cordon", "drain", "drainDisks"] as const),
      );
      if (prng.chance(0.4)) return { kind: "setMaintenance", nodeId: id, maintenance: to };
      if (prng.chance(0.35)) {
        const memoryBytesMax = 16 * GIB * prng.between(1, 2);
        const vmBounds = { vcpusMax: prng.between(2, 8), memoryBytesMin: 1, memoryBytesMax };
        return { kind: "setVmBounds", nodeId: id, vmBounds };
      }
      return prng.chance(0.5)
        ? { kind: "removeNode", nodeId: id }
        : { kind: "createJoinToken", hash: tokenHash(prng.below(3)), uses: 2, expiresAtMs: 1 };
    }
    case 3:
    case 4:
      return { kind: "expireLease", nodeId: id, leaseEpoch, term: near(prng, world.term) };
    default:
      return { kind: "acquireLease", nodeId: id, fromEpoch: leaseEpoch };
  }
}

function next(prng: Prng, world: World, planned: readonly Command[]): Uint8Array {
  const roll = prng.below(100);
  if (roll < 3) return garbage(prng);
  if (roll < 25) return encodeCommand(aboutNode(prng, world), META);
  if (roll < 40) {
    const n = prng.between(1, VMS);
    const size = { vcpus: prng.between(1, 4), memoryBytes: prng.between(1, 4) * GIB };
    const spec = specOf(`vm-${prng.chance(0.9) ? n : prng.between(1, VMS)}`, size);
    const desired = prng.chance(0.8) ? "running" : "stopped";
    return encodeCommand({ kind: "createVm", vmId: vmId(n), spec, desired }, META);
  }
  if (roll < 55 && planned.length > 0) return encodeCommand(pick(prng, ...planned), META);
  return encodeCommand(aboutVm(prng, world), META);
}

/** Random bytes, or a valid command with some bytes changed or cut off. */
function garbage(prng: Prng): Uint8Array {
  const valid = encodeCommand(pick(prng, ...Object.values<Command>(SAMPLES)), META).slice();
  if (prng.chance(0.2)) return valid.map(() => prng.u32());
  for (let i = prng.between(1, 3); i > 0; i--) valid[prng.below(valid.length)] = prng.u32();
  return prng.chance(0.2) ? valid.subarray(0, prng.below(valid.length)) : valid;
}

/** Kept up from the changes alone, as a watcher would. */
interface Mirror {
  readonly vms: Map<VmId, VmRecord>;
  readonly nodes: Map<NodeId, NodeRecord>;
}

function follow(mirror: Mirror, changes: readonly Change[]): void {
  for (const change of changes) {
    if (change.kind === "vm") {
      assert.deepEqual(mirror.vms.get(change.id), change.before);
      if (change.after === undefined) mirror.vms.delete(change.id);
      else mirror.vms.set(change.id, change.after);
    } else {
      assert.deepEqual(mirror.nodes.get(change.id), change.before);
      if (change.after === undefined) mirror.nodes.delete(change.id);
      else mirror.nodes.set(change.id, change.after);
    }
  }
}

function checkMirror(state: ControlState, mirror: Mirror): void {
  assert.equal(state.vms.size, mirror.vms.size);
  assert.equal(state.nodes.size, mirror.nodes.size);
  for (const vm of state.vms.values()) assert.equal(mirror.vms.get(vm.id), vm);
  for (const node of state.nodes.values()) assert.equal(mirror.nodes.get(node.id), node);
}

function checkIndexes(state: ControlState): void {
  const vms = listVms(state);
  const { index } = owned(state);
  assert.equal(new Set(vms.map((vm) => vm.spec.name)).size, vms.length, "names are unique");
  assert.equal(index.vmByName.size, vms.length);
  assert.equal(index.nodeByName.size, state.nodes.size);
  for (const vm of vms) assert.equal(index.vmByName.get(vm.spec.name), vm.id);
  const pending = vms
    .filter((vm) => vm.phase === "pending")
    .sort((a, b) => a.modifiedRevision - b.modifiedRevision || (a.id < b.id ? -1 : 1));
  assert.deepEqual(
    [...index.pending],
    pending.map((vm) => [vm.id, vm.modifiedRevision]),
  );
  for (const node of listNodes(state)) {
    const sum = { vcpus: 0, memoryBytes: 0, diskBytes: 0 };
    const here = vms.filter((vm) => vm.nodeId === node.id);
    for (const { spec } of here) {
      sum.vcpus += spec.vcpus;
      sum.memoryBytes += spec.memoryBytes;
      sum.diskBytes += spec.diskBytes;
    }
    assert.deepEqual(usage(state, node.id), sum);
    assert.equal(vmsOnNode(state, node.id).length, here.length);
    assert.ok(here.length === 0 || node.state === "up", `${node.name}: VMs without a lease`);
  }
}

/** Only a node that registers anew with less can end up with more VMs than it holds. */
function checkCapacity(state: ControlState, { node, vm }: { node: NodeId; vm: VmId }): void {
  const used = usage(state, node);
  const capacity = state.nodes.get(node)?.capacity ?? assert.fail(`no node ${node}`);
  assert.ok(used.vcpus <= capacity.vcpus, `placing ${vm} exceeds the vCPUs of ${node}`);
  assert.ok(used.memoryBytes <= capacity.memoryBytes, `placing ${vm} exceeds the memory`);
  assert.ok(used.diskBytes <= capacity.diskBytes, `placing ${vm} exceeds the disk`);
}

/** Which start of each VM may still run, as far as the log can tell. */
interface Start {
  readonly node: NodeId;
  readonly leaseEpoch: number;
}

class AtMostOnce {
  readonly #running = new Map<VmId, Start>();
  readonly #epochs = new Map<VmId, number>();
  readonly #leases = new Map<NodeId, number>();

  /** Called before the command is applied, then with its result. */
  observe(state: ControlState, command: Command, result: CommandResult): void {
    if (!result.ok) return;
    if (command.kind === "claimStart") this.#claimed(state, command, result.value.epoch ?? 0);
    if (command.kind === "acquireLease") {
      const lease = result.value.node?.leaseEpoch ?? 0;
      assert.ok(lease > (this.#leases.get(command.nodeId) ?? 0), "lease epochs only grow");
      this.#leases.set(command.nodeId, lease);
    }
    const ended = ["stopped", "failed", "crashed", "gone"];
    if (command.kind === "reportVm" && ended.includes(command.phase)) {
      this.#running.delete(command.vmId);
    }
  }

  #claimed(
    state: ControlState,
    command: Extract<Command, { kind: "claimStart" }>,
    granted: number,
  ): void {
    const { vmId: id, nodeId: node, leaseEpoch } = command;
    assert.ok(granted > (this.#epochs.get(id) ?? 0), "epochs of an id only grow");
    this.#epochs.set(id, granted);
    const earlier = this.#running.get(id);
    if (earlier !== undefined && earlier.node !== node) {
      const record = state.nodes.get(earlier.node);
      const over =
        record === undefined || record.state !== "up" || record.leaseEpoch > earlier.leaseEpoch;
      assert.ok(over, `${id} may still run on ${earlier.node}`);
    }
    this.#running.set(id, { node, leaseEpoch });
  }
}

function copyOf(state: ControlState): ControlState {
  const restored = restoreState([concat([...{ [Symbol.iterator]: () => snapshotState(state) }])]);
  assert.ok(restored.ok, restored.ok ? "" : restored.error);
  return restored.value;
}

function runSeed(seed: number, tally: Map<string, number>): void {
  const prng = new Prng(seed);
  const world = new World();
  const mirror: Mirror = { vms: new Map(), nodes: new Map() };
  const atMostOnce = new AtMostOnce();
  let replica = copyOf(world.state);
  let planned: readonly Command[] = [];
  for (let step = 0; step < COMMANDS; step++) {
    if (prng.chance(0.02)) world.term = as<Term>(world.term + 1);
    // A replica that joins late starts from a snapshot and must not differ from then on.
    if (prng.chance(0.01)) replica = copyOf(world.state);
    // A plan is often old by the time it is carried out.
    if (prng.chance(0.3)) planned = plan(world.state).placements;
    const bytes = next(prng, world, planned);
    const before = owned(world.state).hashSum;
    const result = world.raw(bytes);
    const decoded = decodeCommand(bytes);
    const kind = decoded.ok ? decoded.value.command.kind : "garbage";
    const outcome = `${kind} ${result.ok ? "ok" : "refused"}`;
    tally.set(outcome, (tally.get(outcome) ?? 0) + 1);
    if (result.ok) follow(mirror, result.changes);
    else {
      assert.equal(result.alarm, undefined);
      assert.equal(owned(world.state).hashSum, before, "a refusal changed the state");
    }
    if (decoded.ok) {
      const { command } = decoded.value;
      atMostOnce.observe(world.state, command, result);
      if (command.kind === "placeVm" && result.ok) {
        checkCapacity(world.state, { node: command.nodeId, vm: command.vmId });
      }
    }
    const at = { index: as<LogIndex>(world.index), term: world.term };
    assert.deepEqual(applyCommand(replica, at, bytes), result);
    assert.equal(stateHash(world.state), recomputeStateHash(world.state));
    assert.equal(stateHash(replica), stateHash(world.state));
    checkIndexes(world.state);
    checkMirror(world.state, mirror);
  }
  const copy = copyOf(world.state);
  assert.equal(stateHash(copy), stateHash(world.state));
  assert.deepEqual(plan(copy), plan(world.state));
  checkIndexes(copy);
}

test("whatever commands come, the state stays whole and the same on every replica", () => {
  const tally = new Map<string, number>();
  for (let seed = 1; seed <= SEEDS; seed++) {
    try {
      runSeed(seed, tally);
    } catch (caught) {
      throw new Error(`seed ${seed}`, { cause: caught });
    }
  }
  for (const kind of Object.keys(SAMPLES)) {
    assert.ok((tally.get(`${kind} ok`) ?? 0) > 10, `${kind} succeeded: ${tally.get(`${kind} ok`)}`);
    if (kind === "createJoinToken") continue;
    assert.ok((tally.get(`${kind} refused`) ?? 0) > 10, `${kind} was refused`);
  }
  assert.ok((tally.get("garbage refused") ?? 0) > 100);
});
