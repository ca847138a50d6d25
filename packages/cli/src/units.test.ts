import assert from "node:assert/strict";
import { test } from "node:test";
import { BlixardError } from "@blixard/std";
import {
  collectDisk,
  collectLabel,
  formatSize,
  parseAddress,
  parseCount,
  parseCpus,
  parseDuration,
  parseSize,
} from "./units.ts";

const refused = (error: unknown): boolean =>
  error instanceof BlixardError && error.code === "InvalidArgument" && error.exitCode === 2;

test("sizes are binary, with or without iB", () => {
  const cases: readonly (readonly [string, number])[] = [
    ["0", 0],
    ["4096", 4096],
    ["512b", 512],
    ["4K", 4096],
    ["256M", 268_435_456],
    ["256MiB", 268_435_456],
    ["256 mb", 268_435_456],
    ["1.5G", 1_610_612_736],
    ["2t", 2 ** 41],
  ];
  for (const [text, bytes] of cases) assert.equal(parseSize(text), bytes, text);
  for (const text of ["", "5x", "M", "-1", "1e3", "1.0000001K", "0.3", "99999999T", "1 2"]) {
    assert.throws(() => parseSize(text), refused, text);
  }
});

test("durations want a unit", () => {
  const cases: readonly (readonly [string, number])[] = [
    ["500ms", 500],
    ["30s", 30_000],
    ["5m", 300_000],
    ["1.5h", 5_400_000],
    ["7d", 604_800_000],
  ];
  for (const [text, ms] of cases) assert.equal(parseDuration(text), ms, text);
  for (const text of ["", "5", "5x", "-1s", "0s", "25d", "s"]) {
    assert.throws(() => parseDuration(text), refused, text);
  }
  assert.throws(() => parseDuration("5x"), {
    message: 'Cannot parse duration "5x": expected a number and a unit such as s, m or h.',
  });
});

test("labels, counts and addresses", () => {
  assert.deepEqual(collectLabel("a=b", { c: "d" }), { c: "d", a: "b" });
  assert.deepEqual(collectLabel("a=x=y"), { a: "x=y" });
  for (const text of ["a", "=b", ""]) assert.throws(() => collectLabel(text), refused, text);
  assert.equal(parseCount("12"), 12);
  for (const text of ["-1", "1.5", "x", ""]) assert.throws(() => parseCount(text), refused, text);
  for (const text of ["127.0.0.1:7447", "[::1]:0", "host.example:65535"]) {
    assert.equal(parseAddress(text), text);
  }
  for (const text of ["7447", "host", "host:65536", "::1:80", "a b:1", "host:"]) {
    assert.throws(() => parseAddress(text), refused, text);
  }
});

test("disks and shares of a core", () => {
  const disks = ["a.img", "b.img,ro", "c.img,overlay=/tmp/o"];
  assert.deepEqual(
    disks.reduce<ReturnType<typeof collectDisk>>((all, text) => collectDisk(text, all), []),
    [{ path: "a.img" }, { path: "b.img", readOnly: true }, { path: "c.img", overlay: "/tmp/o" }],
  );
  for (const text of ["", ",ro", "a,rw", "a,overlay=", "a,ro,overlay=b"]) {
    assert.throws(() => collectDisk(text), refused, text);
  }
  assert.equal(parseCpus("0.5"), 500);
  assert.equal(parseCpus("2"), 2000);
  for (const text of ["0", "0.001", "65", "-1", "half", "1.2345"]) {
    assert.throws(() => parseCpus(text), refused, text);
  }
});

test("sizes are shown in the largest fitting unit", () => {
  assert.equal(formatSize(0), "0 B");
  assert.equal(formatSize(268_435_456), "256 MiB");
  assert.equal(formatSize(1536), "1.5 KiB");
  assert.equal(formatSize(2 ** 50), "1024 TiB");
});
