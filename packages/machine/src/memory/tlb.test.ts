import assert from "node:assert/strict";
import { test } from "node:test";
import { layoutFor } from "./layout.ts";
import type { TableName } from "./tlb.ts";
import { SoftTlb, TABLES } from "./tlb.ts";

const MIB = 1024 * 1024;

/** The compare of the fast path on one entry, for any 64-bit address: the host address, or a miss. */
function lookup(entry: bigint, va: bigint, size: number, addressBits: number): bigint | undefined {
  const h = va ^ entry;
  const mask = BigInt.asUintN(64, -(1n << BigInt(addressBits))) | BigInt(size - 1);
  return (h & mask) === 0n ? h : undefined;
}

/** Addresses with a given index: canonical low and high, non-canonical, every bit above set alone. */
function addressesOf(index: number, addressBits: number): bigint[] {
  const low = BigInt(index) << 12n;
  const uppers = [0n, (1n << BigInt(63 - addressBits)) - 1n];
  for (let bit = 0; bit < 63 - addressBits; bit++) uppers.push(1n << BigInt(bit));
  return uppers.map((upper) => low | (upper << BigInt(addressBits + 1)));
}

test("an empty entry misses for every index, class of address and size", () => {
  for (const ramBytes of [16 * MIB, 300 * MIB]) {
    const layout = layoutFor(ramBytes);
    const buffer = new ArrayBuffer(layout.codeAt);
    const tlb = new SoftTlb(layout, buffer);
    assert.equal(tlb.entries(), 0);
    const entries = new BigUint64Array(buffer, layout.tlbAt, layout.tlbTableBytes / 2);
    const perTable = layout.tlbTableBytes / 8;
    assert.equal(perTable, 2 ** (layout.addressBits - 11));
    const bit = BigInt(layout.addressBits);
    for (const [position, entry] of entries.entries()) {
      // h = va ^ entry has this bit set for every va of this index: that alone is a miss for 2^64 addresses.
      const ofIndex = (BigInt(position % perTable) << 12n) >> bit;
      if (((ofIndex ^ (entry >> bit)) & 1n) !== 1n || entry >> (bit + 1n) !== 0n) {
        assert.fail(`entry ${position} is not empty`);
      }
    }
    // And by the fast path's own formula, over a sample of indices that holds both halves' ends.
    const half = perTable / 2;
    for (const index of [0, 1, 2, half - 1, half, half + 1, perTable - 1, 12345 % perTable]) {
      for (const va of addressesOf(index, layout.addressBits)) {
        for (const size of [1, 2, 4, 8]) {
          for (const offset of [0n, 8n, 4088n]) {
            const hit = lookup(entries[index] ?? 0n, va | offset, size, layout.addressBits);
            assert.equal(hit, undefined, `index ${index} address ${va.toString(16)}`);
          }
        }
      }
    }
  }
});

test("a filled entry hits for its own page and nothing else, aligned only, until it is flushed", () => {
  const layout = layoutFor(16 * MIB);
  const buffer = new ArrayBuffer(layout.codeAt);
  const tlb = new SoftTlb(layout, buffer);
  const view = new DataView(buffer);
  const marks = { global: false, user: false };
  const page = layout.ramAt + 5 * 4096;
  const pages = [0n, 0x1000n, 0x80001000n, 0x3fffff7000n, 0xffffffff80001000n, 0xff60000012345000n];
  for (const [position, va] of pages.entries()) {
    const table: TableName = TABLES[position % 4] ?? "userRead";
    const [high, low] = [Number(va >> 32n), Number(va & 0xffffffffn)];
    tlb.fill(table, high, low, page, marks);
    const index = (low >>> 12) & (layout.tlbTableBytes / 8 - 1);
    const at = layout.tlbAt + TABLES.indexOf(table) * layout.tlbTableBytes + index * 8;
    const find = (address: bigint, size: number): bigint | undefined =>
      lookup(view.getBigUint64(at, true), address, size, layout.addressBits);
    assert.equal(find(va, 8), BigInt(page));
    assert.equal(find(va + 4088n, 8), BigInt(page) + 4088n);
    assert.equal(find(va + 4n, 8), undefined);
    assert.equal(find(va + 4095n, 1), BigInt(page) + 4095n);
    for (const other of addressesOf(index, layout.addressBits)) {
      if (other !== va) assert.equal(find(other, 1), undefined, other.toString(16));
    }
    tlb.flushAddress(low);
    assert.equal(find(va, 1), undefined);
  }
});

test("flushes drop what they name", () => {
  const layout = layoutFor(16 * MIB);
  const tlb = new SoftTlb(layout, new ArrayBuffer(layout.codeAt));
  const page = layout.ramAt;
  tlb.fill("supervisorRead", 0, 0x1000, page, { global: true, user: false });
  tlb.fill("supervisorRead", 0, 0x2000, page, { global: false, user: true });
  tlb.fill("supervisorWrite", 0, 0x2000, page, { global: false, user: true });
  tlb.fill("userWrite", 0, 0x2000, page + 4096, { global: false, user: true });
  tlb.flushSupervisorUserPages();
  assert.equal(tlb.entries(), 2);
  tlb.forbidWrites(page + 4096);
  assert.equal(tlb.entries(), 1);
  tlb.flushNonGlobal();
  assert.equal(tlb.entries(), 1);
  tlb.flushAll();
  assert.equal(tlb.entries(), 0);
});
