import assert from "node:assert/strict";
import { test } from "node:test";
import { bootstrap, createRaft, emptyConf, type Entry, type RaftState } from "@blixard/raft";
import { as, type LogIndex, type PeerId, Prng, type Term } from "@blixard/std";
import { newHost, Violation, World } from "../world/world.ts";
import { RaftChecker } from "./raft-checker.ts";

const VOTERS = [1, 2, 3].map((id) => as<PeerId>(id));
const DAMAGE = { nonce: 7, phase: "waiting" } as const;
const index = (value: number): LogIndex => as<LogIndex>(value);

interface What {
  /** Terms of the entries behind the founding snapshot at 1. */
  readonly terms: readonly number[];
  readonly term: number;
  readonly vote?: number;
  readonly durable?: number;
  readonly commit?: number;
}

/** Member 1, with all of its hard state written. */
function member({ terms, term, vote = 0, durable, commit = 1 }: What): RaftState {
  const config = {
    id: as<PeerId>(1),
    electionTicks: 10,
    heartbeatTicks: 2,
    maxAppendBytes: 100,
    maxInflight: 4,
    maxUncommittedBytes: 1000,
    maxApplyBytes: 1000,
  };
  const state = createRaft(config, bootstrap({ ...emptyConf(), voters: VOTERS }), new Prng(1));
  state.log.entries = terms.map((one, at): Entry => {
    const data = new Uint8Array(1);
    return { index: index(at + 2), term: as<Term>(one), kind: "command", data };
  });
  state.term = as<Term>(term);
  state.vote = vote === 0 ? 0 : as<PeerId>(vote);
  state.commit = index(commit);
  state.io.handedHard = { term: state.term, vote: state.vote, commit: state.commit };
  state.io.durableIndex = durable ?? terms.length + 1;
  return state;
}

/** What is shown of the member one life after the other; what a checker finds, or nothing. */
function found(...lives: readonly (readonly RaftState[])[]): string {
  const checker = new RaftChecker(new World(1));
  const host = newHost(1);
  try {
    for (const life of lives) {
      host.incarnation++;
      for (const state of life) checker.observe(host, 1, state);
    }
  } catch (caught) {
    if (caught instanceof Violation) return caught.invariant;
    throw caught;
  }
  return "";
}

const damaged = (what: What): RaftState => Object.assign(member(what), { damage: DAMAGE });

test("a damaged member that comes back with another vote, or in an earlier term, is found", () => {
  const before = member({ terms: [1, 2], term: 4, vote: 2 });
  assert.equal(found([before], [damaged({ terms: [], term: 4, vote: 2 })]), "");
  assert.equal(found([before], [damaged({ terms: [], term: 5 })]), "");
  const invariant = "damaged members keep their vote";
  assert.equal(found([before], [damaged({ terms: [], term: 4, vote: 3 })]), invariant);
  assert.equal(found([before], [damaged({ terms: [], term: 4 })]), invariant);
  assert.equal(found([before], [damaged({ terms: [], term: 3, vote: 2 })]), invariant);
});

test("a member that counts as whole without what it had acknowledged is found", () => {
  const before = member({ terms: [1, 2, 2], term: 2, commit: 3 });
  const lost = damaged({ terms: [], term: 2 });
  const back = (durable: number) => member({ terms: [1, 2, 2], term: 2, durable });
  assert.equal(found([before], [lost, back(4)]), "");
  // What was never committed may have gone for good.
  assert.equal(found([before], [lost, back(3)]), "");
  assert.equal(found([before], [lost, back(2)]), "repaired members are whole");
  // A restart in between changes nothing, nor may it make the member forget that it is damaged.
  assert.equal(found([before], [lost], [back(4)]), "");
  assert.equal(found([before], [lost], [back(2)]), "repaired members are whole");
  assert.equal(found([before], [lost], [lost, back(2)]), "repaired members are whole");
});

test("a durable commit beyond the log is found", () => {
  const before = member({ terms: [1], term: 1, commit: 2 });
  const ahead = member({ terms: [1], term: 1, commit: 2 });
  assert.equal(found([before], [ahead]), "");
  ahead.io.handedHard = { ...ahead.io.handedHard, commit: index(3) };
  assert.equal(found([before], [ahead]), "durable commits name durable entries");
});

test("a snapshot without the membership that came with it is found", () => {
  const state = member({ terms: [], term: 1 });
  assert.equal(found([state]), "");
  const conf = { ...emptyConf(), voters: VOTERS.slice(1) };
  const snapshot = { index: index(5), term: as<Term>(1), conf };
  const log = { offset: index(5), offsetTerm: as<Term>(1), entries: [] };
  const at = { snapshot, log, commit: index(5), applied: index(5), handedApply: index(5) };
  const io = { ...state.io, durableIndex: 5 };
  assert.equal(found([{ ...state, ...at, conf, io }]), "");
  assert.equal(found([{ ...state, ...at, io }]), "snapshots bring their membership");
});
