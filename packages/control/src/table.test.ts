import assert from "node:assert/strict";
import { test } from "node:test";
import { Table } from "./table.ts";

const contents = (shards: readonly ReadonlyMap<string, number>[]): [string, number][] =>
  shards.flatMap((shard) => [...shard]).sort(([a], [b]) => (a < b ? -1 : 1));

test("a frozen copy stays as it was while the table goes on", () => {
  const table = new Table<string, number>();
  for (let i = 0; i < 5000; i++) table.set(`key-${i}`, i);
  const frozen = table.freeze();
  const before = contents(frozen);
  assert.equal(before.length, 5000);
  for (let i = 0; i < 5000; i += 2) table.set(`key-${i}`, -i);
  for (let i = 1; i < 5000; i += 2) table.delete(`key-${i}`);
  table.set("new", 1);
  table.delete("never there");
  assert.deepEqual(contents(frozen), before);
  assert.equal(table.size, 2501);
  assert.equal(table.get("key-2"), -2);
  assert.equal(table.has("key-1"), false);
  assert.equal([...table.keys()].length, 2501);
  assert.equal([...table.values()].length, 2501);
});

test("each frozen copy shows its own moment", () => {
  const table = new Table<string, number>();
  table.set("a", 1);
  const first = table.freeze();
  table.set("a", 2);
  const second = table.freeze();
  table.delete("a");
  assert.deepEqual(contents(first), [["a", 1]]);
  assert.deepEqual(contents(second), [["a", 2]]);
  assert.equal(table.size, 0);
});

test("keys spread over the shards", () => {
  const table = new Table<string, number>();
  for (let i = 0; i < 100_000; i++) table.set(i.toString(16).padStart(16, "0"), i);
  const sizes = table.freeze().map((shard) => shard.size);
  assert.ok(Math.max(...sizes) < 400, `fullest shard: ${Math.max(...sizes)}`);
});
