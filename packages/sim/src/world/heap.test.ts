import assert from "node:assert/strict";
import { test } from "node:test";
import { Prng } from "@blixard/std";
import { EventHeap } from "./heap.ts";

test("events come out by time, then in the order of scheduling", () => {
  const random = new Prng(1);
  const heap = new EventHeap<{ atUs: number; seq: number }>();
  const events = Array.from({ length: 2000 }, (_, seq) => ({ atUs: random.below(100), seq }));
  for (const event of events) heap.push(event);
  const out: { atUs: number; seq: number }[] = [];
  for (let event = heap.pop(); event !== undefined; event = heap.pop()) out.push(event);
  assert.deepEqual(
    out,
    events.toSorted((a, b) => a.atUs - b.atUs || a.seq - b.seq),
  );
  assert.equal(heap.size, 0);
});
