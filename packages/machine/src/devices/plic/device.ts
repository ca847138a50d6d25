/**
 * Platform-level interrupt controller, RISC-V PLIC specification 1.0.0 in SiFive's memory map. Contexts lie
 * as on QEMU's virt machine: context 2h is M mode of hart h, context 2h + 1 its S mode. Nothing listens to
 * the M contexts, since the built-in SBI takes no external interrupts; they are there for guests that count.
 */

import { assert } from "@blixard/std";
import type { AccessSize, Device } from "../../types.ts";
import { HARTS_MAX, PLIC_PRIORITY_MAX, PLIC_SOURCES_MAX } from "../limits.ts";
import { freshPlic, loadPlic, savePlic, type PlicState } from "./persist.ts";

const PENDING = 0x1000;
const ENABLE = 0x2000;
const ENABLE_STRIDE = 0x80;
const CONTEXT = 0x200000;
const CONTEXT_STRIDE = 0x1000;

export interface PlicOptions {
  readonly name: string;
  readonly base: number;
  readonly harts: number;
  /** Interrupt sources, numbered from 1. */
  readonly sources: number;
}

/** Level-triggered gateways only; every source of this machine is one. */
export class Plic implements Device {
  readonly name: string;
  readonly base: number;
  readonly sizeBytes = 0x600000;
  readonly harts: number;
  readonly sources: number;
  readonly #contexts: number;
  #state: PlicState;
  /** By context: something enabled is pending above the threshold. */
  #raised: boolean[] = [];

  constructor(options: PlicOptions) {
    assert(options.sources >= 1 && options.sources <= PLIC_SOURCES_MAX, "PLIC sources");
    assert(options.harts >= 1 && options.harts <= HARTS_MAX, "PLIC harts");
    this.name = options.name;
    this.base = options.base;
    this.harts = options.harts;
    this.sources = options.sources;
    this.#contexts = 2 * options.harts;
    this.#state = freshPlic(options.sources + 1, this.#contexts);
    this.#update();
  }

  /** Level of a source's wire. */
  setLevel(source: number, level: boolean): void {
    assert(source >= 1 && source <= this.sources, `PLIC has no source ${source}`);
    const state = this.#state;
    if ((state.levels[source] === 1) === level) return;
    state.levels[source] = level ? 1 : 0;
    if (level && this.#forward(source)) this.#update();
  }

  /** External interrupt of the hart's S mode. */
  externalInterrupt(hart: number): boolean {
    return this.#raised[2 * hart + 1] ?? false;
  }

  read(offset: number, size: AccessSize): bigint {
    if (size !== 4 || offset % 4 !== 0) return 0n;
    if (offset < PENDING) return BigInt(this.#state.priorities[offset / 4] ?? 0);
    if (offset < ENABLE) return BigInt(this.#state.pending[(offset - PENDING) / 4] ?? 0);
    if (offset < CONTEXT) {
      const enables = this.#state.enables[Math.floor((offset - ENABLE) / ENABLE_STRIDE)];
      return BigInt(enables?.[((offset - ENABLE) % ENABLE_STRIDE) / 4] ?? 0);
    }
    const context = Math.floor((offset - CONTEXT) / CONTEXT_STRIDE);
    if (context >= this.#contexts) return 0n;
    const register = offset % CONTEXT_STRIDE;
    if (register === 0) return BigInt(this.#state.thresholds[context] ?? 0);
    return register === 4 ? BigInt(this.#claim(context)) : 0n;
  }

  write(offset: number, size: AccessSize, value: bigint): void {
    if (size !== 4 || offset % 4 !== 0) return;
    const word = Number(value & 0xffffffffn);
    if (offset < PENDING) {
      const source = offset / 4;
      if (source < 1 || source > this.sources) return;
      this.#state.priorities[source] = word & PLIC_PRIORITY_MAX;
    } else if (offset < ENABLE) {
      return;
    } else if (offset < CONTEXT) {
      this.#writeEnable(offset - ENABLE, word);
    } else {
      const context = Math.floor((offset - CONTEXT) / CONTEXT_STRIDE);
      if (context >= this.#contexts) return;
      const register = offset % CONTEXT_STRIDE;
      if (register === 0) this.#state.thresholds[context] = word & PLIC_PRIORITY_MAX;
      else if (register === 4) this.#complete(context, word);
    }
    this.#update();
  }

  input(): void {}

  nextTimerNs(): bigint | undefined {
    return undefined;
  }

  tick(): void {}

  save(): unknown {
    return savePlic(this.#state);
  }

  load(saved: unknown): void {
    this.#state = loadPlic(saved, this.sources + 1, this.#contexts);
    this.#update();
  }

  #writeEnable(offset: number, word: number): void {
    const enables = this.#state.enables[Math.floor(offset / ENABLE_STRIDE)];
    const index = (offset % ENABLE_STRIDE) / 4;
    if (enables === undefined || index >= enables.length) return;
    // Bits of source 0 and of sources that do not exist are hard-wired to zero.
    let wired = 0xffffffff;
    if (index === 0) wired &= ~1;
    const last = this.sources - 32 * index;
    if (last < 31) wired &= 2 ** (last + 1) - 1;
    enables[index] = (word & wired) >>> 0;
  }

  #enabled(context: number, source: number): boolean {
    const word = this.#state.enables[context]?.[source >>> 5] ?? 0;
    return ((word >>> (source & 31)) & 1) === 1;
  }

  /** The gateway: a high level becomes one pending request until its interrupt is completed. */
  #forward(source: number): boolean {
    const state = this.#state;
    if (this.#isPending(source) || state.claimed[source] === 1) return false;
    this.#setPending(source, true);
    return true;
  }

  #isPending(source: number): boolean {
    return (((this.#state.pending[source >>> 5] ?? 0) >>> (source & 31)) & 1) === 1;
  }

  #setPending(source: number, pending: boolean): void {
    const bit = 1 << (source & 31);
    const word = this.#state.pending[source >>> 5] ?? 0;
    this.#state.pending[source >>> 5] = pending ? word | bit : word & ~bit;
  }

  /** Enabled pending source of the highest priority, the lowest number among equals; 0 for none. */
  #best(context: number, above: number): number {
    const { pending, priorities } = this.#state;
    const enables = this.#state.enables[context];
    let best = 0;
    let priority = above;
    for (let index = 0; index < pending.length; index++) {
      let word = (pending[index] ?? 0) & (enables?.[index] ?? 0);
      while (word !== 0) {
        const bit = 31 - Math.clz32(word & -word);
        word &= word - 1;
        const own = priorities[32 * index + bit] ?? 0;
        if (own <= priority) continue;
        best = 32 * index + bit;
        priority = own;
      }
    }
    return best;
  }

  /** Section 9 of the specification: a claim does not look at the threshold. */
  #claim(context: number): number {
    const source = this.#best(context, 0);
    if (source === 0) return 0;
    this.#setPending(source, false);
    this.#state.claimed[source] = 1;
    this.#update();
    return source;
  }

  /** Section 10: a completion of a source that this context has not enabled is ignored. */
  #complete(context: number, source: number): void {
    if (source < 1 || source > this.sources || !this.#enabled(context, source)) return;
    this.#state.claimed[source] = 0;
    if (this.#state.levels[source] === 1) this.#forward(source);
  }

  #update(): void {
    for (let context = 0; context < this.#contexts; context++) {
      const threshold = this.#state.thresholds[context] ?? 0;
      this.#raised[context] = this.#best(context, threshold) !== 0;
    }
  }
}
