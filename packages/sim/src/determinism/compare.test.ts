import assert from "node:assert/strict";
import { test } from "node:test";
import { PROFILES } from "../plan.ts";
import { differences, parseRows, type Row, rowOf, samples } from "./compare.ts";

test("samples are spread over seeds and profiles, and stay the same", () => {
  const list = samples(100);
  assert.equal(new Set(list.map(({ seed, profile }) => `${profile} ${seed}`)).size, 100);
  assert.deepEqual(new Set(list.map(({ profile }) => profile)), new Set(PROFILES));
  assert.deepEqual(samples(10), list.slice(0, 10));
});

test("a row is the same twice, and is read as it was printed", () => {
  const [sample] = samples(1);
  assert.ok(sample);
  const row = rowOf(sample);
  assert.deepEqual(rowOf(sample), row);
  const read = parseRows(`${JSON.stringify(row)}\n`);
  assert.deepEqual(read, { ok: true, value: [row] });
  assert.equal(parseRows("[1,2,3]\n").ok, false);
  assert.equal(parseRows('{"seed":1}\n').ok, false);
  assert.equal(parseRows('[1,"raft",3,4]\n').ok, false);
});

test("one other hash, one other count of events, or a row that is missing is a difference", () => {
  const wanted = samples(3);
  const good = wanted.map(({ seed, profile }): Row => [seed, profile, "00", 7]);
  assert.deepEqual(differences(wanted, { a: good, b: [...good].reverse() }), []);
  const [first, second, third] = good;
  assert.ok(first && second && third);
  const hash: Row = [second[0], second[1], "01", 7];
  const events: Row = [third[0], third[1], "00", 8];
  const found = differences(wanted, { a: good, b: [first, hash, events] });
  assert.deepEqual(
    found.map(({ seed }) => seed),
    [second[0], third[0]],
  );
  assert.equal(differences(wanted, { a: good, b: [first, second] }).length, 1);
  assert.equal(differences(wanted, { a: [], b: [] }).length, 3);
});
