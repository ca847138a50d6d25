/** The set algebra of configuration changes: examples, then properties against a second account. */

import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import type { PeerId } from "@blixard/std";
import {
  enterJoint,
  followChange,
  isJoint,
  leaveJoint,
  membersOf,
  simpleChange,
} from "./changes.ts";
import { changeConf, changeProblem, track } from "./confchange.ts";
import { emptyConf, LEAVE, type ConfChange, type ConfChangeOp, type ConfState } from "./index.ts";
import { newProgress } from "./progress.ts";
import { quorumValue } from "./quorum.ts";
import { jointChange, peer, single, votersOf } from "./testing/cluster.ts";
import { index } from "./testing/solo.ts";
import { confProblem } from "./validate.ts";

const list = (text: string): readonly ConfChange[] => jointChange(text).changes;

test("simple changes: at most one voter, any number of learners", () => {
  const done = simpleChange(votersOf(1, 2), list("l3 l4 v5"));
  assert.deepEqual(done.ok && done.value.conf, { ...votersOf(1, 2, 5), learners: [3, 4] });
  assert.deepEqual(simpleChange(votersOf(1, 2), list("v3 v4")), {
    ok: false,
    error: "more than one voter changed without entering joint config",
  });
  assert.equal(simpleChange(votersOf(1), list("r1")).ok, false);
  const nobody = simpleChange(votersOf(1), [{ op: "addVoter", peer: peer(0) }]);
  assert.deepEqual(nobody.ok && nobody.value.conf, votersOf(1));
});

test("joint: entered once, left once, and only with voters", () => {
  assert.equal(enterJoint(emptyConf(), true, list("v1")).ok, false);
  assert.equal(leaveJoint(votersOf(1)).ok, false);
  const entered = enterJoint(votersOf(1, 2, 3), true, list("l2 v4 r3 r9"));
  assert.ok(entered.ok);
  assert.deepEqual(entered.value.conf, {
    voters: [1, 4],
    votersOutgoing: [1, 2, 3],
    learners: [],
    learnersNext: [2],
    autoLeave: true,
  });
  assert.deepEqual([...entered.value.renewed], [4]);
  assert.equal(enterJoint(entered.value.conf, true, []).ok, false);
  assert.equal(simpleChange(entered.value.conf, list("v5")).ok, false);
  const left = leaveJoint(entered.value.conf);
  assert.deepEqual(left.ok && left.value.conf, { ...votersOf(1, 4), learners: [2] });
});

test("who is removed and added in one change is tracked from the beginning", () => {
  const done = simpleChange(votersOf(1, 2), list("r2 v2 v3 r3"));
  assert.ok(done.ok);
  assert.deepEqual([...done.value.renewed], [2]);
  const before = new Map([1, 2].map((id) => [peer(id), newProgress(peer(id), index(9), true)]));
  const tracked = track(before, done.value, 20);
  assert.deepEqual(
    [...tracked.values()].map(({ peer: id, next }) => [id, next]),
    [
      [1, 9],
      [2, 20],
    ],
  );
});

test("what a change asks for: one alone is simple, more are joint, none leaves", () => {
  const kind = (change: Parameters<typeof followChange>[1], conf = votersOf(1, 2)): string => {
    const done = followChange(conf, change);
    if (!done.ok) return done.error;
    return isJoint(done.value.conf) ? `joint ${done.value.conf.autoLeave}` : "simple";
  };
  assert.equal(kind(single("addVoter", 3)), "simple");
  assert.equal(kind(jointChange("v3")), "simple");
  assert.equal(kind(jointChange("v3 v4")), "joint true");
  assert.equal(kind(jointChange("v3", "implicit")), "joint true");
  assert.equal(kind(jointChange("", "explicit")), "joint false");
  assert.equal(kind(LEAVE), "can't leave a non-joint config");
});

