/**
 * Where the hart executes: from virtual addresses to pages of predecoded operations and back. Keeps the jump
 * tables, the large translations that are cached, and what has to happen when code is written.
 */

import { assert } from "@blixard/std";
import { lengthOf } from "../isa/riscv64/decode.ts";
import type { Hart, TranslationChange } from "../isa/riscv64/hart.ts";
import { accessFault, joined, translate } from "../isa/riscv64/mmu.ts";
import { PAGE_BYTES } from "../limits.ts";
import type { Frames } from "../memory/frames.ts";
import type { Layout } from "../memory/layout.ts";
import {
  JUMP_ENTRIES,
  JUMP_ENTRY_BYTES,
  JUMPS_BYTES,
  OPERATION_BYTES,
  SLOTS_PER_PAGE,
  STATE,
} from "../memory/layout.ts";
import type { SoftTlb } from "../memory/tlb.ts";
import type { CodePages } from "./code-pages.ts";
import { SPECIAL } from "./handlers.ts";

/** Tag of an empty jump entry: no page has low bits. */
const NO_PAGE = 1;
/** Stores in a row to one page of code after which its operations are given up. */
const STORES_TO_CODE_MAX = 16;

interface SuperpageRegion {
  readonly base: bigint;
  readonly bits: bigint;
}

export interface PlaceParts {
  readonly hart: Hart;
  readonly frames: Frames;
  readonly tlb: SoftTlb;
  readonly code: CodePages;
  readonly layout: Layout;
}

export class Place {
  readonly #hart: Hart;
  readonly #frames: Frames;
  readonly #tlb: SoftTlb;
  readonly #code: CodePages;
  readonly #layout: Layout;
  readonly #view: DataView;
  /** Guest page being executed, as of the last `notePage`; -1 for the scratch page. */
  #page = -1;
  #straddleBits = 0n;
  #storesToCode = 0;
  #lastCodeStored = -1;
  #superpages: SuperpageRegion[] = [];
  fetchMisses = 0;

  constructor(parts: PlaceParts, buffer: ArrayBuffer) {
    this.#hart = parts.hart;
    this.#frames = parts.frames;
    this.#tlb = parts.tlb;
    this.#code = parts.code;
    this.#layout = parts.layout;
    this.#view = new DataView(buffer);
    this.#clearJumps();
  }

  /** Translations of this page, larger than 4 KiB, are cached from now on. */
  noteSuperpage(high: number, low: number, level: number): void {
    const bits = BigInt(12 + 9 * level);
    const base = joined(high, low) >> bits;
    if (this.#superpages.some((known) => known.base === base && known.bits === bits)) return;
    this.#superpages.push({ base, bits });
  }

  #clearJumps(): void {
    const [user] = this.#layout.jumpsAt;
    for (let at = user; at < user + 2 * JUMPS_BYTES; at += JUMP_ENTRY_BYTES) {
      this.#view.setBigUint64(at, BigInt(NO_PAGE), true);
    }
  }

