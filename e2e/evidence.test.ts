import assert from "node:assert/strict";
import { test } from "node:test";
import { type Interval, overlaps } from "./evidence.ts";

const interval = (vm: string, epoch: number, firstMs: number, lastMs: number): Interval => ({
  vm,
  epoch,
  firstMs,
  lastMs,
  ticks: 2,
});

test("epochs that follow each other do not overlap", () => {
  assert.deepEqual(
    overlaps([interval("a", 1, 0, 10), interval("a", 2, 11, 20), interval("b", 1, 5, 15)]),
    [],
  );
});

test("an epoch that begins before an earlier one has ended is found, however far apart they are", () => {
  const found = overlaps([
    interval("a", 1, 0, 30),
    interval("a", 2, 12, 14),
    interval("a", 5, 25, 40),
  ]);
  assert.deepEqual(
    found.map(({ earlier, later, byMs }) => [earlier.epoch, later.epoch, byMs]),
    [
      [1, 2, 18],
      [1, 5, 5],
    ],
  );
});
