import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import type { PeerId } from "@blixard/std";
import {
  allVoters,
  hasQuorum,
  majority,
  majorityValue,
  quorumValue,
  voteResult,
  type Voters,
  type VoteResult,
} from "./quorum.ts";
import { peer } from "./testing/cluster.ts";

const conf = (voters: readonly number[], outgoing: readonly number[] = []): Voters => ({
  voters: voters.map(peer),
  votersOutgoing: outgoing.map(peer),
});
const votes = (text: string): Map<PeerId, boolean> =>
  new Map(
    text
      .split(" ")
      .filter((each) => each !== "")
      .map((each) => [peer(Number(each.slice(1))), each.startsWith("+")] as const),
  );

test("majorities", () => {
  assert.deepEqual([1, 2, 3, 4, 5].map(majority), [1, 2, 2, 3, 3]);
  assert.equal(majorityValue([7]), 7);
  assert.equal(majorityValue([9, 1]), 1);
  assert.equal(majorityValue([3, 100, 1]), 3);
  assert.equal(majorityValue([4, 9, 7, 1]), 4);
});

test("nobody decides nothing, and an empty half has no objection", () => {
  assert.equal(voteResult(conf([]), new Map()), "lost");
  assert.equal(
    quorumValue(conf([]), () => 7),
    0,
  );
  assert.equal(
    hasQuorum(conf([]), () => true),
    false,
  );
  assert.equal(majorityValue([]), Infinity);
  assert.equal(
    quorumValue(conf([1, 2]), () => 7),
    7,
  );
});

test("votes: won, lost or pending, in both halves", () => {
  const cases: readonly [Voters, string, VoteResult][] = [
    [conf([1, 2, 3]), "+1", "pending"],
    [conf([1, 2, 3]), "+1 +3 +9", "won"],
    [conf([1, 2]), "+1 -2", "lost"],
    [conf([1, 2, 3], [1, 4]), "+1 +2", "pending"],
    [conf([1, 2, 3], [1, 4]), "+1 +2 +4", "won"],
    [conf([1, 2, 3], [1, 4]), "+1 +2 -4", "lost"],
    [conf([1], [2]), "-2", "lost"],
  ];
  for (const [voters, text, result] of cases) {
    assert.equal(voteResult(voters, votes(text)), result, text);
  }
});

test("everybody with a vote is listed once, ascending", () => {
  assert.deepEqual(allVoters(conf([2, 5], [1, 5])), [1, 2, 5]);
  assert.deepEqual(allVoters(conf([2, 5])), [2, 5]);
});

const peers = fc.uniqueArray(fc.integer({ min: 1, max: 7 }), { maxLength: 5 });
const half = peers.map((ids) => ids.sort((a, b) => a - b));

/** Every set of members that holds a majority of each half that has members. */
function quorums({ voters, votersOutgoing }: Voters): ReadonlySet<PeerId>[] {
  const all = allVoters({ voters, votersOutgoing });
  const sets: ReadonlySet<PeerId>[] = [];
  for (let mask = 0; mask < 1 << all.length; mask++) {
    const set = new Set(all.filter((_, i) => (mask & (1 << i)) !== 0));
    const decides = (ids: readonly PeerId[]): boolean =>
      2 * ids.filter((id) => set.has(id)).length > ids.length || ids.length === 0;
    if (decides(voters) && decides(votersOutgoing)) sets.push(set);
  }
  return sets;
}

test("property: joint decisions are those of some quorum, by brute force over all subsets", () => {
  const seed = 5;
  const held = fc.array(fc.nat({ max: 20 }), { minLength: 8, maxLength: 8 });
  const cast = fc.array(fc.constantFrom(true, false, undefined), { minLength: 8, maxLength: 8 });
  fc.assert(
    fc.property(half, half, held, cast, (incoming, outgoing, values, ballots) => {
      fc.pre(incoming.length > 0);
      const voters = conf(incoming, outgoing);
      const all = quorums(voters);
      const valueOf = (id: PeerId): number => values[id] ?? 0;
      const best = Math.max(...all.map((set) => Math.min(...[...set].map(valueOf))));
      assert.equal(quorumValue(voters, valueOf), best);
      const given = new Map<PeerId, boolean>();
      for (const id of allVoters(voters)) {
        const ballot = ballots[id];
        if (ballot !== undefined) given.set(id, ballot);
      }
      const can = (may: (vote: boolean | undefined) => boolean): boolean =>
        all.some((set) => [...set].every((id) => may(given.get(id))));
      const expected = can((vote) => vote === true)
        ? "won"
        : can((vote) => vote !== false)
          ? "pending"
          : "lost";
      assert.equal(voteResult(voters, given), expected);
      assert.equal(
        hasQuorum(voters, (id) => given.get(id) === true),
        expected === "won",
      );
    }),
    { seed, numRuns: 400 },
  );
});

test("property: quorums of a joint configuration overlap those of both of its halves", () => {
  fc.assert(
    fc.property(half, half, (incoming, outgoing) => {
      fc.pre(incoming.length > 0 && outgoing.length > 0);
      for (const joint of quorums(conf(incoming, outgoing))) {
        for (const alone of [...quorums(conf(incoming)), ...quorums(conf(outgoing))]) {
          assert.ok([...alone].some((id) => joint.has(id)));
        }
      }
    }),
    { seed: 6, numRuns: 60 },
  );
});
