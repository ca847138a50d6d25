/** Stored regions: the same bytes in every release of version 1, and nothing but a whole file is believed. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { crc32c, Prng, toHex } from "@blixard/std";
import { generatorFingerprint } from "../testing/generator.ts";
import { decodeRegions, encodeRegions, type RegionsKey, type StoredRegion } from "./format.ts";
import { GENERATOR } from "./generator.ts";

const KEY: RegionsKey = { generator: "0123456789abcdef", ramBytes: 256 << 20, fused: true };
const REGIONS: readonly StoredRegion[] = [
  {
    page: 0xfedc_ba98,
    offset: 4094,
    privilege: 1,
    inexactSet: true,
    again: false,
    instructions: 2,
    deltas: [0, 4096, -8192],
    extents: [
      { page: 0, from: 4094, to: 4096 },
      { page: 1, from: 0, to: 4 },
    ],
    code: Uint8Array.of(1, 2, 3, 4, 5, 6),
    // No locals, a number, end.
    body: {
      bytes: Uint8Array.of(0, 0x41, 0x80, 0x80, 0x80, 0x80, 0, 0x1a, 0x0b),
      hints: [{ offset: 3, likely: false }],
    },
  },
  {
    page: 7,
    offset: 0,
    privilege: 0,
    inexactSet: false,
    again: true,
    instructions: 1,
    deltas: [0],
    extents: [{ page: 0, from: 0, to: 2 }],
    code: Uint8Array.of(1, 0),
    body: {
      bytes: Uint8Array.of(1, 2, 0x7f, 0x41, 0x80, 0x80, 0x80, 0x80, 0, 0x1a, 0x0b),
      hints: [],
    },
  },
];

test("regions are stored as they always were", () => {
  const golden = readFileSync(new URL("testdata/regions-1.hex", import.meta.url), "utf8").trim();
  const bytes = encodeRegions(KEY, REGIONS);
  assert.equal(toHex(bytes), golden);
  const decoded = decodeRegions(KEY, bytes);
  assert.ok(decoded.ok);
  assert.deepEqual(decoded.value, REGIONS);
});

test("another machine's, another release's, damaged and cut files are not used", () => {
  const bytes = encodeRegions(KEY, REGIONS);
  const others: readonly RegionsKey[] = [
    { ...KEY, generator: "0123456789abcdee" },
    { ...KEY, ramBytes: 128 << 20 },
    { ...KEY, fused: false },
  ];
  for (const key of others) assert.equal(decodeRegions(key, bytes).ok, false);
  for (let at = 0; at < bytes.length; at++) {
    const damaged = bytes.slice();
    damaged[at] = (damaged[at] ?? 0) ^ 1;
    assert.equal(decodeRegions(KEY, damaged).ok, false, `byte ${at}`);
    assert.equal(decodeRegions(KEY, bytes.subarray(0, at)).ok, false, `cut at ${at}`);
  }
});

/** As the encoder does it. */
function resum(bytes: Uint8Array): void {
  const sum = crc32c(bytes.subarray(40), crc32c(bytes.subarray(0, 36)));
  new DataView(bytes.buffer).setUint32(36, sum, true);
}

test("bytes that are no regions behind a right sum are refused, and none of it throws", () => {
  const random = new Prng(11);
  const header = encodeRegions(KEY, []);
  for (let n = 0; n < 2000; n++) {
    const whole = encodeRegions(KEY, REGIONS).slice();
    for (let k = 0; k < 3; k++) whole[header.length + random.below(40)] = random.below(256);
    const view = new DataView(whole.buffer);
    view.setUint32(28, random.below(4), true);
    resum(whole);
    const decoded = decodeRegions(KEY, whole);
    if (!decoded.ok) continue;
    for (const { code, extents } of decoded.value) {
      assert.equal(
        code.length,
        extents.reduce((sum, one) => sum + one.to - one.from, 0),
      );
    }
  }
});

test("what stored regions are told by is that of these sources", () => {
  const command = "node --conditions=source packages/machine/src/jit/testing/generator.ts --write";
  assert.equal(GENERATOR, generatorFingerprint(), command);
});
