import assert from "node:assert/strict";
import { test } from "node:test";
import { as, type LogIndex, type PeerId } from "@blixard/std";
import { applyCommand } from "../apply.ts";
import { encodeCommand } from "../codec.ts";
import { JOIN_TOKENS_MAX } from "../limits.ts";
import { SAMPLES } from "../testing/samples.ts";
import { META, nodeId, publicKey, registrationOf, tokenHash, World } from "../testing/world.ts";
import type { Command } from "../types.ts";

const base = (n: number) => {
  const { id, name, publicKey, address } = registrationOf(n);
  return { id, name, publicKey, address };
};
const admit = (n: number, token = 1): Command => ({
  kind: "admitNode",
  tokenHash: tokenHash(token),
  node: base(n),
});
const makeToken = (token: number, uses: number, expiresAtMs = 5): Command => ({
  kind: "createJoinToken",
  hash: tokenHash(token),
  uses,
  expiresAtMs,
});

test("the first node registers with peer id 1 and counts as joining", () => {
  const world = new World();
  const { node, peerId, changes } = world.ok({ kind: "registerNode", node: registrationOf(1) });
  assert.equal(peerId, 1);
  assert.equal(node?.state, "joining");
  assert.equal(node.leaseEpoch, 0);
  assert.deepEqual(changes, [{ kind: "node", id: nodeId(1), after: node }]);
  assert.equal(world.state.counters.lastPeerId, 1);
});

test("registering again changes the description, keeps lease and creation", () => {
  const world = new World();
  const before = world.addNode(1);
  const again = registrationOf(1, { name: "renamed", labels: { zone: "a" } });
  const { node, changes } = world.ok({ kind: "registerNode", node: again });
  assert.equal(node?.name, "renamed");
  assert.equal(node.state, "up");
  assert.equal(node.leaseEpoch, 1);
  assert.equal(node.createdRevision, before.createdRevision);
  assert.deepEqual(changes, [{ kind: "node", id: nodeId(1), before, after: node }]);
  const same = world.ok({ kind: "registerNode", node: again });
  assert.deepEqual(same.changes, []);
  assert.deepEqual(same.node, node);
});

test("registerNode refuses a taken name, another peer id, another key, a used peer id", () => {
  const world = new World();
  world.addNode(1);
  const register = (over: Parameters<typeof registrationOf>[1], n = 1) =>
    world.refused({ kind: "registerNode", node: registrationOf(n, over) });
  assert.equal(register({ name: "node-1" }, 2).code, "AlreadyExists");
  assert.match(register({ peerId: as<PeerId>(7) }).message, /peer id 1, not 7/);
  assert.match(register({ publicKey: publicKey(9) }).message, /another public key/);
  assert.match(register({ peerId: as<PeerId>(1) }, 2).message, /never given again/);
  assert.equal(world.state.nodes.size, 1);
});

test("a join token is spent once per new node and gives peer ids that never repeat", () => {
  const world = new World();
  world.addNode(1);
  world.ok(makeToken(1, 2));
  const second = world.ok(admit(2));
  assert.equal(second.peerId, 2);
  assert.equal(second.node?.state, "joining");
  assert.equal(world.state.joinTokens.get(tokenHash(1))?.usesLeft, 1);
  const again = world.ok(admit(2));
  assert.equal(again.peerId, 2);
  assert.deepEqual(again.changes, []);
  assert.equal(world.state.joinTokens.get(tokenHash(1))?.usesLeft, 1);
  world.ok({ kind: "removeNode", nodeId: nodeId(2) });
  assert.equal(world.ok(admit(3)).peerId, 3);
  assert.match(world.refused(admit(4)).message, /used up/);
  assert.equal(world.ok(admit(3)).peerId, 3, "a member needs no uses left");
  assert.match(world.refused(admit(4, 9)).message, /unknown/);
  assert.equal(world.refused(admit(4, 9)).code, "Unauthorized");
});

test("admitNode refuses a taken name and another key, and spends nothing then", () => {
  const world = new World();
  world.addNode(1);
  world.ok(makeToken(1, 1));
  const taken = { ...base(2), name: "node-1" };
  const hash = tokenHash(1);
  assert.equal(
    world.refused({ kind: "admitNode", tokenHash: hash, node: taken }).code,
    "AlreadyExists",
  );
  const forged = { ...base(1), publicKey: publicKey(5) };
  assert.equal(
    world.refused({ kind: "admitNode", tokenHash: hash, node: forged }).code,
    "Conflict",
  );
  assert.equal(world.state.joinTokens.get(hash)?.usesLeft, 1);
});

test("a delayed copy of createJoinToken gives no uses back", () => {
  const world = new World();
  world.ok(makeToken(1, 1));
  world.ok(admit(1));
  world.ok(makeToken(1, 1));
  assert.match(world.refused(admit(2)).message, /used up/);
});

