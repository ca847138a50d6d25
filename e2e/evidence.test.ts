import assert from "node:assert/strict";
import { test } from "node:test";
import { type Interval, overlaps, tickRate } from "./evidence.ts";

const interval = (vm: string, epoch: number, ...stampsMs: number[]): Interval => ({
  vm,
  epoch,
  node: "n1",
  stampsMs,
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

test("the rate counts the gaps inside intervals, and none in which the node was paused", () => {
  const intervals = [interval("a", 1, 0, 20, 40, 140, 160), interval("b", 2, 1000, 1021)];
  assert.deepEqual(tickRate(intervals, []), {
    ticks: 7,
    medianGapMs: 20,
    p99GapMs: 21,
    ticksPerSecond: 27.6,
  });
  const paused = [
    { node: "n1", fromMs: 45, toMs: 130 },
    { node: "n2", fromMs: 0, toMs: 2000 },
  ];
  assert.deepEqual(tickRate(intervals, paused), {
    ticks: 7,
    medianGapMs: 20,
    p99GapMs: 20,
    ticksPerSecond: 49.4,
  });
});
