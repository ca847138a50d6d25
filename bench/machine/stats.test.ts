import assert from "node:assert/strict";
import { test } from "node:test";
import { BARS, judge, meanOf } from "./bars.ts";
import { geomean, median, rounded } from "./stats.ts";

test("medians and means", () => {
  assert.equal(median([3]), 3);
  assert.equal(median([9, 1, 5]), 5);
  assert.equal(median([4, 1, 10, 2]), 3);
  assert.ok(Math.abs(geomean([1, 4]) - 2) < 1e-12);
  assert.equal(rounded(1234.5), 1230);
  assert.throws(() => geomean([1, 0]));
  assert.throws(() => median([]));
});

test("a bar is held or missed, and one that was not measured is missed with its reason", () => {
  const higher = judge("hot_int_geomean", { value: 1.2 });
  assert.deepEqual([higher.ok, higher.value, higher.bar], [true, 1.2, 1.2]);
  assert.equal(judge("hot_int_geomean", { value: 1.19 }).ok, false);
  assert.equal(judge("idle_private_mb", { value: 45 }).ok, true);
  assert.equal(judge("idle_private_mb", { value: 46 }).ok, false);
  const none = judge("boot_debian_ratio", { reason: "no QEMU" });
  assert.deepEqual([none.ok, none.value, none.reason], [false, null, "no QEMU"]);
  assert.equal(new Set(BARS.map(({ name }) => name)).size, BARS.length);
});

test("a mean lacks what a member lacks", () => {
  const [two, eight] = [
    { name: "a", ratio: 2 },
    { name: "b", ratio: 8 },
  ];
  const mean = meanOf([two, eight]);
  assert.ok(mean.value !== undefined && Math.abs(mean.value - 4) < 1e-12);
  assert.deepEqual(meanOf([two, { name: "c", ratio: null }]), { reason: "not measured: c" });
});
