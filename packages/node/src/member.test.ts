import assert from "node:assert/strict";
import { test } from "node:test";
import { as, type NodeId, type PeerId, type PublicKeyHex, toHex, utf8 } from "@blixard/std";
import { decodeMember, encodeMember } from "./member.ts";

const PEER = as<PeerId>(7);
const INFO = {
  nodeId: as<NodeId>("a".repeat(32)),
  publicKey: as<PublicKeyHex>("b".repeat(64)),
  address: "127.0.0.1:7446",
};

test("a member record round-trips; version 1 is golden", () => {
  const context = encodeMember(INFO);
  assert.deepEqual(decodeMember({ peer: PEER, context }), {
    ok: true,
    value: { peerId: 7, ...INFO },
  });
  const expected =
    `4d4201` +
    `20000000${toHex(utf8("a".repeat(32)))}` +
    `40000000${toHex(utf8("b".repeat(64)))}` +
    `0e000000${toHex(utf8("127.0.0.1:7446"))}`;
  assert.equal(toHex(context), expected);
});

test("anything else is refused with a reason", () => {
  const context = encodeMember(INFO);
  for (let length = 0; length < context.length; length++) {
    assert.equal(decodeMember({ peer: PEER, context: context.subarray(0, length) }).ok, false);
  }
  const future = context.slice();
  future[2] = 2;
  const refused = decodeMember({ peer: PEER, context: future });
  assert.match(refused.ok ? "" : refused.error, /version 2/);
  const badId = encodeMember({ ...INFO, nodeId: as<NodeId>("nope") });
  assert.equal(decodeMember({ peer: PEER, context: badId }).ok, false);
  const badKey = encodeMember({ ...INFO, publicKey: as<PublicKeyHex>("nope") });
  assert.equal(decodeMember({ peer: PEER, context: badKey }).ok, false);
});
