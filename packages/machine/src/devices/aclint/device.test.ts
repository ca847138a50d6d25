import assert from "node:assert/strict";
import { test } from "node:test";
import { Prng } from "@blixard/std";
import { Rig } from "../testing/rig.ts";
import { Aclint } from "./device.ts";

const COMPARE = 0x4000;
const TIME = 0xbff8;

function make() {
  const rig = new Rig();
  const aclint = new Aclint({ name: "aclint", base: 0, harts: 2, timebaseHz: 10_000_000 });
  return { rig, aclint };
}

test("mtime counts guest time and can be set", () => {
  const { rig, aclint } = make();
  rig.now = 1_234n;
  assert.equal(aclint.read(TIME, 8, rig), 12n);
  aclint.write(TIME, 8, 0x1_0000_0005n, rig);
  rig.now = 1_334n;
  assert.equal(aclint.read(TIME, 8, rig), 0x1_0000_0006n);
  assert.deepEqual([aclint.read(TIME, 4, rig), aclint.read(TIME + 4, 4, rig)], [6n, 1n]);
  aclint.write(TIME + 4, 4, 7n, rig);
  assert.equal(aclint.read(TIME, 8, rig), 0x7_0000_0006n);
  aclint.write(TIME, 8, 0n, rig);
  assert.equal(aclint.read(TIME, 8, rig), 0n);
});

test("mtimecmp fires at its time, not before", () => {
  const { rig, aclint } = make();
  assert.equal(aclint.nextTimerNs(), undefined);
  aclint.write(COMPARE + 8, 4, 100n, rig);
  assert.equal(aclint.nextTimerNs(), undefined, "the upper half still says never");
  aclint.write(COMPARE + 12, 4, 0n, rig);
  assert.equal(aclint.nextTimerNs(), 10_000n);
  aclint.write(COMPARE, 8, 50n, rig);
  assert.equal(aclint.nextTimerNs(), 5_000n);
  rig.now = 4_999n;
  aclint.tick(rig);
  assert.deepEqual([rig.irq(2), rig.irq(3)], [false, false]);
  rig.now = 5_000n;
  rig.settle(aclint);
  assert.deepEqual([rig.irq(2), rig.irq(3)], [true, false]);
  assert.equal(aclint.nextTimerNs(), 10_000n);
  aclint.write(COMPARE, 8, 1000n, rig);
  assert.equal(rig.irq(2), false);
  assert.deepEqual(aclint.read(COMPARE + 8, 8, rig), 100n);
});

test("msip raises the software interrupt", () => {
  const { rig, aclint } = make();
  aclint.write(4, 4, 0xffffffffn, rig);
  assert.deepEqual([rig.irq(0), rig.irq(1), aclint.read(4, 4, rig)], [false, true, 1n]);
  aclint.write(4, 4, 0n, rig);
  assert.equal(rig.irq(1), false);
});

test("accesses that the device does not define do nothing", () => {
  const { rig, aclint } = make();
  const before = aclint.save();
  for (const [offset, size] of [
    [0, 1],
    [0, 8],
    [8, 4],
    [2, 4],
    [COMPARE + 16, 8],
    [0x8000, 4],
  ] as const) {
    aclint.write(offset, size, 1n, rig);
    assert.equal(aclint.read(offset, size, rig), 0n);
  }
  aclint.input();
  assert.deepEqual(aclint.save(), before);
});

test("random traffic: never throws, and a loaded copy goes on alike", () => {
  for (let seed = 1; seed <= 20; seed++) {
    const random = new Prng(seed);
    const { rig, aclint } = make();
    const offsets = [0, 4, COMPARE, COMPARE + 4, COMPARE + 8, TIME, TIME + 4, 0x9000];
    let copy: Aclint | undefined;
    const copyRig = new Rig();
    for (let i = 0; i < 300; i++) {
      const offset = offsets[random.below(offsets.length)] ?? 0;
      const size = random.chance(0.5) ? 4 : 8;
      const value = BigInt(random.u32() >>> random.below(32)) << BigInt(random.below(33));
      rig.now += BigInt(random.below(100_000));
      copyRig.now = rig.now;
      for (const [each, eachRig] of [
        [aclint, rig],
        [copy, copyRig],
      ] as const) {
        each?.write(offset, size, value, eachRig);
        each?.tick(eachRig);
        const next = each?.nextTimerNs();
        assert.ok(next === undefined || next > rig.now, "a tick leaves nothing due");
      }
      if (copy !== undefined) {
        assert.equal(copy.read(offset, size, copyRig), aclint.read(offset, size, rig));
        assert.deepEqual(copyRig.levels.slice(2), rig.levels.slice(2));
      }
      if (i === 150) {
        copy = make().aclint;
        copy.load(structuredClone(aclint.save()));
      }
    }
    assert.deepEqual(copy?.save(), aclint.save());
  }
});
