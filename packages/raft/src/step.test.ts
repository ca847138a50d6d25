/** Malformed messages, restored states, views. */

import assert from "node:assert/strict";
import test from "node:test";
import {
  advance,
  bootstrap,
  canonicalHash,
  cloneState,
  createRaft,
  joiner,
  ready,
  status,
  step,
  type Message,
  type Restored,
} from "./index.ts";
import { Cluster, peer, TEST_CONFIG, votersOf } from "./testing/cluster.ts";
import { entry, index, Solo, term, type Body } from "./testing/solo.ts";

test("bad messages are refused with a reason and change nothing", () => {
  const append = (patch: object): Body => ({
    kind: "append",
    prevIndex: index(1),
    prevTerm: term(1),
    entries: [],
    commit: index(1),
    ...patch,
  });
  const meta = { index: index(5), term: term(3), conf: votersOf(1, 2) };
  const snapshot = (patch: object): Body => ({ kind: "snapshot", meta: { ...meta, ...patch } });
  const bad: Body[] = [
    append({ prevIndex: -1 }),
    append({ prevTerm: 9 }),
    append({ entries: [entry(3, 3)] }),
    append({ entries: [entry(2, 4)] }),
    append({ entries: [entry(2, 3), entry(3, 2)] }),
    append({ prevIndex: Number.MAX_SAFE_INTEGER, entries: [entry(2 ** 53, 3)] }),
    snapshot({ index: 0 }),
    snapshot({ term: 4 }),
    snapshot({ conf: votersOf() }),
    snapshot({ conf: votersOf(2, 1) }),
    snapshot({ conf: { ...votersOf(1), learners: [1] } }),
    snapshot({ conf: { ...votersOf(1), votersOutgoing: [2, 1] } }),
    snapshot({ conf: { ...votersOf(1), votersOutgoing: [2], learners: [2] } }),
    snapshot({ conf: { ...votersOf(1), learnersNext: [2] } }),
    snapshot({ conf: { ...votersOf(1, 2), votersOutgoing: [1, 2], learnersNext: [2] } }),
    snapshot({ conf: { ...votersOf(1), autoLeave: true } }),
    { kind: "vote", lastIndex: index(1), lastTerm: term(3), force: false },
    { kind: "preVote", lastIndex: index(-1), lastTerm: term(1), force: false },
    { kind: "heartbeat", commit: index(-1), readRound: 0, repaired: 0 },
    { kind: "heartbeat", commit: index(99), readRound: 0, repaired: 0 },
    {
      kind: "appendReply",
      rejected: false,
      index: index(0.5),
      hintIndex: index(0),
      hintTerm: term(0),
      repair: 0,
    },
  ];
  for (const body of bad) {
    const solo = new Solo({ term: 3 });
    const failed = solo.from(2, 3, body);
    assert.equal(failed?.code, "InvalidMessage", JSON.stringify(body));
    assert.deepEqual([solo.state.commit, solo.state.log.entries.length], [1, 0]);
  }
});

test("messages for others, from nobody, from ourselves or of no term are refused", () => {
  const solo = new Solo();
  const good = { kind: "timeoutNow", to: peer(1), from: peer(2), term: term(1) } as const;
  const patches: Partial<Message>[] = [
    { to: peer(2) },
    { from: peer(1) },
    { from: peer(0) },
    { term: term(-1) },
    { term: term(Number.NaN) },
  ];
  for (const patch of patches) {
    // Safe: the patch replaces values by others of the same type.
    const message = { ...good, ...patch } as Message;
    assert.equal(step(solo.state, { kind: "message", message })?.code, "InvalidMessage");
  }
  assert.equal(solo.state.role, "follower");
});

test("a second leader of the same term is refused", () => {
  const leader = new Solo().lead();
  assert.equal(leader.append(2, 2, [1, 1], [])?.code, "InvalidMessage");
  const follower = new Solo();
  follower.append(2, 1, [1, 1], []);
  assert.equal(follower.append(3, 1, [1, 1], [])?.code, "InvalidMessage");
});

