import assert from "node:assert/strict";
import { test } from "node:test";
import { MATCHES_MAX } from "./limits.ts";
import {
  findNode,
  findVm,
  getNode,
  getVm,
  listNodes,
  listVms,
  nodeByName,
  vmByName,
  vmCountOnNode,
  vmsOnNode,
} from "./lookup.ts";
import { nodeId, specOf, vmId, World } from "./testing/world.ts";

function world(): World {
  const made = new World();
  made.addNode(1, { name: "beta" });
  made.addNode(2, { name: "alpha" });
  made.addVm(1, { name: "web" });
  made.addVm(0x20, { name: "web-2" });
  made.addVm(0x30, { name: "db" });
  return made;
}
const vmOf = (at: World, ref: string): string => {
  const found = findVm(at.state, ref);
  return found.ok ? found.value.spec.name : found.error.code;
};

test("findVm: exact id, exact name, unique prefix of either", () => {
  const at = world();
  assert.equal(vmOf(at, vmId(0x20)), "web-2");
  assert.equal(vmOf(at, "web"), "web", "an exact name wins over names it is a prefix of");
  assert.equal(vmOf(at, "web-"), "web-2");
  assert.equal(vmOf(at, "d"), "db");
  assert.equal(vmOf(at, "000000000000003"), "db");
});

test("findVm: NotFound and Ambiguous name what to do next", () => {
  const at = world();
  for (const ref of ["nope", ""]) {
    const missing = findVm(at.state, ref);
    assert.ok(!missing.ok && missing.error.code === "NotFound");
    assert.equal(missing.error.hint, "blixard vm ls");
  }
  const both = findVm(at.state, "we");
  assert.ok(!both.ok && both.error.code === "Ambiguous");
  assert.deepEqual(both.error.data, { kind: "VM", name: "we", matches: ["web", "web-2"] });
  for (let i = 0; i < MATCHES_MAX; i++) at.addVm(0x100 + i, { name: `web-x${i}` });
  const many = findVm(at.state, "we");
  assert.ok(!many.ok && many.error.code === "Ambiguous");
  assert.equal(many.error.data.matches.length, MATCHES_MAX);
  assert.match(many.error.message, /and 2 more/);
});

test("findNode follows the same rules", () => {
  const at = world();
  const nodeOf = (ref: string): string => {
    const found = findNode(at.state, ref);
    return found.ok ? found.value.name : found.error.code;
  };
  assert.equal(nodeOf(nodeId(1)), "beta");
  assert.equal(nodeOf("alpha"), "alpha");
  assert.equal(nodeOf("al"), "alpha");
  assert.equal(nodeOf("000"), "Ambiguous");
  assert.equal(nodeOf("gamma"), "NotFound");
});

test("lists are by name, VMs of a node by id", () => {
  const at = world();
  assert.deepEqual(
    listVms(at.state).map((vm) => vm.spec.name),
    ["db", "web", "web-2"],
  );
  assert.deepEqual(
    listNodes(at.state).map((node) => node.name),
    ["alpha", "beta"],
  );
  at.place(0x30, 1);
  at.place(1, 1);
  assert.deepEqual(
    vmsOnNode(at.state, nodeId(1)).map((vm) => vm.id),
    [vmId(1), vmId(0x30)],
  );
  assert.deepEqual(vmsOnNode(at.state, nodeId(2)), []);
  assert.equal(vmCountOnNode(at.state, nodeId(1)), 2);
  assert.equal(vmCountOnNode(at.state, nodeId(2)), 0);
});

test("get and by-name lookups answer exactly", () => {
  const at = world();
  assert.equal(getVm(at.state, vmId(1))?.spec.name, "web");
  assert.equal(getVm(at.state, vmId(2)), undefined);
  assert.equal(getNode(at.state, nodeId(2))?.name, "alpha");
  assert.equal(vmByName(at.state, "db")?.id, vmId(0x30));
  assert.equal(vmByName(at.state, "d"), undefined);
  assert.equal(nodeByName(at.state, "beta")?.id, nodeId(1));
  assert.equal(nodeByName(at.state, "b"), undefined);
  assert.equal(specOf("x").name, "x");
});
