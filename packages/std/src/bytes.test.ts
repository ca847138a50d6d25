import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  ByteReader,
  ByteWriter,
  concat,
  crc32c,
  decodeWith,
  fromHex,
  hash64,
  ShortReadError,
  toHex,
  utf8,
  utf8Text,
} from "./bytes.ts";

test("CRC-32C gives the check value of RFC 3720 and chains", () => {
  const digits = utf8("123456789");
  assert.equal(crc32c(digits), 0xe3069283);
  assert.equal(crc32c(digits.subarray(4), crc32c(digits.subarray(0, 4))), 0xe3069283);
  assert.equal(crc32c(new Uint8Array(32)), 0x8a9136aa);
});

test("what a writer wrote, a reader reads", () => {
  fc.assert(
    fc.property(
      fc.nat(255),
      fc.nat(65535),
      fc.nat(4294967295),
      fc.maxSafeNat(),
      fc.uint8Array({ maxLength: 600 }),
      fc.string({ unit: "grapheme" }),
      (a, b, c, d, bytes, text) => {
        const writer = new ByteWriter(4).u8(a).u16(b).u32(c).u64(d).bytes(bytes).text(text);
        const reader = new ByteReader(writer.finish());
        assert.equal(reader.u8(), a);
        assert.equal(reader.u16(), b);
        assert.equal(reader.u32(), c);
        assert.equal(reader.u64(), d);
        assert.deepEqual(reader.bytes(), bytes);
        assert.equal(reader.text(), text);
        assert.equal(reader.remaining, 0);
        assert.equal(reader.offset, writer.length);
      },
    ),
    { seed: 1 },
  );
});

test("a reader refuses to read past the end or beyond 2^53", () => {
  assert.throws(() => new ByteReader(new Uint8Array(3)).u32(), ShortReadError);
  assert.throws(() => new ByteReader(new Uint8Array(8).fill(255)).u64(), ShortReadError);
  const announced = new ByteWriter().u32(1_000_000).u8(1).finish();
  assert.throws(() => new ByteReader(announced).bytes(), ShortReadError);
});

test("decodeWith turns throws and left-over bytes into reasons", () => {
  const bytes = new ByteWriter().u16(7).finish();
  assert.deepEqual(
    decodeWith(bytes, (reader) => reader.u16()),
    { ok: true, value: 7 },
  );
  assert.deepEqual(
    decodeWith(bytes, (reader) => reader.u8()),
    { ok: false, error: "1 bytes left over" },
  );
  const short = decodeWith(bytes, (reader) => reader.u32());
  assert.match(short.ok ? "" : short.error, /needed 4 bytes at 0/);
});

test("hex, UTF-8 and concatenation round-trip", () => {
  assert.equal(toHex(Uint8Array.of(0, 15, 255)), "000fff");
  assert.deepEqual(fromHex("000FfF"), Uint8Array.of(0, 15, 255));
  assert.equal(fromHex("abc"), undefined);
  assert.equal(fromHex("zz"), undefined);
  assert.equal(utf8Text(utf8("für")), "für");
  assert.throws(() => utf8Text(Uint8Array.of(0xff)), TypeError);
  assert.deepEqual(
    concat([Uint8Array.of(1), new Uint8Array(0), Uint8Array.of(2, 3)]),
    Uint8Array.of(1, 2, 3),
  );
});

test("text comes back whatever its length and its characters", () => {
  const ascii = "key-0123456789 ABCDEFGHIJKLMNOPQ";
  const texts = [
    "",
    ascii,
    `${ascii}!`,
    `${ascii.slice(1)}é`,
    "é",
    "plain, then für",
    "\u0000\u007f",
  ];
  for (const text of texts) {
    const bytes = new ByteWriter(1).text(text).u8(7).finish();
    assert.deepEqual(bytes.subarray(4, -1), utf8(text));
    const reader = new ByteReader(bytes);
    assert.equal(reader.text(), text);
    assert.equal(reader.u8(), 7);
  }
  const malformed = new ByteWriter().bytes(Uint8Array.of(65, 0xff)).finish();
  assert.throws(() => new ByteReader(malformed).text(), TypeError);
  const announced = new ByteWriter().u32(9).u8(65).finish();
  assert.throws(() => new ByteReader(announced).text(), ShortReadError);
});

test("patchU32 overwrites in place", () => {
  const bytes = new ByteWriter().u32(0).u8(9).patchU32(0, 0x01020304).finish();
  assert.deepEqual([...bytes], [4, 3, 2, 1, 9]);
});

test("hash64 has no collisions among short near-equal inputs", () => {
  const seen = new Set<bigint>();
  const all: Uint8Array[] = [new Uint8Array(0), new Uint8Array(1), new Uint8Array(2)];
  for (let a = 1; a < 256; a++) for (let b = 0; b < 64; b++) all.push(Uint8Array.of(b, a));
  for (const bytes of all) seen.add(hash64(bytes));
  assert.equal(seen.size, all.length);
});
