import assert from "node:assert/strict";
import { test } from "node:test";
import { bootstrap, type ConfState, createRaft, emptyConf, type RaftState } from "@blixard/raft";
import { as, type LogIndex, type PeerId, Prng, type Term } from "@blixard/std";
import { Violation, World } from "../world/world.ts";
import { Features } from "./features.ts";
import { Promises } from "./promises.ts";

const peers = (...ids: number[]): PeerId[] => ids.map((id) => as<PeerId>(id));
const index = (value: number): LogIndex => as<LogIndex>(value);
const THREE: ConfState = { ...emptyConf(), voters: peers(1, 2, 3) };
const JOINT: ConfState = { ...THREE, votersOutgoing: peers(1, 4, 5) };

function member(id: number, over: Partial<RaftState> = {}, conf = THREE): RaftState {
  const config = {
    id: as<PeerId>(id),
    electionTicks: 10,
    heartbeatTicks: 2,
    maxAppendBytes: 100,
    maxInflight: 2,
    maxUncommittedBytes: 1000,
    maxApplyBytes: 1000,
    reads: "lease",
  } as const;
  const state = createRaft(config, bootstrap(conf), new Prng(id));
  return Object.assign(state, over);
}

/** Votes of these members for member 1 in term 2, and what they wrote, as seen by `promises`. */
function setup(voters: readonly number[]) {
  const promises = new Promises(() => 0);
  for (const id of voters) {
    const hard = { term: as<Term>(2), vote: as<PeerId>(1), commit: index(1) };
    const state = member(id, { term: hard.term, vote: hard.vote });
    state.io.handedHard = hard;
    promises.observe(id, 0, state);
  }
  const features = new Features(new World(1), promises);
  return { features, observe: (state: RaftState) => features.observe(state.id, 0, state) };
}

const LEADS = { role: "leader", term: as<Term>(2), leader: as<PeerId>(1) } as const;

function leader(over: Partial<RaftState> = {}, conf = THREE): RaftState {
  return member(1, { ...LEADS, ...over }, conf);
}

const finds = (invariant: string) => (thrown: unknown) =>
  thrown instanceof Violation && thrown.invariant === invariant;

test("a leader needs votes that a majority of each half has written", () => {
  setup([1, 2]).observe(leader());
  const name = "leaders are elected by a quorum";
  assert.throws(() => setup([1]).observe(leader()), finds(name));
  setup([1, 2, 4]).observe(leader({}, JOINT));
  assert.throws(() => setup([1, 2, 3]).observe(leader({}, JOINT)), finds(name));
  const demoted = { ...THREE, voters: peers(2, 3), learners: peers(1) };
  assert.throws(() => setup([2, 3]).observe(leader({}, demoted)), finds("learners do not lead"));
});

test("a commit needs copies that a majority of each half has written", () => {
  const name = "commits are held by a quorum";
  for (const [conf, voters] of [
    [THREE, [1, 2]],
    [JOINT, [1, 2, 4]],
  ] as const) {
    const { observe } = setup(voters);
    observe(leader({ commit: index(0) }, conf));
    observe(leader({ commit: index(1) }, conf));
    assert.throws(() => observe(leader({ commit: index(2) }, conf)), finds(name));
  }
});

test("a term is raised with the consent of a majority that has no leader", () => {
  const { observe } = setup([]);
  const asks = { role: "preCandidate", term: as<Term>(2), leader: 0 } as const;
  const campaigns = { role: "candidate", term: as<Term>(3), leader: 0 } as const;
  observe(member(2, { leader: as<PeerId>(3), electionElapsed: 1 }));
  observe(member(3, { leader: as<PeerId>(3), electionElapsed: 1 }));
  observe(member(1, asks));
  const raise =
    (over: Partial<RaftState> = {}) =>
    () =>
      observe(member(1, { ...campaigns, ...over }));
  assert.throws(raise(), finds("campaigns have consent"));
  raise({ forced: true })();
  observe(member(4, asks));
  const raised = member(4, { ...asks, term: as<Term>(3) });
  assert.throws(() => observe(raised), finds("a pre-vote keeps the term"));
});