  translationChanged(change: TranslationChange): void {
    if (change.kind === "sum") {
      if (!this.#hart.sum) this.#tlb.flushSupervisorUserPages();
      return;
    }
    this.#clearJumps();
    if (change.kind === "root") {
      this.#tlb.flushNonGlobal();
      return;
    }
    if (change.kind === "address") {
      const { address } = change;
      // A fence for one address speaks of its leaf entry: a large one may be cached for many addresses.
      const large = this.#superpages.some(({ base, bits }) => address >> bits === base);
      if (!large) {
        this.#tlb.flushAddress(Number(address & 0xffffffffn) | 0);
        return;
      }
    }
    this.#superpages = [];
    this.#tlb.flushAll();
  }

  /** Bytes of a guest page are about to change. */
  codeWritten(page: number, offset: number, length: number): void {
    if (this.#code.baseOf(page) === 0) return;
    this.#storesToCode = page === this.#lastCodeStored ? this.#storesToCode + 1 : 1;
    this.#lastCodeStored = page;
    if (page === this.#page || this.#storesToCode < STORES_TO_CODE_MAX) {
      this.#code.invalidate(page, offset, length);
      return;
    }
    this.#code.drop(page);
    this.#clearJumps();
  }

  /** Address of the operations of a guest page; predecoded pages lose their write entries. */
  #codeBase(page: number): number {
    const found = this.#code.baseOf(page);
    if (found !== 0) return found;
    if (this.#code.full) {
      this.#code.dropAll();
      this.#clearJumps();
    }
    const base = this.#code.create(page);
    this.#tlb.forbidWrites(this.#frames.frameOf(page));
    return base;
  }

  /** Physical address that `address` is fetched from. Throws GuestTrap. */
  #fetchAddress(high: number, low: number): number {
    const found = translate(this.#hart, this.#frames, high, low, "fetch");
    const physical = found.page + (low & (PAGE_BYTES - 1));
    if (found.level > 0) this.noteSuperpage(high, low, found.level);
    if (!this.#frames.contains(physical, 2)) throw accessFault("fetch", high, low);
    return physical;
  }

  /** Sets the interpreter on pc: page, operation, tables of the privilege. Throws GuestTrap. */
  enterPage(): void {
    const view = this.#view;
    const low = view.getInt32(STATE.pc, true);
    const high = view.getInt32(STATE.pc + 4, true);
    const privilege = this.#hart.privilege;
    const jumps = this.#layout.jumpsAt[privilege];
    view.setUint32(STATE.jumps, jumps, true);
    view.setUint32(
      STATE.tlb,
      this.#layout.tlbAt + privilege * 2 * this.#layout.tlbTableBytes,
      true,
    );
    const entry = jumps + ((low >>> 12) & (JUMP_ENTRIES - 1)) * JUMP_ENTRY_BYTES;
    const pageLow = (low & ~(PAGE_BYTES - 1)) >>> 0;
    let base: number;
    const known =
      view.getUint32(entry, true) === pageLow && view.getInt32(entry + 4, true) === high;
    if (known) base = view.getUint32(entry + 8, true);
    else {
      this.fetchMisses++;
      const page = this.#frames.pageOf(this.#fetchAddress(high, low));
      base = this.#codeBase(page);
      view.setUint32(entry, pageLow, true);
      view.setInt32(entry + 4, high, true);
      view.setUint32(entry + 8, base, true);
    }
    view.setUint32(STATE.pageVa, pageLow, true);
    view.setInt32(STATE.pageVa + 4, high, true);
    view.setUint32(STATE.pageBase, base, true);
    view.setUint32(STATE.span, PAGE_BYTES, true);
    view.setUint32(STATE.ip, base + (low & (PAGE_BYTES - 1)) * (OPERATION_BYTES / 2), true);
  }

  /** An instruction whose halves lie in two pages is predecoded alone, into the scratch page. */
  straddle(): void {
    const view = this.#view;
    this.syncPc();
    const low = view.getInt32(STATE.pc, true);
    const high = view.getInt32(STATE.pc + 4, true);
    const first = this.#frames.readU16(this.#fetchAddress(high, low));
    const nextLow = (low + 2) | 0;
    const nextHigh = nextLow === 0 ? (high + 1) | 0 : high;
    const second = this.#frames.readU16(this.#fetchAddress(nextHigh, nextLow));
    const at = this.#layout.scratchAt;
    this.#straddleBits = BigInt((first | (second << 16)) >>> 0);
    this.#code.write(at, first | (second << 16), undefined);
    view.setUint16(at + 2 * OPERATION_BYTES, SPECIAL.pageEnd, true);
    view.setInt32(STATE.pageVa, low, true);
    view.setInt32(STATE.pageVa + 4, high, true);
    view.setUint32(STATE.pageBase, at, true);
    view.setUint32(STATE.ip, at, true);
    view.setUint32(STATE.span, 0, true);
    // Its own dispatch will count it.
    view.setInt32(STATE.left, view.getInt32(STATE.left, true) + 1, true);
  }

  /** Derives pc from the operation being executed. */
  syncPc(): void {
    const view = this.#view;
    const offset = (view.getUint32(STATE.ip, true) - view.getUint32(STATE.pageBase, true)) >>> 3;
    const low = view.getUint32(STATE.pageVa, true) + offset;
    const carry = low >= 2 ** 32 ? 1 : 0;
    view.setUint32(STATE.pc, low, true);
    view.setUint32(STATE.pc + 4, view.getUint32(STATE.pageVa + 4, true) + carry, true);
  }

  /** Finds out which page is being executed: jumps inside WebAssembly do not tell. */
  notePage(): void {
    const base = this.#view.getUint32(STATE.pageBase, true);
    this.#page = base === this.#layout.scratchAt ? -1 : this.#code.pageAt(base);
  }

  /** Encoding of the instruction being executed, for trap values. */
  currentBits(): bigint {
    const view = this.#view;
    const base = view.getUint32(STATE.pageBase, true);
    if (base === this.#layout.scratchAt) return this.#straddleBits;
    const offset = (view.getUint32(STATE.ip, true) - base) >>> 3;
    const at = this.#frames.base + this.#code.pageAt(base) * PAGE_BYTES + offset;
    const first = this.#frames.readU16(at);
    if (lengthOf(first) === 2) return BigInt(first);
    return BigInt((first | (this.#frames.readU16(at + 2) << 16)) >>> 0);
  }
}

assert(SLOTS_PER_PAGE * 2 === PAGE_BYTES, "a slot for every halfword");
