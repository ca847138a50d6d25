/**
 * Memory accesses that the interpreter's fast path gave up on: TLB misses, misaligned ones, devices, stores
 * to pages of code. Everything about one access is decided here, from translation to the value.
 */

import { CAUSE, guestTrap } from "../isa/riscv64/causes.ts";
import type { Hart } from "../isa/riscv64/hart.ts";
import { USER } from "../isa/riscv64/hart.ts";
import type { Translation } from "../isa/riscv64/mmu.ts";
import { accessFault, joined, translate } from "../isa/riscv64/mmu.ts";
import { PAGE_BYTES } from "../limits.ts";
import type { Frames } from "../memory/frames.ts";
import type { SoftTlb } from "../memory/tlb.ts";
import type { AccessSize, Bus } from "../types.ts";
import type { CodePages } from "./code-pages.ts";

export interface AccessParts {
  readonly hart: Hart;
  readonly frames: Frames;
  readonly tlb: SoftTlb;
  readonly code: CodePages;
  readonly bus: Bus | undefined;
  /** A device was accessed: interrupts may have changed. */
  deviceTouched(): void;
  /** Translations of pages larger than 4 KiB are cached from now on. */
  superpageCached(high: number, low: number, level: number): void;
}

type Direction = "load" | "store";

export class SlowAccess {
  readonly #parts: AccessParts;
  readonly #view: DataView;

  constructor(parts: AccessParts, buffer: ArrayBuffer) {
    this.#parts = parts;
    this.#view = new DataView(buffer);
  }

  #fill(found: Translation, page: number, high: number, low: number, access: Direction): void {
    const { hart, tlb, frames } = this.#parts;
    if (found.level > 0) this.#parts.superpageCached(high, low, found.level);
    const marks = { global: found.global, user: found.user };
    const isUser = hart.privilege === USER;
    const host = frames.frameOf(page);
    if (access === "store") {
      frames.markDirty(page);
      tlb.fill(isUser ? "userWrite" : "supervisorWrite", high, low, host, marks);
    } else tlb.fill(isUser ? "userRead" : "supervisorRead", high, low, host, marks);
  }

  /** Physical address for one byte's access; caches the translation of a page of RAM. */
  #physical(high: number, low: number, access: Direction): number {
    const { hart, frames, code } = this.#parts;
    const found = translate(hart, frames, high, low, access);
    const physical = found.page + (low & (PAGE_BYTES - 1));
    if (frames.contains(physical, 1)) {
      const page = frames.pageOf(physical);
      if (access === "load" || code.baseOf(page) === 0) this.#fill(found, page, high, low, access);
    }
    return physical;
  }

  /** Address of the next page, as halves. */
  #nextPage(high: number, low: number): readonly [number, number] {
    const next = ((low | (PAGE_BYTES - 1)) + 1) | 0;
    return [next === 0 ? (high + 1) | 0 : high, next];
  }

  #crosses(low: number, size: number): boolean {
    return (low & (PAGE_BYTES - 1)) + size > PAGE_BYTES;
  }

  /** Physical addresses of the two parts of an access that crosses into another page; both in RAM. */
  #parted(high: number, low: number, size: number, access: Direction): readonly [number, number] {
    const { frames } = this.#parts;
    const inFirst = PAGE_BYTES - (low & (PAGE_BYTES - 1));
    const [nextHigh, nextLow] = this.#nextPage(high, low);
    const first = this.#physical(high, low, access);
    const second = this.#physical(nextHigh, nextLow, access);
    if (!frames.contains(first, inFirst) || !frames.contains(second, size - inFirst)) {
      throw accessFault(access, high, low);
    }
    return [first, second];
  }

  /** Zero-extended value. Throws GuestTrap. */
  load(high: number, low: number, size: number): bigint {
    const { frames, bus } = this.#parts;
    if (this.#crosses(low, size)) {
      const [first, second] = this.#parted(high, low, size, "load");
      const inFirst = PAGE_BYTES - (low & (PAGE_BYTES - 1));
      const value = this.#read(frames.hostOf(first), inFirst);
      return value | (this.#read(frames.hostOf(second), size - inFirst) << BigInt(8 * inFirst));
    }
    const physical = this.#physical(high, low, "load");
    if (frames.contains(physical, size)) return this.#read(frames.hostOf(physical), size);
    if (bus === undefined || physical % size !== 0) throw accessFault("load", high, low);
    // The size is one of the four that instructions have.
    const answer = bus.read(physical, size as AccessSize);
    if (!answer.ok) throw accessFault("load", high, low);
    this.#parts.deviceTouched();
    return BigInt.asUintN(8 * size, answer.value);
  }

  /** Throws GuestTrap, with nothing written. */
  store(high: number, low: number, size: number, value: bigint): void {
    const { frames, bus } = this.#parts;
    if (this.#crosses(low, size)) {
      const [first, second] = this.#parted(high, low, size, "store");
      const inFirst = PAGE_BYTES - (low & (PAGE_BYTES - 1));
      this.#write(first, inFirst, value);
      this.#write(second, size - inFirst, value >> BigInt(8 * inFirst));
      return;
    }
    const physical = this.#physical(high, low, "store");
    if (frames.contains(physical, size)) {
      this.#write(physical, size, value);
      return;
    }
    if (bus === undefined || physical % size !== 0) throw accessFault("store", high, low);
    // As in load.
    if (!bus.write(physical, size as AccessSize, BigInt.asUintN(8 * size, value))) {
      throw accessFault("store", high, low);
    }
    this.#parts.deviceTouched();
  }

  /** Host address of an atomic's operand, ready to be written unless it is only reserved. */
  place(high: number, low: number, size: number, reserve: boolean): number {
    const { frames } = this.#parts;
    const access = reserve ? "load" : "store";
    if (low % size !== 0) {
      throw guestTrap(reserve ? CAUSE.loadMisaligned : CAUSE.storeMisaligned, joined(high, low));
    }
    const physical = this.#physical(high, low, access);
    if (!frames.contains(physical, size)) throw accessFault(access, high, low);
    if (!reserve) this.#noteWrite(physical, size);
    return frames.hostOf(physical);
  }

  /** Throws GuestTrap unless a cache block is in RAM and may be written. */
  checkBlock(high: number, low: number, bytes: number): void {
    const physical = this.#physical(high, low, "store");
    if (!this.#parts.frames.contains(physical, bytes)) throw accessFault("store", high, low);
  }

  #noteWrite(physical: number, size: number): void {
    const { frames } = this.#parts;
    const page = frames.pageOf(physical);
    frames.onWrite(page, physical % PAGE_BYTES, size);
    frames.markDirty(page);
  }

  #read(host: number, size: number): bigint {
    const view = this.#view;
    switch (size) {
      case 8:
        return view.getBigUint64(host, true);
      case 4:
        return BigInt(view.getUint32(host, true));
      default: {
        let value = 0n;
        for (let i = size - 1; i >= 0; i--) {
          value = (value << 8n) | BigInt(view.getUint8(host + i));
        }
        return value;
      }
    }
  }

  #write(physical: number, size: number, value: bigint): void {
    this.#noteWrite(physical, size);
    const host = this.#parts.frames.hostOf(physical);
    const view = this.#view;
    if (size === 8) {
      view.setBigUint64(host, value, true);
      return;
    }
    for (let i = 0; i < size; i++) {
      view.setUint8(host + i, Number((value >> BigInt(8 * i)) & 0xffn));
    }
  }
}
