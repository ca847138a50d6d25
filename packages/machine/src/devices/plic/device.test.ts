import assert from "node:assert/strict";
import { test } from "node:test";
import { AssertionError, Prng } from "@blixard/std";
import { Plic } from "./device.ts";

const S0 = 1;
const S1 = 3;
const threshold = (context: number): number => 0x200000 + 0x1000 * context;
const claim = (context: number): number => threshold(context) + 4;
const enable = (context: number, word = 0): number => 0x2000 + 0x80 * context + 4 * word;

function make(sources = 40) {
  const plic = new Plic({ name: "plic", base: 0, harts: 2, sources });
  const read = (offset: number): number => Number(plic.read(offset, 4));
  const write = (offset: number, value: number): void => plic.write(offset, 4, BigInt(value >>> 0));
  return { plic, read, write };
}

/** As Linux' sifive-plic sets a source up. */
function ready(plic: ReturnType<typeof make>, source: number, context = S0, priority = 1): void {
  plic.write(4 * source, priority);
  const word = enable(context, source >>> 5);
  plic.write(word, plic.read(word) | (1 << (source & 31)));
}

test("a level goes through claim and complete", () => {
  const made = make();
  const { plic, read, write } = made;
  ready(made, 10);
  plic.setLevel(10, true);
  assert.deepEqual([plic.externalInterrupt(0), plic.externalInterrupt(1)], [true, false]);
  assert.equal(read(0x1000), 1 << 10);
  assert.equal(read(claim(S0)), 10);
  assert.equal(plic.externalInterrupt(0), false);
  assert.equal(read(0x1000), 0);
  assert.equal(read(claim(S0)), 0, "in service: not offered again");
  write(claim(S0), 10);
  assert.equal(plic.externalInterrupt(0), true, "still high: pending again");
  plic.setLevel(10, false);
  assert.equal(plic.externalInterrupt(0), true, "the request stands until it is claimed");
  assert.equal(read(claim(S0)), 10);
  write(claim(S0), 10);
  assert.equal(plic.externalInterrupt(0), false);
});

test("a level that comes while the interrupt is in service waits for its completion", () => {
  const made = make();
  const { plic, read, write } = made;
  ready(made, 3);
  plic.setLevel(3, true);
  assert.equal(read(claim(S0)), 3);
  plic.setLevel(3, false);
  plic.setLevel(3, true);
  assert.equal(plic.externalInterrupt(0), false);
  write(claim(S0), 3);
  assert.equal(plic.externalInterrupt(0), true);
});

test("priorities: the highest first, the lowest number among equals, zero never", () => {
  const made = make();
  const { plic, read } = made;
  for (const [source, priority] of [
    [5, 2],
    [4, 2],
    [38, 7],
    [2, 0],
  ] as const) {
    ready(made, source, S0, priority);
    plic.setLevel(source, true);
  }
  assert.equal(read(0x1004), 1 << (38 - 32));
  assert.deepEqual(
    [1, 2, 3, 4].map(() => read(claim(S0))),
    [38, 4, 5, 0],
  );
});

test("the threshold masks the wire, not the claim", () => {
  const made = make();
  const { plic, read, write } = made;
  ready(made, 1, S0, 3);
  plic.setLevel(1, true);
  write(threshold(S0), 3);
  assert.equal(read(threshold(S0)), 3);
  assert.equal(plic.externalInterrupt(0), false);
  write(threshold(S0), 2);
  assert.equal(plic.externalInterrupt(0), true);
  write(threshold(S0), 7);
  assert.equal(read(claim(S0)), 1);
});

test("either hart may claim, only once", () => {
  const made = make();
  const { plic, read, write } = made;
  ready(made, 7, S0);
  ready(made, 7, S1);
  plic.setLevel(7, true);
  assert.deepEqual([plic.externalInterrupt(0), plic.externalInterrupt(1)], [true, true]);
  assert.equal(read(claim(S1)), 7);
  assert.deepEqual([plic.externalInterrupt(0), read(claim(S0))], [false, 0]);
  write(claim(S1), 7);
  assert.equal(plic.externalInterrupt(0), true);
});

test("a completion of a source that is not enabled is ignored", () => {
  const made = make();
  const { plic, read, write } = made;
  ready(made, 7);
  plic.setLevel(7, true);
  assert.equal(read(claim(S0)), 7);
  write(claim(S1), 7);
  write(claim(S0), 0);
  write(claim(S0), 99);
  assert.equal(plic.externalInterrupt(0), false);
  write(claim(S0), 7);
  assert.equal(plic.externalInterrupt(0), true);
});

test("the M contexts work like the others and drive no wire", () => {
  const made = make();
  ready(made, 1, 0);
  made.plic.setLevel(1, true);
  assert.equal(made.plic.externalInterrupt(0), false);
  assert.equal(made.read(claim(0)), 1);
});

test("registers that are not there read zero and stay so", () => {
  const { plic, read, write } = make();
  for (const offset of [0, 4 * 41, enable(S0, 2), enable(9), 0x1000, threshold(9), claim(S0) + 4]) {
    write(offset, 0xffffffff);
    assert.equal(read(offset), 0, offset.toString(16));
  }
  write(enable(S0), 0xffffffff);
  write(enable(S0, 1), 0xffffffff);
  assert.deepEqual([read(enable(S0)), read(enable(S0, 1))], [0xfffffffe, 0x1ff]);
  write(4, 0xffffffff);
  assert.equal(read(4), 7);
  plic.write(4, 1, 0n);
  plic.write(6, 4, 0n);
  assert.equal(read(4), 7);
  assert.deepEqual([plic.read(4, 8), plic.read(6, 4)], [0n, 0n]);
  plic.input();
  plic.tick();
  assert.equal(plic.nextTimerNs(), undefined);
  assert.equal(plic.externalInterrupt(5), false);
  assert.throws(() => plic.setLevel(41, true), AssertionError);
});

test("random traffic: never throws, and a loaded copy goes on alike", () => {
  for (let seed = 1; seed <= 20; seed++) {
    const random = new Prng(seed);
    const { plic } = make();
    const offsets = [
      4,
      8,
      40,
      0x1000,
      enable(S0),
      enable(S1, 1),
      threshold(S0),
      claim(S0),
      claim(S1),
    ];
    const step = (each: Plic, what: number, at: number, value: number): unknown => {
      if (what === 0) each.setLevel(1 + (value % 40), value % 3 === 0);
      else if (what === 1) return each.read(at, 4);
      else each.write(at, 4, BigInt(value));
      return [each.externalInterrupt(0), each.externalInterrupt(1)];
    };
    let copy: Plic | undefined;
    for (let i = 0; i < 400; i++) {
      const at = random.chance(0.9)
        ? (offsets[random.below(offsets.length)] ?? 0)
        : 4 * random.below(0x180000);
      const args = [random.below(3), at, random.u32() >>> random.below(32)] as const;
      const expected = step(plic, ...args);
      if (copy !== undefined) assert.deepEqual(step(copy, ...args), expected);
      if (i === 200) {
        copy = make().plic;
        copy.load(structuredClone(plic.save()));
      }
    }
    assert.deepEqual(copy?.save(), plic.save());
  }
});

test("a saved controller of another shape is refused", () => {
  const saved = make(95).plic.save();
  assert.throws(() => make().plic.load(saved), /Plic|plic/);
});
