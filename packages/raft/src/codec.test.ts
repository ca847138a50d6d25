/** Every message and record survives its encoding; any other bytes give a reason, never a throw. */

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import test from "node:test";
import { fromHex, present, Prng, toHex } from "@blixard/std";
import {
  decodeAnyChange,
  decodeConfChange,
  decodeConfState,
  decodeEntry,
  decodeMessage,
  encodeAnyChange,
  encodeConfChange,
  encodeConfState,
  encodeEntry,
  encodeMessage,
  LEAVE,
  MAX_CONTEXT_BYTES,
  type ConfChange,
  type ConfState,
  type Entry,
  type JointChange,
  type Message,
} from "./index.ts";
import { peer, votersOf } from "./testing/cluster.ts";
import { entry, index, term } from "./testing/solo.ts";

const GOLDEN = new URL("../testdata/codec-v1.json", import.meta.url);
const BIG = 2 ** 40 + 5;
const head = { to: peer(1), from: peer(0xffffffff), term: term(BIG) };

const CONF: ConfState = {
  voters: [peer(1), peer(2)],
  votersOutgoing: [peer(3)],
  learners: [peer(4)],
  learnersNext: [peer(5)],
  autoLeave: true,
};

const MESSAGES: Record<string, Message> = {
  preVote: { kind: "preVote", ...head, lastIndex: index(7), lastTerm: term(6), force: false },
  vote: { kind: "vote", ...head, lastIndex: index(BIG), lastTerm: term(6), force: true },
  preVoteReply: { kind: "preVoteReply", ...head, granted: true },
  voteReply: { kind: "voteReply", ...head, granted: false },
  append: {
    kind: "append",
    ...head,
    prevIndex: index(8),
    prevTerm: term(2),
    entries: [
      entry(9, 3),
      entry(10, 4, "config"),
      { ...entry(11, 4, "noop"), data: new Uint8Array() },
    ],
    commit: index(8),
  },
  appendReply: {
    kind: "appendReply",
    ...head,
    rejected: true,
    index: index(9),
    hintIndex: index(5),
    hintTerm: term(2),
    repair: 0xdeadbeef,
  },
  heartbeat: { kind: "heartbeat", ...head, commit: index(4), readRound: BIG, repaired: 7 },
  heartbeatReply: { kind: "heartbeatReply", ...head, readRound: 3, repair: 0 },
  snapshot: { kind: "snapshot", ...head, meta: { index: index(9), term: term(3), conf: CONF } },
  timeoutNow: { kind: "timeoutNow", ...head },
  propose: {
    kind: "propose",
    ...head,
    proposals: [
      { kind: "command", data: new Uint8Array([1, 2]) },
      { kind: "config", data: new Uint8Array() },
    ],
  },
  readIndex: { kind: "readIndex", ...head, context: BIG },
  readIndexReply: { kind: "readIndexReply", ...head, context: 3, index: index(BIG) },
  transferLeader: { kind: "transferLeader", ...head },
};

const CHANGE: ConfChange = { op: "addLearner", peer: peer(9), context: new Uint8Array([1, 2, 3]) };
const JOINT: JointChange = {
  transition: "explicit",
  changes: [CHANGE, { op: "updateMember", peer: peer(3), context: new Uint8Array() }],
};
const ENTRY: Entry = entry(12, 5, "config");

function encodings(): Record<string, string> {
  const out: Record<string, string> = {
    entry: toHex(encodeEntry(ENTRY)),
    confChange: toHex(encodeConfChange(CHANGE)),
    jointChange: toHex(encodeAnyChange(JOINT)),
    leave: toHex(encodeAnyChange(LEAVE)),
    confState: toHex(encodeConfState(CONF)),
  };
  for (const [name, message] of Object.entries(MESSAGES)) out[name] = toHex(encodeMessage(message));
  return out;
}

test("round trips", () => {
  for (const message of Object.values(MESSAGES)) {
    assert.deepEqual(decodeMessage(encodeMessage(message)), { ok: true, value: message });
  }
  assert.deepEqual(decodeEntry(encodeEntry(ENTRY)), { ok: true, value: ENTRY });
  assert.deepEqual(decodeConfChange(encodeConfChange(CHANGE)), { ok: true, value: CHANGE });
  assert.deepEqual(decodeConfState(encodeConfState(CONF)), { ok: true, value: CONF });
});

test("version 1 is read and written for ever as it was committed", () => {
  if (process.env["BLIXARD_WRITE_GOLDEN"] === "1") {
    writeFileSync(GOLDEN, `${JSON.stringify(encodings(), undefined, 2)}\n`);
  }
  // Safe: the file is written by the line above.
  const golden = JSON.parse(readFileSync(GOLDEN, "utf8")) as Record<string, string>;
  assert.deepEqual(encodings(), golden);
  const bytes = (name: string): Uint8Array => present(fromHex(golden[name] ?? "x"), name);
  for (const [name, message] of Object.entries(MESSAGES)) {
    assert.deepEqual(decodeMessage(bytes(name)), { ok: true, value: message });
  }
  assert.deepEqual(decodeEntry(bytes("entry")), { ok: true, value: ENTRY });
  assert.deepEqual(decodeConfChange(bytes("confChange")), { ok: true, value: CHANGE });
  assert.deepEqual(decodeConfState(bytes("confState")), { ok: true, value: CONF });
  assert.deepEqual(decodeAnyChange(bytes("confChange")), { ok: true, value: CHANGE });
  assert.deepEqual(decodeAnyChange(bytes("jointChange")), { ok: true, value: JOINT });
  assert.deepEqual(decodeAnyChange(bytes("leave")), { ok: true, value: LEAVE });
});

