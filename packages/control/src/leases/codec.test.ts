import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fromHex, Prng, toHex } from "@blixard/std";
import { LEASE_SAMPLES } from "../testing/samples.ts";
import { decodeLeaseMessage, encodeLeaseMessage } from "./codec.ts";

const golden = readFileSync(new URL("../testdata/lease.v1.txt", import.meta.url), "utf8");

test("golden bytes of every lease message of version 1 are read, and written, for ever", () => {
  const lines = golden.trimEnd().split("\n");
  assert.equal(lines.length, LEASE_SAMPLES.length);
  for (const [i, message] of LEASE_SAMPLES.entries()) {
    const [kind, hex] = lines[i]?.split(" ") ?? [];
    assert.equal(kind, message.kind);
    assert.deepEqual(decodeLeaseMessage(fromHex(hex ?? "") ?? new Uint8Array()), {
      ok: true,
      value: message,
    });
    assert.equal(toHex(encodeLeaseMessage(message)), hex);
  }
});

test("wrong magic, version, kind, reason or length: the reason is named", () => {
  const bytes = encodeLeaseMessage(LEASE_SAMPLES[2] ?? assert.fail());
  const say = (at: number, value: number): string => {
    const bad = bytes.slice();
    bad[at] = value;
    const decoded = decodeLeaseMessage(bad);
    return decoded.ok ? "accepted" : decoded.error;
  };
  assert.match(say(0, 0), /wrong magic/);
  assert.match(say(3, 2), /unknown version 2/);
  assert.match(say(4, 3), /unknown kind 3/);
  assert.match(say(bytes.length - 1, 4), /unknown reason 4/);
  const long = decodeLeaseMessage(new Uint8Array([...bytes, 0]));
  assert.ok(!long.ok && long.error.includes("left over"));
  for (let at = 0; at < bytes.length; at++) {
    assert.ok(!decodeLeaseMessage(bytes.subarray(0, at)).ok);
  }
});

test("whatever comes, decoding answers; what it accepts is written back the same", () => {
  const prng = new Prng(2026);
  const valid = LEASE_SAMPLES.map(encodeLeaseMessage);
  for (let round = 0; round < 20_000; round++) {
    const bytes = (valid[prng.below(valid.length)] ?? assert.fail()).slice();
    for (let flips = prng.below(4); flips > 0; flips--)
      bytes[prng.below(bytes.length)] = prng.u32();
    const decoded = decodeLeaseMessage(bytes);
    if (decoded.ok) assert.deepEqual(encodeLeaseMessage(decoded.value), bytes);
  }
});
