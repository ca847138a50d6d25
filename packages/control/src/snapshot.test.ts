import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { as, concat, fromHex, Prng, toHex, utf8, type PeerId } from "@blixard/std";
import { SNAPSHOT_CHUNK_BYTES_MAX } from "./limits.ts";
import { plan } from "./planner/plan.ts";
import { restoreState, snapshotState } from "./snapshot.ts";
import {
  owned,
  publish,
  recomputeStateHash,
  stageNode,
  stageToken,
  stageVm,
  stateHash,
  type ControlState,
} from "./state.ts";
import { SAMPLES } from "./testing/samples.ts";
import { nodeId, registrationOf, tokenHash, vmId, World } from "./testing/world.ts";
import type { NodeRecord, VmRecord } from "./types.ts";

const golden = readFileSync(new URL("testdata/snapshot.v1.txt", import.meta.url), "utf8").trim();
const bounded = readFileSync(
  new URL("testdata/snapshot.v1-bounds.txt", import.meta.url),
  "utf8",
).trim();
const drained = readFileSync(
  new URL("testdata/snapshot.v1-maintenance.txt", import.meta.url),
  "utf8",
).trim();

function bytesOf(state: ControlState): Uint8Array {
  return concat([...{ [Symbol.iterator]: () => snapshotState(state) }]);
}

/** One of everything, by commands alone. */
function populated(): World {
  const world = new World();
  world.addNode(1, { labels: { rack: "r1", "1": "x" } });
  world.addNode(2);
  world.ok({ kind: "registerNode", node: registrationOf(3, { drivers: [] }) });
  world.ok({ ...SAMPLES.createJoinToken });
  world.ok({ ...SAMPLES.createVm });
  for (const n of [1, 2, 3]) world.runVm(n, 1);
  world.ok(world.reportOf(2, "crashed", { reason: 'panic \u2028 "quoted"' }));
  world.ok(world.reportOf(3, "stopped", { commandExit: 3 }));
  world.ok({ kind: "deleteVm", vmId: vmId(3) });
  world.runVm(4, 2);
  world.ok({ kind: "deleteVm", vmId: vmId(4) });
  world.ok(world.reportOf(4, "gone"));
  world.runVm(5, 2);
  world.ok(world.expire(2, 1));
  return world;
}

test("golden snapshot of version 1 is read, and written, for ever", () => {
  const bytes = fromHex(golden);
  assert.ok(bytes !== undefined);
  const restored = restoreState([bytes]);
  assert.ok(restored.ok, restored.ok ? "" : restored.error);
  assert.equal(stateHash(restored.value), stateHash(populated().state));
  assert.equal(toHex(bytesOf(restored.value)), golden);
  assert.equal(toHex(bytesOf(populated().state)), golden);
});

test("a node out of service is written with one item more, and golden bytes of it are read", () => {
  const world = populated();
  world.ok({ ...SAMPLES.setMaintenance });
  const written = toHex(bytesOf(world.state));
  assert.equal(written, drained);
  const restored = restoreState([bytesOf(world.state)]);
  assert.ok(restored.ok, restored.ok ? "" : restored.error);
  assert.equal(restored.value.nodes.get(nodeId(1))?.maintenance, "drainDisks");
  assert.equal(stateHash(restored.value), stateHash(world.state));
});

test("a node's bounds and a VM's health are items more, and golden bytes of them are read", () => {
  const world = populated();
  world.ok({ ...SAMPLES.setVmBounds });
  const { nodeId: home = nodeId(1), epoch } = world.vm(1);
  const { leaseEpoch } = world.node(1);
  world.ok({ ...SAMPLES.reportHealth, vmId: vmId(1), nodeId: home, leaseEpoch, epoch });
  assert.equal(toHex(bytesOf(world.state)), bounded);
  const restored = restoreState([bytesOf(world.state)]);
  assert.ok(restored.ok, restored.ok ? "" : restored.error);
  const { vmBounds } = SAMPLES.setVmBounds;
  assert.deepEqual(restored.value.nodes.get(nodeId(1))?.vmBounds, vmBounds);
  assert.equal(restored.value.nodes.get(nodeId(1))?.maintenance, undefined);
  assert.equal(restored.value.vms.get(vmId(1))?.health, "unresponsive");
  assert.equal(stateHash(restored.value), stateHash(world.state));
  world.ok({ ...SAMPLES.setMaintenance });
  const both = restoreState([bytesOf(world.state)]);
  assert.ok(both.ok, both.ok ? "" : both.error);
  assert.deepEqual(both.value.nodes.get(nodeId(1)), world.node(1));
});

