import assert from "node:assert/strict";
import { test } from "node:test";
import { as, type LogIndex, type Term } from "@blixard/std";
import { RaftChecker } from "./checker.ts";
import { type Host, World } from "./world.ts";

function setup() {
  const world = new World(1, { tracing: false });
  const hosts: Host[] = [1, 2].map((id) => ({ id, incarnation: 1, up: true, pausedUntilUs: 0 }));
  const [one, two] = hosts;
  assert.ok(one !== undefined && two !== undefined);
  return { checker: new RaftChecker(world), one, two };
}

const at = (index: number, term: number, byte: number) => ({
  index: as<LogIndex>(index),
  term: as<Term>(term),
  data: Uint8Array.of(byte),
});
const status = (role: "leader" | "follower", term: number, commit = 0, applied = 0) => ({
  role,
  term: as<Term>(term),
  commit: as<LogIndex>(commit),
  applied: as<LogIndex>(applied),
});

test("two leaders in one term are found, one leader twice is fine", () => {
  const { checker, one, two } = setup();
  checker.observe(one, status("leader", 3), 0);
  checker.observe(one, status("leader", 3), 0);
  checker.observe(two, status("leader", 4), 0);
  assert.throws(() => checker.observe(two, status("leader", 3), 0), /went back from term/);
  two.incarnation++;
  assert.throws(() => checker.observe(two, status("leader", 3), 0), /two leaders in term 3/);
});

test("term, commit and applied never go back within an incarnation", () => {
  const { checker, one } = setup();
  checker.observe(one, status("follower", 3, 5, 4), 6);
  assert.throws(() => checker.observe(one, status("follower", 3, 4, 4), 6), /commit went back/);
  assert.throws(() => checker.observe(one, status("follower", 3, 5, 3), 6), /applied went back/);
  assert.throws(() => checker.observe(one, status("follower", 3, 5, 6), 6), /beyond its commit/);
  assert.throws(() => checker.observe(one, status("follower", 3, 7, 5), 6), /beyond its last/);
  one.incarnation++;
  checker.observe(one, status("follower", 3, 2, 2), 6);
});

test("a new leader without a committed or acknowledged entry is found", () => {
  const { checker, one, two } = setup();
  checker.committed(one, 1, 2);
  checker.committed(one, 2, 2);
  assert.throws(() => checker.committed(two, 2, 3), /committed with term 2/);
  const log = [2, 3];
  assert.throws(
    () => checker.observe(two, status("leader", 3), 2, (index) => log[index - 1]),
    /without the committed entry 2/,
  );
  checker.applied(one, at(9, 2, 1));
  checker.acknowledged(1, 9);
  assert.throws(() => checker.observe(one, status("leader", 4), 8), /9 was acknowledged/);
});

test("different bytes, terms or states at one index are found, and a double vote", () => {
  const { checker, one, two } = setup();
  checker.applied(one, at(1, 1, 7));
  checker.applied(two, at(1, 1, 7));
  assert.throws(() => checker.applied(two, at(1, 1, 8)), /index 1 differs/);
  assert.throws(() => checker.applied(two, at(1, 2, 7)), /index 1 differs/);
  checker.state(one, 1, 5n);
  assert.throws(() => checker.state(two, 1, 6n), /state at index 1 differs/);
  checker.voted(1, 4, 2);
  checker.voted(1, 4, 2);
  assert.throws(() => checker.voted(1, 4, 3), /voted for n2 and n3/);
  assert.throws(() => checker.acknowledged(5, 77), /applied nowhere/);
});
