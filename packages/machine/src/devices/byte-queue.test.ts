import assert from "node:assert/strict";
import { test } from "node:test";
import { Prng } from "@blixard/std";
import { ByteQueue } from "./byte-queue.ts";

test("against a plain array, around the ring", () => {
  const random = new Prng(1);
  const queue = new ByteQueue(13);
  let model: number[] = [];
  assert.deepEqual([queue.peek(), queue.take(5).length, queue.copy().length], [0, 0, 0]);
  for (let i = 0; i < 2000; i++) {
    const count = random.below(9);
    const what = random.below(4);
    if (what < 2) {
      const data = Uint8Array.from({ length: count }, () => random.below(256));
      const taken = queue.push(data);
      assert.equal(taken, Math.min(count, 13 - model.length));
      model.push(...data.subarray(0, taken));
    } else if (what === 2) {
      queue.drop(count);
      model = model.slice(count);
    } else {
      assert.deepEqual([...queue.copy(count)], model.slice(0, count));
      assert.deepEqual([...queue.take(count)], model.splice(0, count));
    }
    assert.deepEqual([queue.length, queue.peek()], [model.length, model[0] ?? 0]);
  }
});