test("a restored state has the same records, hash, indexes and future", () => {
  const world = populated();
  const restored = restoreState([bytesOf(world.state)]);
  assert.ok(restored.ok);
  assert.deepEqual(restored.value.vms.get(vmId(2)), world.vm(2));
  assert.deepEqual(restored.value.nodes.get(nodeId(1)), world.node(1));
  assert.equal(recomputeStateHash(restored.value), stateHash(world.state));
  const index = owned(restored.value).index;
  assert.deepEqual([...index.pending], [...owned(world.state).index.pending]);
  assert.deepEqual(index.usage, owned(world.state).index.usage);
  assert.deepEqual(index.nodeByName, owned(world.state).index.nodeByName);
  assert.deepEqual(plan(restored.value), plan(world.state));
});

test("chunks may be cut anywhere", () => {
  const bytes = bytesOf(populated().state);
  const prng = new Prng(7);
  for (let round = 0; round < 20; round++) {
    const chunks: Uint8Array[] = [];
    for (let at = 0; at < bytes.length;) {
      const length = prng.below(90);
      chunks.push(bytes.subarray(at, at + length));
      at += length;
    }
    assert.ok(restoreState(chunks).ok);
  }
});

test("a snapshot shows the moment of its call while commands go on", () => {
  const world = new World();
  world.addNode(1);
  for (let n = 1; n <= 3000; n++) world.addVm(n, { labels: { filler: "f".repeat(200) } });
  const before = bytesOf(world.state);
  assert.ok(before.length > 2 * SNAPSHOT_CHUNK_BYTES_MAX);
  const chunks: Uint8Array[] = [];
  const snapshot = snapshotState(world.state);
  for (let n = 1; ; n++) {
    const next = snapshot.next();
    if (next.done === true) break;
    chunks.push(next.value);
    assert.ok(next.value.length <= SNAPSHOT_CHUNK_BYTES_MAX);
    for (let k = n; k <= 3000; k += 3) {
      if (world.state.vms.has(vmId(k))) world.ok({ kind: "deleteVm", vmId: vmId(k) });
    }
    world.addVm(5000 + n);
  }
  assert.ok(Buffer.from(concat(chunks)).equals(before), "the copy moved");
  assert.ok(!Buffer.from(bytesOf(world.state)).equals(before), "the state did not move");
});

test("equal states give equal bytes, whichever way they came about", () => {
  const [a, b] = [new World(), new World()];
  const names = Array.from({ length: 200 }, (_, i) => i + 1);
  for (const n of names) a.addVm(n);
  for (const n of names.toReversed()) b.addVm(n);
  // Same records in both: the revisions they were made at are all that differs.
  const mine = owned(b.state);
  for (const vm of a.state.vms.values()) publish(mine, [stageVm(mine, vm.id, vm)]);
  assert.equal(stateHash(a.state), stateHash(b.state));
  assert.deepEqual(bytesOf(a.state), bytesOf(b.state));
});

test("a flipped bit anywhere, a cut anywhere, or bytes behind the end: refused", () => {
  const world = new World();
  world.addNode(1);
  world.addVm(1);
  world.ok({ ...SAMPLES.createJoinToken });
  const bytes = bytesOf(world.state);
  for (let at = 0; at < bytes.length; at++) {
    const bad = bytes.slice();
    bad[at] = (bad[at] ?? 0) ^ (1 << (at % 8));
    assert.ok(!restoreState([bad]).ok, `flip at ${at}`);
    assert.ok(!restoreState([bytes.subarray(0, at)]).ok, `cut at ${at}`);
  }
  const trailing = restoreState([bytes, new Uint8Array(1)]);
  assert.ok(!trailing.ok && trailing.error.includes("bytes follow"));
});

const nowhere = new World();
nowhere.addNode(1);
nowhere.addVm(1);
const NODE = nowhere.node(1);
const VM = nowhere.vm(1);