test("beyond the limit the used-up token goes first, then the one that runs out first", () => {
  const world = new World();
  world.ok(makeToken(0, 1, 9_000_000));
  world.ok(admit(1, 0));
  for (let i = 1; i < JOIN_TOKENS_MAX; i++) world.ok(makeToken(i, 1, 1_000_000 - i));
  world.ok(makeToken(JOIN_TOKENS_MAX, 1, 2_000_000));
  assert.equal(world.state.joinTokens.has(tokenHash(0)), false);
  world.ok(makeToken(JOIN_TOKENS_MAX + 1, 1, 2_000_000));
  assert.equal(world.state.joinTokens.has(tokenHash(JOIN_TOKENS_MAX - 1)), false);
  assert.equal(world.state.joinTokens.size, JOIN_TOKENS_MAX);
});

test("of two tokens that run out together, the one with the lower hash is forgotten", () => {
  const world = new World();
  for (let i = 0; i < JOIN_TOKENS_MAX; i++) world.ok(makeToken(i, 1, 7));
  world.ok(makeToken(JOIN_TOKENS_MAX, 1, 7));
  assert.equal(world.state.joinTokens.size, JOIN_TOKENS_MAX);
  assert.equal(world.state.joinTokens.has(tokenHash(0)), false);
});

test("removeNode refuses an unknown node and one that is up with VMs", () => {
  const world = new World();
  world.addNode(1);
  world.runVm(1, 1);
  assert.equal(world.refused({ kind: "removeNode", nodeId: nodeId(9) }).code, "NotFound");
  const failure = world.refused({ kind: "removeNode", nodeId: nodeId(1) });
  assert.equal(failure.code, "Conflict");
  assert.match(failure.hint ?? "", /blixard node drain node-1/);
});

test("removeNode lets an empty node go, and one that is lost", () => {
  const world = new World();
  const before = world.addNode(1);
  const gone = world.ok({ kind: "removeNode", nodeId: nodeId(1) });
  assert.deepEqual(gone.changes, [{ kind: "node", id: nodeId(1), before }]);
  world.addNode(2);
  world.runVm(1, 2);
  world.ok(world.expire(2, world.node(2).leaseEpoch));
  world.ok({ kind: "removeNode", nodeId: nodeId(2) });
  assert.equal(world.vm(1).phase, "pending");
  assert.equal(world.state.nodes.size, 0);
});

test("a node that joins again continues above every lease epoch of removed nodes", () => {
  const world = new World();
  world.addNode(1);
  world.ok({ kind: "acquireLease", nodeId: nodeId(1), fromEpoch: 1 });
  world.ok({ kind: "removeNode", nodeId: nodeId(1) });
  const { node } = world.ok({
    kind: "registerNode",
    node: registrationOf(1, { peerId: as<PeerId>(2) }),
  });
  assert.equal(node?.leaseEpoch, 2);
  world.ok(makeToken(1, 1));
  assert.equal(world.ok(admit(3)).node?.leaseEpoch, 2);
});

test("an entry applied twice is refused with an alarm and changes nothing", () => {
  const world = new World();
  const bytes = encodeCommand({ kind: "registerNode", node: registrationOf(1) }, META);
  const at = { index: as<LogIndex>(5), term: world.term };
  assert.equal(applyCommand(world.state, at, bytes).ok, true);
  const again = applyCommand(world.state, at, bytes);
  assert.equal(again.ok, false);
  assert.match((!again.ok && again.alarm) || "", /entry 5 was applied after entry 5/);
});

test("a node's bounds stay while its drivers do, and are told once", () => {
  const world = new World();
  world.addNode(1);
  assert.equal(world.refused({ ...SAMPLES.setVmBounds, nodeId: nodeId(9) }).code, "NotFound");
  world.ok({ ...SAMPLES.setVmBounds });
  const { vmBounds } = SAMPLES.setVmBounds;
  assert.deepEqual(world.node(1).vmBounds, vmBounds);
  assert.deepEqual(world.ok({ ...SAMPLES.setVmBounds }).changes, []);
  const labels = { zone: "b" };
  world.ok({ kind: "registerNode", node: registrationOf(1, { labels }) });
  assert.deepEqual(world.node(1).vmBounds, vmBounds);
  world.ok({ kind: "registerNode", node: registrationOf(1, { labels, drivers: ["other"] }) });
  assert.ok(!("vmBounds" in world.node(1)));
  const backwards = { vcpusMax: 1, memoryBytesMin: 2, memoryBytesMax: 1 };
  const refused = world.refused({ ...SAMPLES.setVmBounds, vmBounds: backwards });
  assert.match(refused.message, /not above the greatest/);
});
