/** Whether news of a commit wait, for what, and for how long. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { as } from "@blixard/std";
import type { LogIndex, PeerId, Term } from "@blixard/std";
import type { Entry, MessageOf } from "@blixard/raft";

import { CommitNotes } from "./commit-notes.ts";

const PEER = as<PeerId>(2);

function append(commit: number, count = 0): MessageOf<"append"> {
  const term = as<Term>(1);
  const zero = as<LogIndex>(0);
  const entry: Entry = { term, index: as<LogIndex>(1), kind: "noop", data: new Uint8Array(0) };
  const entries = Array.from({ length: count }, () => entry);
  const head = { kind: "append", to: PEER, from: as<PeerId>(1), term } as const;
  return { ...head, prevIndex: zero, prevTerm: term, entries, commit: as<LogIndex>(commit) };
}

function world() {
  const sent: number[] = [];
  const timers: (() => void)[] = [];
  const notes = new CommitNotes(
    (message) => void sent.push(message.kind === "append" ? message.commit : -1),
    (run) => void timers.push(run),
  );
  const pass = (): void => {
    for (const run of timers.splice(0)) run();
  };
  return { notes, sent, timers, pass };
}

test("a note goes once it has waited, the latest of them", () => {
  const { notes, sent, timers, pass } = world();
  assert.equal(notes.hold(append(5)), true);
  assert.equal(notes.hold(append(6)), true);
  assert.equal(timers.length, 1, "one timer for all");
  pass();
  assert.deepEqual(sent, []);
  pass();
  assert.deepEqual(sent, [6]);
  assert.equal(timers.length, 0, "nothing waits, nothing runs");
});

test("an append takes the news along, and a later note waits anew", () => {
  const { notes, sent, pass } = world();
  for (let commit = 1; commit < 20; commit++) {
    notes.hold(append(commit));
    assert.equal(notes.hold(append(commit, 1)), false);
    notes.hold(append(commit));
    pass();
    assert.equal(notes.hold(append(commit, 1)), false);
  }
  pass();
  assert.deepEqual(sent, []);
});

test("whoever forwarded something is told at once", () => {
  const { notes, sent } = world();
  notes.hold(append(3));
  notes.onForward(PEER);
  assert.deepEqual(sent, [3]);
  assert.equal(notes.hold(append(4)), false);
});