test("a member without a leader, or that has waited long enough, consents", () => {
  for (const free of [{ leader: 0 as const }, { leader: as<PeerId>(3), electionElapsed: 10 }]) {
    const { observe } = setup([]);
    observe(member(1, { role: "preCandidate", term: as<Term>(2) }));
    observe(member(2, free));
    observe(member(1, { role: "candidate", term: as<Term>(3) }));
  }
});

/** A leader whose member 2 has `inflight` appends under way. */
function sending(inflight: number, over: Partial<RaftState> = {}): RaftState {
  const state = leader(over);
  const zero = index(0);
  state.progress.set(as<PeerId>(2), {
    peer: as<PeerId>(2),
    match: index(1),
    next: index(2),
    state: "replicate",
    active: true,
    paused: false,
    nudge: false,
    inflight: Array.from({ length: inflight }, (_, at) => at + 2),
    inflightSizes: [],
    inflightBytes: 0,
    pendingSnapshot: zero,
    commitSent: zero,
    ackedRound: 0,
    repair: 0,
    repairTarget: zero,
  });
  return state;
}

test("windows are kept, and what is committed is released", () => {
  const { features, observe } = setup([1, 2]);
  observe(sending(2));
  assert.equal(features.counts.fullWindows, 1);
  assert.throws(() => observe(sending(3)), finds("windows are kept"));
  const leaking = sending(0, { uncommittedBytes: 7 });
  assert.throws(() => observe(leaking), finds("what is committed is released"));
});

test("who hands over waits for the whole log, and takes nothing meanwhile", () => {
  const command = { term: LEADS.term, index: index(2), kind: "command", data: new Uint8Array(0) };
  const handing = (lost: boolean, count: number): RaftState => {
    const state = sending(0, { transferee: as<PeerId>(2) });
    state.reads.leaseLost = lost;
    // Safe: the kind is one of an entry's.
    if (count > 0) state.log.entries.push(command as RaftState["log"]["entries"][number]);
    return state;
  };
  const { observe } = setup([1, 2]);
  observe(sending(0));
  observe(handing(true, 0));
  assert.throws(() => observe(handing(true, 1)), finds("who hands over takes nothing"));
  const late = setup([1, 2]);
  late.observe(sending(0));
  const early = finds("a transfer waits for the whole log");
  assert.throws(() => late.observe(handing(true, 1)), early);
});

test("a lease begins when a round was sent that a majority has confirmed", () => {
  const at = (round: number, tick: number, acked: number, leaseFrom: number): RaftState => {
    const state = sending(0);
    Object.assign(state.reads, { round, tick, leaseFrom });
    const progress = state.progress.get(as<PeerId>(2));
    assert(progress !== undefined);
    progress.ackedRound = acked;
    return state;
  };
  const { observe } = setup([1, 2]);
  observe(at(0, 0, 0, -1));
  observe(at(1, 3, 0, -1));
  observe(at(2, 5, 1, 3));
  assert.throws(() => observe(at(2, 6, 1, 5)), finds("leases begin with their round"));
  observe(at(2, 6, 2, 5));
});

test("a leader steps down when it hears from no majority", () => {
  const { features, observe } = setup([1, 2]);
  observe(sending(0));
  const tick = (): void => features.ticked(1, 0);
  for (let n = 0; n < 39; n++) tick();
  features.heard(1, 2);
  for (let n = 0; n < 40; n++) tick();
  assert.throws(tick, finds("leaders hear from a quorum"));
  // The next life has not been seen yet.
  features.ticked(1, 1);
});

test("a read is answered by a round that begins after it", () => {
  const asked = (round: number, of: number): RaftState => {
    const state = sending(0);
    state.reads.round = round;
    state.reads.pending = [{ context: 5, round: of, index: index(1), from: 0 }];
    return state;
  };
  const { observe } = setup([1, 2]);
  observe(asked(3, 0));
  observe(asked(4, 4));
  observe(asked(5, 4));
  const late = setup([1, 2]);
  late.observe(asked(3, 0));
  assert.throws(() => late.observe(asked(4, 3)), finds("reads begin a round"));
});
