import assert from "node:assert/strict";
import { test } from "node:test";
import { bootstrap, createRaft, emptyConf, type Entry, type RaftState } from "@blixard/raft";
import { as, type LogIndex, type PeerId, Prng, type Term } from "@blixard/std";
import { newHost, Violation, World } from "../world/world.ts";
import { RaftChecker } from "./raft-checker.ts";

const peers = (...ids: number[]): PeerId[] => ids.map((id) => as<PeerId>(id));
const conf = (...voters: number[]) => ({ ...emptyConf(), voters: peers(...voters) });

function entry(index: number, term: number, byte = 0): Entry {
  const data = Uint8Array.of(byte);
  return { index: as<LogIndex>(index), term: as<Term>(term), kind: "command", data };
}

/** A member whose log holds entries of these terms behind the founding snapshot. */
function member(id: number, terms: readonly number[], over: Partial<RaftState> = {}): RaftState {
  const config = {
    id: as<PeerId>(id),
    electionTicks: 10,
    heartbeatTicks: 2,
    maxAppendBytes: 100,
    maxInflight: 4,
    maxUncommittedBytes: 1000,
    maxApplyBytes: 1000,
  };
  const state = createRaft(config, bootstrap(conf(1, 2, 3)), new Prng(id));
  state.log.entries = terms.map((term, at) => entry(at + 2, term));
  const term = as<Term>(Math.max(1, ...terms));
  return Object.assign(state, { term }, over);
}

function setup() {
  const checker = new RaftChecker(new World(1));
  const observe = (state: RaftState, incarnation = 0): void => {
    const host = { ...newHost(state.id), incarnation };
    checker.observe(host, state.id, state);
  };
  return { checker, observe, host: newHost(1) };
}

const finds = (invariant: string) => (thrown: unknown) =>
  thrown instanceof Violation && thrown.invariant === invariant;
const index = (value: number): LogIndex => as<LogIndex>(value);

test("two leaders in one term are found, one leader twice is fine", () => {
  const { observe } = setup();
  const lead = { role: "leader", term: as<Term>(3) } as const;
  observe(member(1, [], lead));
  observe(member(1, [], lead));
  observe(member(2, [], { ...lead, term: as<Term>(4) }));
  assert.throws(() => observe(member(3, [], lead)), finds("one leader a term"));
});

test("term, commit and applied never go back within a life", () => {
  const { observe } = setup();
  const at = (term: number, commit: number, applied: number, durable = 4) => {
    const over = { term: as<Term>(term), commit: index(commit), applied: index(applied) };
    const state = member(1, [1, 1, 1], over);
    state.io.durableIndex = durable;
    return state;
  };
  observe(at(3, 3, 3));
  assert.throws(() => observe(at(2, 3, 3)), finds("monotonic"));
  assert.throws(() => observe(at(3, 2, 2)), finds("monotonic"));
  assert.throws(() => observe(at(3, 3, 2)), finds("monotonic"));
  assert.throws(() => observe(at(3, 3, 4)), finds("applied is committed"));
  assert.throws(() => observe(at(3, 9, 3)), finds("committed is held"));
  assert.throws(() => observe(at(3, 3, 3, 2)), finds("applied is durable here"));
  observe(at(3, 2, 2), 1);
});

test("logs that agree at an index and term agree before it", () => {
  const { observe } = setup();
  observe(member(1, [1, 2, 3]));
  observe(member(2, [1, 2, 3]));
  assert.throws(() => observe(member(3, [1, 1, 3])), finds("log matching"));
  const other = member(3, [1]);
  other.log.entries = [entry(2, 1, 9)];
  assert.throws(() => observe(other), finds("log matching"));
});

test("a new leader without a committed or acknowledged entry is found", () => {
  const { checker, observe, host } = setup();
  observe(member(1, [1, 2], { commit: index(3) }));
  const lead = { role: "leader", term: as<Term>(5) } as const;
  assert.throws(() => observe(member(2, [1, 3], lead)), finds("leader completeness"));
  checker.applied(host, entry(9, 2));
  checker.acknowledged(9);
  const next = { ...lead, term: as<Term>(6) };
  assert.throws(() => observe(member(3, [1, 2], next)), finds("acknowledged is durable"));
});

test("different bytes, terms, commits or states at one index are found", () => {
  const { checker, observe, host } = setup();
  checker.applied(host, entry(1, 1, 7));
  checker.applied(newHost(2), entry(1, 1, 7));
  const safety = finds("state machine safety");
  assert.throws(() => checker.applied(newHost(2), entry(1, 1, 8)), safety);
  assert.throws(() => checker.applied(newHost(2), entry(1, 2, 7)), safety);
  observe(member(1, [1, 2], { commit: index(3) }));
  assert.throws(() => observe(member(2, [1, 3], { commit: index(3) })), safety);
  assert.throws(() => checker.applied(host, entry(3, 3)), safety);
  checker.state(host, 1, 5);
  assert.throws(() => checker.state(newHost(2), 1, 6), finds("equal state at equal index"));
  assert.throws(() => checker.acknowledged(77), finds("acknowledged is durable"));
});

test("a second vote in a term is found, also after a restart", () => {
  const { observe } = setup();
  const vote = (for_: number) => ({ term: as<Term>(4), vote: as<PeerId>(for_) });
  observe(member(1, [], vote(2)));
  observe(member(1, [], vote(2)), 1);
  assert.throws(() => observe(member(1, [], vote(3)), 2), finds("one vote a term"));
  const early = member(2, [], vote(3));
  early.io.hardSeq = 5;
  observe(early);
  observe(member(2, [], vote(2)), 1);
});

