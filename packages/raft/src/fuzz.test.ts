/** Whatever decodable message a peer sends, in whatever order: refused or taken, never a throw. */

import assert from "node:assert/strict";
import test from "node:test";
import { present, Prng, type PeerId } from "@blixard/std";
import { advance, decodeMessage, encodeAnyChange, encodeMessage, ready, step } from "./index.ts";
import { applyConfChange, decodeAnyChange } from "./index.ts";
import type { ConfState, Entry, Message, RaftConfig } from "./index.ts";
import { jointChange, peer, votersOf } from "./testing/cluster.ts";
import { entry, index, Solo, term } from "./testing/solo.ts";

const KINDS: readonly Message["kind"][] = [
  "preVote",
  "vote",
  "preVoteReply",
  "voteReply",
  "append",
  "appendReply",
  "heartbeat",
  "heartbeatReply",
  "snapshot",
  "timeoutNow",
  "propose",
  "readIndex",
  "readIndexReply",
  "transferLeader",
];

const CONFS: readonly ConfState[] = [
  votersOf(1, 2, 3),
  { ...votersOf(1, 2), learners: [peer(3)] },
  { ...votersOf(1, 4), votersOutgoing: [1, 2, 3].map(peer), learnersNext: [peer(2)] },
  { ...votersOf(2, 3), autoLeave: true, votersOutgoing: [peer(1), peer(2)] },
];

/** Mostly plausible, sometimes far off. */
function number(random: Prng, near: number): number {
  if (random.chance(0.05)) return random.below(2 ** 31);
  return Math.max(0, near + random.between(-4, 4));
}

function entriesAfter(random: Prng, from: number, nearTerm: number): Entry[] {
  let inTerm = Math.max(1, nearTerm - random.below(3));
  return Array.from({ length: random.below(4) }, (_, i) => {
    inTerm += random.below(2);
    const kind = random.chance(0.2) ? "config" : "command";
    const data = encodeAnyChange(jointChange(random.chance(0.5) ? "v4 l2" : ""));
    return { ...entry(from + 1 + i, inTerm, kind), ...(kind === "config" ? { data } : {}) };
  });
}

function randomMessage(random: Prng, solo: Solo): Message {
  const { state } = solo;
  const last = state.log.offset + state.log.entries.length;
  const at = (): ReturnType<typeof index> => index(number(random, last));
  // Mostly of the current term, or a leader would not lead for long.
  const inTerm = (): ReturnType<typeof term> =>
    term(random.chance(0.8) ? state.term : number(random, state.term));
  const from = peer(random.between(1, 5));
  const ends = { to: peer(1), from, term: inTerm() };
  const kind = present(KINDS[random.below(KINDS.length)], "a kind");
  const prevIndex = at();
  const repair = random.chance(0.1) ? random.below(3) : 0;
  const conf = present(CONFS[random.below(CONFS.length)], "a configuration");
  const all = {
    lastIndex: at(),
    lastTerm: inTerm(),
    force: random.chance(0.3),
    granted: random.chance(0.7),
    prevIndex,
    prevTerm: inTerm(),
    entries: entriesAfter(random, prevIndex, ends.term),
    commit: at(),
    rejected: random.chance(0.4),
    index: at(),
    hintIndex: at(),
    hintTerm: inTerm(),
    repair,
    readRound: random.below(4),
    repaired: repair,
    meta: { index: at(), term: inTerm(), conf },
    proposals: [{ kind: "command" as const, data: new Uint8Array(3) }],
    context: random.below(9),
  };
  // The codec drops the fields that a kind does not have.
  const bytes = encodeMessage({ ...all, ...ends, kind });
  const decoded = decodeMessage(bytes);
  assert.ok(decoded.ok);
  return decoded.value;
}

/** Takes what is ready and reports some of it as done, as a driver would. */
function drive(random: Prng, solo: Solo): void {
  const { state } = solo;
  for (let due = ready(state); due !== undefined; due = ready(state)) {
    if (due.persist !== undefined && random.chance(0.7)) {
      advance(state, { kind: "persisted", seq: due.persist.seq });
    }
    if (due.repaired === true) advance(state, { kind: "repaired" });
    for (const each of due.committed) {
      if (each.index <= state.snapshot.index) continue;
      const change = decodeAnyChange(each.data);
      if (each.kind === "config") applyConfChange(state, change.ok ? change.value : undefined);
      advance(state, { kind: "applied", index: each.index });
    }
  }
}

function client(random: Prng, solo: Solo): void {
  const { state } = solo;
  const to: PeerId = peer(random.between(1, 5));
  const dice = random.below(8);
  if (dice < 3) step(state, { kind: "tick", missed: random.below(2) });
  else if (dice === 3) step(state, { kind: "propose", entries: [new Uint8Array(9)] });
  else if (dice === 4) step(state, { kind: "readIndex", context: 1, lateTicks: random.below(3) });
  else if (dice === 5) step(state, { kind: "campaign" });
  else if (dice === 6) step(state, { kind: "transferLeader", to });
  else step(state, { kind: "snapshotSent", peer: to, ok: random.chance(0.5) });
}

/** Everybody votes for it; whether it then leads depends on its configuration. */
function elect(solo: Solo): void {
  step(solo.state, { kind: "campaign" });
  solo.sync();
  const next = term(solo.state.role === "candidate" ? solo.state.term : solo.state.term + 1);
  for (const kind of ["preVoteReply", "voteReply"] as const) {
    for (let id = 2; id <= 4; id++) solo.from(id, next, { kind, granted: true });
    solo.sync();
  }
}

test("a storm of plausible and absurd messages, in every configuration and with every option", () => {
  let ledSteps = 0;
  let refused = 0;
  for (let seed = 1; seed <= 240; seed++) {
    const random = new Prng(seed);
    const config: Partial<RaftConfig> = {
      forwarding: seed % 2 === 0,
      preVote: seed % 3 !== 0,
      ...(seed % 5 === 0 ? { reads: "lease" } : {}),
      ...(seed % 7 === 0 ? { maxInflightBytes: 60 } : {}),
      trace: seed % 2 === 0,
    };
    const conf = present(CONFS[seed % CONFS.length], "a configuration");
    const damaged = seed % 11 === 0;
    const solo = new Solo({ config, conf, damaged, term: 3, log: [1, 2, 2, 3], commit: 2, seed });
    if (seed % 2 === 1) elect(solo);
    for (let i = 0; i < 120; i++) {
      if (random.chance(0.3)) client(random, solo);
      const message = randomMessage(random, solo);
      const failed = step(solo.state, { kind: "message", message });
      if (failed !== undefined) refused++;
      try {
        drive(random, solo);
      } catch (caught) {
        throw new Error(`seed ${seed}, message ${i}: ${message.kind}`, { cause: caught });
      }
      if (solo.state.role === "leader") ledSteps++;
    }
  }
  assert.ok(ledSteps > 400, `led for ${ledSteps} steps only`);
  assert.ok(refused > 1000, `only ${refused} messages were refused`);
});