function reason(result: { ok: boolean; error?: string }): string {
  return result.ok ? "accepted" : (result.error ?? "");
}

/** The encoding with byte `at` set to `value`. */
function patched(bytes: Uint8Array, at: number, value: number): Uint8Array {
  const copy = bytes.slice();
  copy[at] = value;
  return copy;
}

test("each field is checked", () => {
  const append = encodeMessage(present(MESSAGES["append"], "append")).slice();
  assert.match(reason(decodeMessage(patched(append, 0, 2))), /message version 2, expected 1/);
  assert.match(reason(decodeMessage(patched(append, 1, 14))), /message kind 14/);
  assert.match(reason(decodeMessage(patched(append, 2, 0))), /member id 0/);
  assert.match(reason(decodeMessage(patched(append, 17, 0xff))), /2\^53/);
  assert.match(reason(decodeMessage(patched(append, 42, 0xff))), /entries/);
  assert.match(reason(decodeMessage(append.subarray(0, append.length - 1))), /needed/);
  assert.match(reason(decodeMessage(new Uint8Array([...append, 0]))), /left over/);
  const far = { ...MESSAGES["append"], prevIndex: index(Number.MAX_SAFE_INTEGER) } as Message;
  assert.match(reason(decodeMessage(encodeMessage(far))), /2\^53/);
  const vote = encodeMessage(present(MESSAGES["vote"], "vote")).slice();
  assert.match(reason(decodeMessage(patched(vote, vote.length - 1, 2))), /flag 2/);
  const bytes = encodeEntry(ENTRY).slice();
  assert.match(reason(decodeEntry(patched(bytes, 0, 9))), /entry version/);
  assert.match(reason(decodeEntry(patched(bytes, 1, 0))), /index 0/);
  assert.match(reason(decodeEntry(patched(bytes, 17, 3))), /entry kind 3/);
  const change = encodeConfChange({ ...CHANGE, context: new Uint8Array(MAX_CONTEXT_BYTES + 1) });
  assert.match(reason(decodeConfChange(change)), /too large/);
  assert.match(reason(decodeConfChange(patched(change, 1, 4))), /op 4/);
  const joint = encodeAnyChange(JOINT).slice();
  assert.match(reason(decodeConfChange(joint)), /version 2, expected 1/);
  assert.match(reason(decodeAnyChange(patched(joint, 1, 3))), /transition 3/);
  assert.match(reason(decodeAnyChange(patched(joint, 4, 1))), /changes/);
  assert.match(reason(decodeAnyChange(joint.subarray(0, 9))), /needed/);
  const forwarded = encodeMessage(present(MESSAGES["propose"], "propose")).slice();
  assert.match(reason(decodeMessage(patched(forwarded, 20, 0xff))), /proposals/);
  assert.match(reason(decodeMessage(patched(forwarded, 22, 2))), /proposal kind 2/);
  const conf = encodeConfState(votersOf(1)).slice();
  assert.match(reason(decodeConfState(patched(conf, 2, 0xff))), /65281 members/);
});

test("random bytes and mutated encodings never throw, and what decodes encodes to the same", () => {
  const random = new Prng(20250101);
  const samples = Object.values(MESSAGES).map((message) => encodeMessage(message).slice());
  let accepted = 0;
  for (let i = 0; i < 20_000; i++) {
    let bytes: Uint8Array;
    if (i % 4 === 0) {
      bytes = Uint8Array.from({ length: random.below(80) }, () => random.below(256));
      bytes[0] = 1;
    } else {
      bytes = present(samples[i % samples.length], "a sample").slice(
        0,
        i % 3 === 0 ? undefined : 200,
      );
      for (let n = random.between(1, 3); n > 0; n--) {
        bytes[random.below(bytes.length)] = random.below(256);
      }
      if (random.chance(0.1)) bytes = bytes.slice(0, random.below(bytes.length));
    }
    const decoded = decodeMessage(bytes);
    decodeEntry(bytes);
    decodeConfChange(bytes);
    decodeConfState(bytes);
    const change = decodeAnyChange(patched(bytes, 0, i % 2 === 0 ? 2 : 1));
    if (change.ok) assert.ok(decodeAnyChange(encodeAnyChange(change.value)).ok);
    if (!decoded.ok) continue;
    accepted++;
    assert.equal(toHex(encodeMessage(decoded.value)), toHex(bytes));
  }
  assert.ok(accepted > 1000, `only ${accepted} of the mutants were valid`);
});