test("our rules for one change alone are stricter than the algebra", () => {
  const joint = enterJoint(votersOf(1, 2), false, list("v3"));
  assert.ok(joint.ok);
  assert.match(changeProblem(joint.value.conf, single("addVoter", 4)) ?? "", /leave it first/);
  assert.match(changeProblem(votersOf(1, 2), single("addLearner", 2)) ?? "", /is a voter/);
  assert.match(changeProblem(votersOf(1), single("updateMember", 2)) ?? "", /not a member/);
  assert.equal(changeProblem(votersOf(1), single("updateMember", 1)), undefined);
  const many = { transition: "auto", changes: Array(257).fill(single("addVoter", 2)) } as const;
  assert.match(changeProblem(votersOf(1), many) ?? "", /exceed/);
  const ids = Array.from({ length: 1023 }, (_, i) => i + 1);
  assert.match(changeProblem(votersOf(...ids), jointChange("l2000 l2001")) ?? "", /exceed/);
  assert.deepEqual(changeConf(votersOf(1), jointChange("r1")), votersOf(1));
});

const OPS: readonly ConfChangeOp[] = ["addVoter", "addLearner", "removeMember", "updateMember"];
const change = fc.record({ op: fc.constantFrom(...OPS), id: fc.integer({ min: 0, max: 6 }) });
const changesOf = fc
  .array(change, { maxLength: 6 })
  .map((all) => all.map(({ op, id }) => ({ op, peer: peer(id), context: new Uint8Array(0) })));
const history = fc.array(
  fc.record({
    transition: fc.constantFrom("auto" as const, "implicit" as const, "explicit" as const),
    changes: changesOf,
  }),
  { maxLength: 12 },
);

/** Every configuration that a history of changes goes through. */
function confsOf(all: readonly Parameters<typeof followChange>[1][]): ConfState[] {
  let conf: ConfState = votersOf(1);
  const confs = [conf];
  for (const each of all) {
    const done = followChange(conf, each);
    if (done.ok) conf = done.value.conf;
    confs.push(conf);
  }
  return confs;
}

function setsOf(conf: ConfState): ReadonlySet<PeerId>[] {
  const all = membersOf(conf);
  const sets = Array.from({ length: 1 << all.length }, (_, mask) => {
    return new Set(all.filter((_id, i) => (mask & (1 << i)) !== 0));
  });
  return sets.filter((set) => quorumValue(conf, (id) => (set.has(id) ? 1 : 0)) === 1);
}

test("property: whatever is asked for, in whatever order, the invariants hold", () => {
  fc.assert(
    fc.property(history, (all) => {
      for (const conf of confsOf(all)) {
        assert.equal(confProblem(conf), undefined);
        assert.ok(conf.voters.length > 0);
      }
    }),
    { seed: 11, numRuns: 500 },
  );
});

test("property: quorums of adjacent configurations overlap", () => {
  fc.assert(
    fc.property(history, (all) => {
      const confs = confsOf(all);
      for (const [i, conf] of confs.entries()) {
        const before = setsOf(confs[i - 1] ?? conf);
        for (const set of setsOf(conf)) {
          for (const other of before) assert.ok([...set].some((id) => other.has(id)));
        }
      }
    }),
    { seed: 12, numRuns: 40 },
  );
});

test("property: a joint change and leaving it end where the changes lead one by one", () => {
  fc.assert(
    fc.property(changesOf, (all) => {
      const start = { ...votersOf(1, 2, 3), learners: [peer(4)] };
      const entered = enterJoint(start, false, all);
      const roles = new Map<number, string>([1, 2, 3].map((id) => [id, "v"]));
      roles.set(4, "l");
      for (const { op, peer: id } of all) {
        if (id === peer(0)) continue;
        if (op === "addVoter") roles.set(id, "v");
        else if (op === "addLearner") roles.set(id, "l");
        else if (op === "removeMember") roles.delete(id);
      }
      const inRole = (role: string): number[] =>
        [...roles].flatMap(([id, is]) => (is === role ? [id] : [])).sort((a, b) => a - b);
      if (!entered.ok) {
        assert.deepEqual(inRole("v"), []);
        return;
      }
      const left = leaveJoint(entered.value.conf);
      assert.ok(left.ok);
      assert.deepEqual(left.value.conf.voters, inRole("v"));
      assert.deepEqual(left.value.conf.learners, inRole("l"));
    }),
    { seed: 13, numRuns: 500 },
  );
});