test("what is restored must be well formed", () => {
  const config = { ...TEST_CONFIG, id: peer(1) };
  const random = { u32: () => 1 };
  const start = (patch: Partial<Restored>, c = config) =>
    createRaft(c, { ...bootstrap(votersOf(1)), ...patch }, random);
  const noConf = { ...joiner().snapshot, conf: votersOf(1) };
  assert.throws(() => start({ snapshot: noConf }), /snapshot of index 1/);
  assert.throws(() => start({ entries: [entry(3, 1)] }), /follows 1/);
  assert.throws(() => start({ entries: [entry(2, 0)] }), /never decrease/);
  assert.throws(() => start({ entries: [entry(2, 2)] }), /last entry/);
  assert.throws(() => start({ hardState: joiner().hardState }), /snapshot's/);
  assert.throws(() => start({}, { ...config, id: peer(0) }), /positive/);
  assert.throws(() => start({}, { ...config, heartbeatTicks: 0 }), /heartbeatTicks/);
  assert.throws(() => start({}, { ...config, electionTicks: 2 }), /slower/);
  assert.throws(() => start({}, { ...config, maxInflight: 0 }), /maxInflight/);
  const hint = { ...bootstrap(votersOf(1)).hardState, commit: index(50) };
  assert.equal(start({ hardState: hint, entries: [entry(2, 1)] }).commit, 2);
});

test("the driver's reports are checked", () => {
  const solo = new Solo({ log: [1, 1], commit: 3 }).drain();
  const { state } = solo;
  assert.throws(() => advance(state, { kind: "persisted", seq: 1 }), /never handed out/);
  assert.throws(() => advance(state, { kind: "applied", index: index(4) }), /never handed out/);
  const meta = { index: index(3), term: term(1), conf: votersOf(1, 2, 3) };
  assert.throws(() => advance(state, { kind: "compacted", meta }), /not applied/);
  advance(state, { kind: "applied", index: index(3) });
  const other = { ...meta, term: term(2) };
  assert.throws(() => advance(state, { kind: "compacted", meta: other }), /term/);
  advance(state, { kind: "compacted", meta });
  assert.equal(state.snapshot.index, 3);
});

test("a config entry must be applied before the applied index passes it", () => {
  const solo = new Solo({ term: 2 });
  solo.append(2, 2, [1, 1], [entry(2, 2, "config")], 2);
  solo.sync().sync();
  assert.throws(() => advance(solo.state, { kind: "applied", index: index(2) }), /comes before/);
});

test("status, clone and hash", () => {
  const cluster = new Cluster({ voters: 3 });
  cluster.elect(1);
  cluster.propose("x");
  const { state } = cluster.lead();
  const copy = cloneState(state);
  assert.deepEqual(copy, state);
  assert.deepEqual(structuredClone(state), state, "plain data");
  assert.equal(canonicalHash(copy), canonicalHash(state));
  // The order in which parts came about does not matter.
  copy.progress = new Map([...copy.progress].reverse());
  assert.equal(canonicalHash(copy), canonicalHash(state));
  step(copy, { kind: "tick" });
  assert.notEqual(canonicalHash(copy), canonicalHash(state));
  assert.equal(state.electionElapsed, copy.electionElapsed - 1);
  cluster.settle();
  const { progress, ...rest } = status(state);
  assert.deepEqual(rest, {
    id: 1,
    role: "leader",
    term: 2,
    leader: 1,
    commit: 3,
    applied: 3,
    lastIndex: 3,
    conf: votersOf(1, 2, 3),
  });
  assert.deepEqual(
    progress.map((p) => [p.peer, p.match, p.next, p.state]),
    [1, 2, 3].map((id) => [id, 3, 4, "replicate"]),
  );
  assert.equal(ready(state), undefined);
});