/** What restoring says to a state with this record beside those of `nowhere`. */
function refusalOf(add: { vm?: Partial<VmRecord>; node?: Partial<NodeRecord> }): string {
  const world = new World();
  world.addNode(1);
  world.addVm(1);
  const state = owned(world.state);
  if (add.node !== undefined) {
    const node: NodeRecord = { ...NODE, ...add.node };
    publish(state, [stageNode(state, node.id, node)]);
  }
  if (add.vm !== undefined) {
    const vm: VmRecord = { ...VM, ...add.vm };
    publish(state, [stageVm(state, vm.id, vm)]);
  }
  const restored = restoreState([bytesOf(world.state)]);
  return restored.ok ? "accepted" : restored.error;
}

test("records that no commands lead to are refused, whatever the hash says", () => {
  const spec = { ...VM.spec, name: "other" };
  const id = vmId(2);
  assert.equal(refusalOf({}), "accepted");
  assert.match(refusalOf({ vm: { id } }), /repeats an id or a name/);
  assert.match(refusalOf({ vm: { id, spec: { ...spec, vcpus: 0 } } }), /vm\.spec\.vcpus 0/);
  assert.match(refusalOf({ vm: { id, spec, nodeId: nodeId(9) } }), /node that does not exist/);
  assert.match(refusalOf({ vm: { id, spec, nodeId: nodeId(1) } }), /pending, yet on a node/);
  assert.match(refusalOf({ vm: { id, spec, desired: "stopped" } }), /not wanted to run/);
  assert.match(refusalOf({ vm: { id, spec, phase: "running" } }), /running, yet on no node/);
  assert.match(refusalOf({ vm: { id, spec, deleting: true } }), /deleted, yet on no node/);
  const later = as<VmRecord["modifiedRevision"]>(99);
  assert.match(refusalOf({ vm: { id, spec, modifiedRevision: later } }), /newer than/);
  const two = { id: nodeId(2), name: "node-2" };
  assert.match(refusalOf({ node: { ...two, peerId: as<PeerId>(7) } }), /never given/);
  assert.match(refusalOf({ node: { id: nodeId(2) } }), /repeats/);
});

test("bad frames inside a well-formed stream are refused with the reason", () => {
  const bytes = bytesOf(nowhere.state);
  const head = bytes.subarray(0, 62);
  const record = (body: string): Uint8Array => {
    const text = utf8(body);
    const length = new Uint8Array(4);
    new DataView(length.buffer).setUint32(0, text.length, true);
    return concat([length, text]);
  };
  const say = (...rest: Uint8Array[]): string => {
    const restored = restoreState([head, ...rest]);
    return restored.ok ? "accepted" : restored.error;
  };
  assert.match(say(record('["ghost"]')), /kind "ghost": expected node, vm or joinToken/);
  assert.match(say(record("{}")), /kind nothing/);
  assert.match(say(record('["vm"]')), /a list of 13 items/);
  assert.match(say(record('["node",1,2,3,4,5,[1,2,3],[],{},1,1,1,1,1]')), /a list of pairs/);
  assert.match(
    say(record('["node",1,2,3,4,5,[1,2,3],[],[["__proto__",1]],1,1,1,1,1]')),
    /a label key/,
  );
  assert.match(say(new Uint8Array([255, 255, 255, 255])), /claims 4294967295 bytes/);
  assert.match(say(), /ends too early/);
});

test("a snapshot whose counts do not match its records is refused", () => {
  const world = new World();
  world.ok({ ...SAMPLES.createJoinToken });
  const state = owned(world.state);
  publish(state, [
    stageToken(state, tokenHash(1), {
      hash: tokenHash(2),
      usesLeft: 1,
      expiresAtMs: 1,
      createdRevision: state.counters.revision,
    }),
    stageToken(state, tokenHash(2), {
      hash: tokenHash(2),
      usesLeft: 1,
      expiresAtMs: 1,
      createdRevision: state.counters.revision,
    }),
  ]);
  const twice = restoreState([bytesOf(world.state)]);
  assert.ok(!twice.ok && twice.error.includes("repeats"));
  const bytes = bytesOf(populated().state);
  // The sizes are the last three numbers of the head: one VM counted as a node.
  const view = new DataView(bytes.buffer);
  view.setUint32(38, view.getUint32(38, true) + 1, true);
  view.setUint32(46, view.getUint32(46, true) - 1, true);
  const wrong = restoreState([bytes]);
  assert.ok(!wrong.ok && wrong.error.includes("promises"));
});