test("configurations change so that their quorums meet", () => {
  const { checker } = setup();
  checker.configured(1, undefined, conf(1, 2, 3));
  checker.configured(1, conf(1, 2, 3), conf(1, 2, 3, 4));
  checker.configured(1, conf(1, 2, 3), conf(1, 2));
  const joint = { ...conf(4, 5, 6), votersOutgoing: peers(1, 2, 3) };
  checker.configured(1, conf(1, 2, 3), joint);
  checker.configured(1, joint, conf(4, 5, 6));
  const leap = () => checker.configured(1, conf(1, 2, 3), conf(3, 4, 5));
  assert.throws(leap, finds("membership safety"));
});

test("a leader commits by counting entries of its own term only", () => {
  const { observe } = setup();
  const lead = { role: "leader", term: as<Term>(4) } as const;
  observe(member(1, [1, 2, 4], lead));
  observe(member(1, [1, 2, 4], { ...lead, commit: index(4) }));
  const { observe: again } = setup();
  const early = member(1, [1, 2, 4], { ...lead, commit: index(3) });
  assert.throws(() => again(early), finds("leaders commit their own term"));
});

test("a leader that has not written its vote, or proposes members too early, is found", () => {
  const { observe } = setup();
  const lead = { role: "leader", term: as<Term>(4) } as const;
  const unwritten = member(1, [], lead);
  unwritten.io.hardSeq = 3;
  assert.throws(() => observe(unwritten), finds("a leader's vote is durable"));
  const change: Entry = { ...entry(4, 4), kind: "config" };
  const late = member(2, [1, 4], { ...lead, commit: index(3) });
  late.log.entries.push(change);
  setup().observe(late);
  const { observe: again } = setup();
  const early = member(2, [1, 4], { ...lead, commit: index(2) });
  early.log.entries.push(change);
  assert.throws(() => again(early), finds("membership waits for its term"));
});

test("votes and acknowledgements that are counted must be durable", () => {
  const term = as<Term>(4);
  const { observe } = setup();
  observe(member(2, [1, 1, 4], { term }));
  const lead = member(1, [1, 1, 4], { role: "leader", term });
  const progress = (match: number) => ({ peer: as<PeerId>(2), match: index(match) });
  // Safe: the checker looks at nothing else of a member's progress.
  const at = (match: number) => new Map([[2, progress(match)]]) as unknown as RaftState["progress"];
  lead.progress = at(1);
  observe(lead);
  lead.progress = at(3);
  assert.throws(() => observe(lead), finds("acknowledgements are durable"));
  const { observe: again } = setup();
  again(member(3, [], { term: as<Term>(3) }));
  const candidate = member(1, [], { role: "candidate", term });
  candidate.votes = new Map([[as<PeerId>(3), true]]);
  assert.throws(() => again(candidate), finds("votes are durable"));
});

test("a member that comes back without what was durable, and does not know it, is found", () => {
  const whole = member(1, [1, 1, 2], { term: as<Term>(2), vote: as<PeerId>(2) });
  const durable = { ...whole.io, durableIndex: 4 };
  const before = {
    ...whole,
    io: { ...durable, handedHard: { ...whole.io.handedHard, term: whole.term, vote: whole.vote } },
  };
  const { observe } = setup();
  observe(before);
  observe({ ...before });
  const { observe: shorter } = setup();
  shorter(before);
  const cut = member(1, [1, 1], { term: as<Term>(2), vote: as<PeerId>(2) });
  assert.throws(() => shorter(cut, 1), finds("losses are noticed"));
  const { observe: forgetful } = setup();
  forgetful(before);
  const other = { ...before, vote: as<PeerId>(3) };
  assert.throws(() => forgetful(other, 1), finds("losses are noticed"));
  const { observe: damaged } = setup();
  damaged(before);
  damaged(Object.assign(cut, { damage: { nonce: 7, phase: "waiting" } as const }), 1);
});

test("a vote for a shorter or older log, or of a damaged member, is found", () => {
  const term = as<Term>(4);
  const vote = (votes: readonly number[], terms: readonly number[]) => {
    const { observe } = setup();
    observe(member(3, votes, { term: as<Term>(3) }));
    const voter = member(3, votes, { term, vote: as<PeerId>(1) });
    voter.io.handedHard = { ...voter.io.handedHard, term, vote: as<PeerId>(1) };
    observe(voter);
    const candidate = member(1, terms, { role: "candidate", term });
    candidate.votes = new Map([[as<PeerId>(3), true]]);
    observe(candidate);
  };
  vote([1, 1, 2], [1, 1, 2]);
  vote([1, 1, 2], [1, 3]);
  assert.throws(() => vote([1, 1, 2], [1, 2]), finds("votes go to whole logs"));
  assert.throws(() => vote([1, 3], [1, 1, 2, 2]), finds("votes go to whole logs"));
  const { observe } = setup();
  const damage = { nonce: 7, phase: "waiting" } as const;
  observe(member(2, [], { term, damage }));
  const granted = member(2, [], { term, damage, vote: as<PeerId>(1) });
  assert.throws(() => observe(granted), finds("damaged members do not vote"));
});
