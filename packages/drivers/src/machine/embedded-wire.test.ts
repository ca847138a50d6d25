import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { ShapeError } from "../json.ts";
import { LIMITS } from "../limits.ts";
import {
  decodeEmbeddedConfig,
  decodeOrder,
  decodeWord,
  type EmbeddedOrder,
  type EmbeddedWord,
  encodeEmbeddedConfig,
  encodeLine,
  Lines,
} from "./embedded-wire.ts";
import type { EmbeddedMachineConfig } from "./types.ts";

const LEAST: EmbeddedMachineConfig = {
  kind: "embedded",
  kernel: "/i/vmlinuz",
  cmdline: "console=ttyS0",
  memoryBytes: 67_108_864,
};
const CONFIGS: readonly EmbeddedMachineConfig[] = [
  LEAST,
  { ...LEAST, initrd: "/i/initrd.img", disk: "/d/disk.raw" },
  { ...LEAST, imageDisk: { base: "/i/disk.img", overlay: "/d/image.overlay" }, cpuMillicores: 250 },
  { ...LEAST, jit: "off" },
];
const ORDERS: readonly EmbeddedOrder[] = [
  { kind: "run", deadlineMonotonicMs: 1234.5 },
  { kind: "renew", deadlineMonotonicMs: 2000 },
  { kind: "stats", id: 3 },
];
const WORDS: readonly EmbeddedWord[] = [
  { kind: "ready" },
  { kind: "refused", reason: "no kernel" },
  { kind: "shutdown" },
  { kind: "leaseExpired" },
  { kind: "died", reason: "it panicked" },
  { kind: "stats", id: 3, stats: { counters: { exits: { idle: 4 } } } },
];

test("version 1 is read for ever, and written as it is", () => {
  const golden = readFileSync(new URL("../testdata/embedded-v1.txt", import.meta.url), "utf8");
  const written = [...CONFIGS.map(encodeEmbeddedConfig), ...[...ORDERS, ...WORDS].map(encodeLine)];
  assert.equal(written.join(""), golden);
  const lines = golden.trim().split("\n");
  const orders = CONFIGS.length;
  const words = orders + ORDERS.length;
  assert.deepEqual(lines.slice(0, orders).map(decodeEmbeddedConfig), CONFIGS);
  assert.deepEqual(lines.slice(orders, words).map(decodeOrder), ORDERS);
  assert.deepEqual(lines.slice(words).map(decodeWord), WORDS);
});

test("another version, unknown fields and kinds, and what is no JSON are refused", () => {
  const text = encodeEmbeddedConfig(LEAST);
  assert.throws(() => decodeEmbeddedConfig(text.replace('"version":1', '"version":2')), ShapeError);
  assert.throws(() => decodeEmbeddedConfig(text.replace('"cmdline"', '"cmd"')), ShapeError);
  assert.throws(() => decodeEmbeddedConfig(text.replace("67108864", "-1")), ShapeError);
  assert.throws(() => decodeOrder('{"kind":"run"}'), ShapeError);
  assert.throws(() => decodeOrder('{"kind":"halt","deadlineMonotonicMs":1}'), ShapeError);
  assert.throws(() => decodeWord('{"kind":"died"}'), ShapeError);
  assert.throws(() => decodeWord("died"), ShapeError);
});

test("lines come whole however they are cut; one without end is refused", () => {
  const lines = new Lines();
  assert.deepEqual(lines.push("ab"), []);
  assert.deepEqual(lines.push("c\nd\n\ne"), ["abc", "d", ""]);
  assert.deepEqual(lines.push("\n"), ["e"]);
  assert.throws(() => lines.push("x".repeat(LIMITS.embeddedLineBytes + 1)), ShapeError);
  assert.deepEqual(lines.push("after\n"), ["after"]);
});
