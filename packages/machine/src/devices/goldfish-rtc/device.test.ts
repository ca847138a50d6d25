import assert from "node:assert/strict";
import { test } from "node:test";
import { Prng } from "@blixard/std";
import { Rig } from "../testing/rig.ts";
import { GoldfishRtc } from "./device.ts";

const EPOCH = 1_700_000_000_123_456_789n;

function make(epochNs = EPOCH) {
  const rig = new Rig();
  const rtc = new GoldfishRtc({ name: "rtc0", base: 0, epochNs });
  const read = (offset: number): bigint => rtc.read(offset, 4, rig);
  const write = (offset: number, value: bigint): void => rtc.write(offset, 4, value, rig);
  const now = (): bigint => read(0) | (read(4) << 32n);
  return { rig, rtc, read, write, now };
}

test("time runs from the epoch and its upper half is latched", () => {
  const { rig, read, now } = make();
  rig.now = 5_000_000_000n;
  assert.equal(now(), EPOCH + 5_000_000_000n);
  const low = read(0);
  rig.now += 1n << 32n;
  assert.equal(low | (read(4) << 32n), EPOCH + 5_000_000_000n);
});

test("the guest and the shell can set it", () => {
  const { rig, rtc, write, now } = make();
  rig.now = 77n;
  write(4, 5n);
  write(0, 6n);
  assert.equal(now(), (5n << 32n) | 6n);
  rtc.setWallClock(EPOCH, rig);
  rig.now = 78n;
  assert.equal(now(), EPOCH + 1n);
});

test("an alarm interrupts at its time", () => {
  const { rig, rtc, read, write } = make();
  write(0x10, 1n);
  const at = EPOCH + 1000n;
  write(0x0c, at >> 32n);
  write(0x08, at & 0xffffffffn);
  assert.deepEqual([read(0x18), read(0x08), read(0x0c)], [1n, at & 0xffffffffn, at >> 32n]);
  assert.equal(rtc.nextTimerNs(), 1000n);
  rig.now = 1000n;
  rig.settle(rtc);
  assert.deepEqual([rig.irq(), read(0x18), read(0x10)], [true, 0n, 1n]);
  write(0x1c, 1n);
  assert.equal(rig.irq(), false);
  assert.equal(rtc.nextTimerNs(), undefined);
});

test("an alarm in the past fires at once, a cleared or masked one does not", () => {
  const { rig, rtc, write } = make();
  write(0x0c, 0n);
  write(0x08, 1n);
  assert.equal(rig.irq(), false, "masked");
  write(0x10, 1n);
  assert.equal(rig.irq(), true);
  write(0x1c, 1n);
  write(0x0c, 0xffffffffn);
  write(0x08, 1n);
  write(0x14, 1n);
  assert.equal(rtc.nextTimerNs(), undefined);
});

test("the clock stops at its ends instead of wrapping", () => {
  const low = make(-5n);
  assert.equal(low.now(), 0n);
  const { rig, rtc, write, now } = make();
  write(4, 0xffffffffn);
  write(0, 0xffffffffn);
  rig.now += 1_000n;
  assert.equal(now(), 0xffff_ffff_ffff_ffffn);
  write(0x0c, 0xffffffffn);
  write(0x08, 0xffffffffn);
  assert.equal(rtc.nextTimerNs(), undefined, "fired at once");
});

test("accesses that the device does not define do nothing", () => {
  const { rig, rtc, read, write } = make();
  const before = rtc.save();
  write(0x20, 1n);
  rtc.write(0, 8, 1n, rig);
  rtc.input();
  assert.deepEqual([read(0x20), rtc.read(0, 8, rig)], [0n, 0n]);
  assert.deepEqual(rtc.save(), before);
});

test("random traffic: never throws, no timer stays due, a loaded copy goes on alike", () => {
  for (let seed = 1; seed <= 20; seed++) {
    const random = new Prng(seed);
    const { rig, rtc } = make();
    let copy: GoldfishRtc | undefined;
    const copyRig = new Rig();
    for (let i = 0; i < 300; i++) {
      const offset = 4 * random.below(10);
      const value = BigInt(random.u32() >>> random.below(32));
      rig.now += BigInt(random.u32());
      copyRig.now = rig.now;
      rtc.write(offset, 4, value, rig);
      rig.settle(rtc, 3);
      copy?.write(offset, 4, value, copyRig);
      if (copy !== undefined) {
        copyRig.settle(copy, 3);
        assert.equal(copy.read(offset, 4, copyRig), rtc.read(offset, 4, rig));
        assert.equal(copyRig.irq(), rig.irq());
      }
      if (i === 150) {
        copy = make(0n).rtc;
        copy.load(structuredClone(rtc.save()));
      }
    }
    assert.deepEqual(copy?.save(), rtc.save());
  }
});
