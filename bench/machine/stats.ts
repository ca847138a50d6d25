/** The few numbers that a benchmark boils down to. */

import { assert } from "@blixard/std";

export function median(values: readonly number[]): number {
  assert(values.length > 0, "a median of something");
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const [low = 0, high = 0] = sorted.slice(Math.max(0, middle - 1), middle + 1);
  if (sorted.length === 1) return low;
  return sorted.length % 2 === 1 ? high : (low + high) / 2;
}

export function geomean(values: readonly number[]): number {
  assert(values.length > 0, "a mean of something");
  assert(
    values.every((value) => value > 0),
    "a geometric mean of what is positive",
  );
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
}

/** To three digits: the rest is noise. */
export function rounded(value: number): number {
  return Number(value.toPrecision(3));
}
