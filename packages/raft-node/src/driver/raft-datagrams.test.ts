/** An append for several followers is encoded once, and only then. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { as, utf8 } from "@blixard/std";
import type { LogIndex, PeerId, Term } from "@blixard/std";
import { decodeMessage, encodeMessage } from "@blixard/raft";
import type { Entry, Message, MessageOf } from "@blixard/raft";

import { decodeEnvelope, encodeEnvelope } from "./envelope.ts";
import { RaftDatagrams } from "./raft-datagrams.ts";

const term = as<Term>(3);

function entry(index: number, text: string): Entry {
  return { term, index: as<LogIndex>(index), kind: "command", data: utf8(text) };
}

function append(to: number, entries: readonly Entry[], commit = 4): MessageOf<"append"> {
  const head = { kind: "append", to: as<PeerId>(to), from: as<PeerId>(1), term } as const;
  const at = { prevIndex: as<LogIndex>(4), prevTerm: term, commit: as<LogIndex>(commit) };
  return { ...head, ...at, entries };
}

function sent(datagrams: RaftDatagrams, message: Message): Uint8Array {
  const bytes = datagrams.encode(message).slice();
  assert.deepEqual(bytes, encodeEnvelope({ kind: "raft", message: encodeMessage(message) }));
  const envelope = decodeEnvelope(bytes);
  assert.ok(envelope.ok && envelope.value.kind === "raft");
  assert.deepEqual(decodeMessage(envelope.value.message), { ok: true, value: message });
  return bytes;
}

test("each receiver gets what an encoding of its own would be", () => {
  const datagrams = new RaftDatagrams();
  const entries = [entry(5, "five"), entry(6, "six")];
  sent(datagrams, append(2, entries));
  sent(datagrams, append(3, [...entries]));
  sent(datagrams, append(2, entries, 5));
  sent(datagrams, append(3, [entry(5, "other"), entry(6, "entries")], 5));
  sent(datagrams, append(3, [entries[0] ?? entry(0, "")], 5));
  sent(datagrams, append(2, []));
  sent(datagrams, { kind: "timeoutNow", to: as<PeerId>(2), from: as<PeerId>(1), term });
});

test("the same append for another is not encoded again", () => {
  const datagrams = new RaftDatagrams();
  const entries = [entry(5, "five"), entry(6, "six")];
  const first = datagrams.encode(append(2, entries));
  const second = datagrams.encode(append(3, [...entries]));
  assert.equal(second, first);
});
