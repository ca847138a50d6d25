/**
 * Core-local timer and software interrupts in the memory map of SiFive's CLINT (RISC-V ACLINT 1.0): MSIP at 0,
 * MTIMECMP at 0x4000, MTIME at 0xbff8. Supervisors use the SBI and Sstc; this is for software that looks.
 */

import { assert } from "@blixard/std";
import type { AccessSize, Device, DeviceContext } from "../../types.ts";
import { HARTS_MAX } from "../limits.ts";
import { freshAclint, loadAclint, saveAclint, type AclintState } from "./persist.ts";

const COMPARE = 0x4000;
const TIME = 0xbff8;
const NS_PER_SECOND = 1_000_000_000n;
const SOON = 1n << 62n;

export interface AclintOptions {
  readonly name: string;
  readonly base: number;
  readonly harts: number;
  /** Frequency of mtime. */
  readonly timebaseHz: number;
}

/** Lines 0..harts-1 are the harts' software interrupts, lines harts..2*harts-1 their timer interrupts. */
export class Aclint implements Device {
  readonly name: string;
  readonly base: number;
  readonly sizeBytes = 0x10000;
  readonly harts: number;
  readonly #timebaseHz: bigint;
  #state: AclintState;
  /** When the next timer fires; found out by the tick after a load. */
  #dueNs: bigint | undefined;

  constructor(options: AclintOptions) {
    assert(options.harts >= 1 && options.harts <= HARTS_MAX, "ACLINT harts");
    assert(Number.isSafeInteger(options.timebaseHz) && options.timebaseHz > 0, "timebase");
    this.name = options.name;
    this.base = options.base;
    this.harts = options.harts;
    this.#timebaseHz = BigInt(options.timebaseHz);
    this.#state = freshAclint(options.harts);
  }

  read(offset: number, size: AccessSize, context: DeviceContext): bigint {
    if (size < 4 || offset % size !== 0) return 0n;
    const mask = size === 8 ? 0xffff_ffff_ffff_ffffn : 0xffff_ffffn;
    const shift = BigInt((offset % 8) * 8);
    if (offset < COMPARE) {
      return size === 4 ? BigInt(this.#state.software[offset / 4] ?? 0) : 0n;
    }
    const aligned = offset - (offset % 8);
    if (aligned === TIME) return (this.#time(context) >> shift) & mask;
    const compare = this.#state.compare[(aligned - COMPARE) / 8] ?? 0n;
    return (compare >> shift) & mask;
  }

  write(offset: number, size: AccessSize, value: bigint, context: DeviceContext): void {
    if (size < 4 || offset % size !== 0) return;
    if (offset < COMPARE) {
      const hart = offset / 4;
      if (size !== 4 || hart >= this.harts) return;
      this.#state.software[hart] = Number(value & 1n);
      context.setIrq(hart, (value & 1n) === 1n);
      return;
    }
    const aligned = offset - (offset % 8);
    if (aligned === TIME) {
      const now = this.#time(context);
      const changed = merge(now, offset % 8, size, value);
      this.#state.timeOffset = BigInt.asUintN(64, this.#state.timeOffset + changed - now);
    } else {
      const hart = (aligned - COMPARE) / 8;
      const old = this.#state.compare[hart];
      if (old === undefined) return;
      this.#state.compare[hart] = merge(old, offset % 8, size, value);
    }
    this.tick(context);
  }

  input(): void {}

  nextTimerNs(): bigint | undefined {
    return this.#dueNs;
  }

  tick(context: DeviceContext): void {
    const ticks = this.#ticks(context);
    const now = BigInt.asUintN(64, ticks + this.#state.timeOffset);
    let next: bigint | undefined;
    this.#state.compare.forEach((compare, hart) => {
      context.setIrq(this.harts + hart, now >= compare);
      // Beyond SOON lies what the clock does not reach in centuries, "never" among it.
      const wait = compare - now;
      if (wait > 0n && wait < SOON && (next === undefined || wait < next)) next = wait;
    });
    this.#dueNs = next === undefined ? undefined : this.#toNs(ticks + next);
  }

  save(): unknown {
    return saveAclint(this.#state);
  }

  load(saved: unknown): void {
    this.#state = loadAclint(saved, this.harts);
    this.#dueNs = 0n;
  }

  #time(context: DeviceContext): bigint {
    return BigInt.asUintN(64, this.#ticks(context) + this.#state.timeOffset);
  }

  /** Ticks since power-on. */
  #ticks(context: DeviceContext): bigint {
    return (context.nowNs() * this.#timebaseHz) / NS_PER_SECOND;
  }

  /** The first nanosecond at which that many ticks have passed. */
  #toNs(ticks: bigint): bigint {
    return (ticks * NS_PER_SECOND + this.#timebaseHz - 1n) / this.#timebaseHz;
  }
}

function merge(old: bigint, byte: number, size: AccessSize, value: bigint): bigint {
  if (size === 8) return BigInt.asUintN(64, value);
  const shift = BigInt(8 * byte);
  return (old & ~(0xffff_ffffn << shift)) | ((value & 0xffff_ffffn) << shift);
}
