import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeProposal, Ledger } from "./ledger.ts";

function filled(count: number): Ledger {
  const ledger = new Ledger();
  for (let id = 1; id <= count; id++) {
    ledger.apply({ index: id + 10, term: 1, data: encodeProposal(id, id % 7) });
  }
  return ledger;
}

test("a snapshot restores the same ids, index and hash", () => {
  const ledger = filled(1000);
  const chunks: Uint8Array[] = [];
  const iterator = ledger.snapshot();
  ledger.append(9999);
  for (let next = iterator.next(); next.done !== true; next = iterator.next()) {
    chunks.push(next.value);
  }
  assert.ok(chunks.length > 1);
  const copy = new Ledger();
  assert.deepEqual(copy.restore(chunks), { ok: true, value: undefined });
  assert.equal(copy.index, 1010);
  assert.equal(copy.hash(), filled(1000).hash());
  assert.notEqual(copy.hash(), ledger.hash());
});

test("what is no snapshot leaves the state as it is", () => {
  const ledger = filled(3);
  const before = ledger.hash();
  assert.equal(ledger.restore([Uint8Array.of(1, 2, 3, 4, 5)]).ok, false);
  assert.equal(ledger.restore([]).ok, false);
  assert.equal(ledger.hash(), before);
});
