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
  /** Timer lines that are high; recomputed, hence not saved. */
  #fired: boolean[];

  constructor(options: AclintOptions) {
    assert(options.harts >= 1 && options.harts <= HARTS_MAX, "ACLINT harts");
    assert(Number.isSafeInteger(options.timebaseHz) && options.timebaseHz > 0, "timebase");
    this.name = options.name;
    this.base = options.base;
    this.harts = options.harts;
    this.#timebaseHz = BigInt(options.timebaseHz);
    this.#state = freshAclint(options.harts);
    this.#fired = Array.from({ length: options.harts }, () => false);
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
    let next: bigint | undefined;
    for (let hart = 0; hart < this.harts; hart++) {
      if (this.#fired[hart] === true) continue;
      const compare = this.#state.compare[hart] ?? 0n;
      const ticks = BigInt.asUintN(64, compare - this.#state.timeOffset);
      // Beyond what the clock reaches in centuries.
      if (ticks >= 1n << 62n) continue;
      const at = (ticks * NS_PER_SECOND + this.#timebaseHz - 1n) / this.#timebaseHz;
      if (next === undefined || at < next) next = at;
    }
    return next;
  }

  tick(context: DeviceContext): void {
    const now = this.#time(context);
    for (let hart = 0; hart < this.harts; hart++) {
      const fired = now >= (this.#state.compare[hart] ?? 0n);
      this.#fired[hart] = fired;
      context.setIrq(this.harts + hart, fired);
    }
  }

  save(): unknown {
    return saveAclint(this.#state);
  }

  load(saved: unknown): void {
    this.#state = loadAclint(saved, this.harts);
    this.#fired = this.#fired.map(() => false);
  }

  #time(context: DeviceContext): bigint {
    const ticks = (context.nowNs() * this.#timebaseHz) / NS_PER_SECOND;
    return BigInt.asUintN(64, ticks + this.#state.timeOffset);
  }
}

function merge(old: bigint, byte: number, size: AccessSize, value: bigint): bigint {
  if (size === 8) return BigInt.asUintN(64, value);
  const shift = BigInt(8 * byte);
  return (old & ~(0xffff_ffffn << shift)) | ((value & 0xffff_ffffn) << shift);
}
