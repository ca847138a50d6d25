/**
 * Where the hart executes: from virtual addresses to pages of predecoded operations and back. Keeps the jump
 * tables, the large translations that are cached, and what has to happen when code is written.
 */

import { assert, unreachable } from "@blixard/std";
import { cacheBlockPermitted } from "../isa/riscv64/cbo.ts";
import { lengthOf } from "../isa/riscv64/decode.ts";
import type { Hart, TranslationChange } from "../isa/riscv64/hart.ts";
import { accessFault, joined, translate } from "../isa/riscv64/mmu.ts";
import { PAGE_BYTES, SUPERPAGE_REGIONS_MAX } from "../limits.ts";
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

/** Number of the region of a leaf's size that an address lies in; exact, as levels are at least 1. */
function regionOf(high: number, low: number, level: number): number {
  const size = 4096 * 512 ** level;
  return Math.floor(((high >>> 0) * 2 ** 32 + (low >>> 0)) / size);
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
  /** Both jump tables as words. */
  readonly #jumps: Int32Array;
  /** Guest page being executed, as of the last `notePage`; -1 for the scratch page. */
  #page = -1;
  #straddleBits = 0n;
  #storesToCode = 0;
  #lastCodeStored = -1;
  /** Regions of large leaves that are cached, by level; levels 0 and beyond Sv57 stay empty. */
  readonly #superpages = Array.from({ length: 5 }, () => new Set<number>());
  #fetchedGlobal = false;
  fetchMisses = 0;

  constructor(parts: PlaceParts, buffer: ArrayBuffer) {
    this.#hart = parts.hart;
    this.#frames = parts.frames;
    this.#tlb = parts.tlb;
    this.#code = parts.code;
    this.#layout = parts.layout;
    this.#view = new DataView(buffer);
    const [user, supervisor] = this.#layout.jumpsAt;
    assert(supervisor === user + JUMPS_BYTES, "the supervisor's jump table follows the user's");
    this.#jumps = new Int32Array(buffer, user, (2 * JUMPS_BYTES) / 4);
    this.#clearJumps();
  }

  /** Translations of this page, larger than 4 KiB, are cached from now on. */
  noteSuperpage(high: number, low: number, level: number): void {
    // A guest may name regions without end: when the list is full, everything cached is forgotten.
    if (this.superpageRegions >= SUPERPAGE_REGIONS_MAX) this.translationChanged({ kind: "all" });
    this.#superpages[level]?.add(regionOf(high, low, level));
  }

  /** Regions remembered; at most SUPERPAGE_REGIONS_MAX. */
  get superpageRegions(): number {
    let count = 0;
    for (const set of this.#superpages) count += set.size;
    return count;
  }

  #clearJump(at: number): void {
    this.#view.setUint32(at, NO_PAGE, true);
  }
  #clearJumps(): void {
    this.#jumps.fill(NO_PAGE);
  }
  /** Only the supervisor has global pages worth keeping. */
  #clearLocalJumps(): void {
    const words = JUMPS_BYTES / 4;
    this.#jumps.fill(NO_PAGE, 0, words);
    for (let at = words; at < 2 * words; at += JUMP_ENTRY_BYTES / 4) {
      if (this.#jumps[at + 3] === 0) this.#jumps[at] = NO_PAGE;
    }
  }
  #jumpEntry(table: number, low: number): number {
    return table + ((low >>> 12) & (JUMP_ENTRIES - 1)) * JUMP_ENTRY_BYTES;
  }

  /** Forgets what the change makes wrong, and perhaps more. */
  translationChanged(change: TranslationChange): void {
    switch (change.kind) {
      case "sum":
        if (!this.#hart.sum) this.#tlb.flushSupervisorUserPages();
        return;
      case "root":
        this.#clearLocalJumps();
        this.#tlb.flushNonGlobal();
        return;
      case "address": {
        const high = Number(change.address >> 32n);
        const low = Number(change.address & 0xffffffffn);
        // A fence for one address speaks of its leaf entry: a large one may be cached for many addresses.
        const large = this.#superpages.some((set, level) => set.has(regionOf(high, low, level)));
        if (large) break;
        for (const table of this.#layout.jumpsAt) this.#clearJump(this.#jumpEntry(table, low));
        this.#tlb.flushAddress(low | 0);
        return;
      }
      case "all":
        break;
      default:
        unreachable(change);
    }
    for (const set of this.#superpages) set.clear();
    this.#clearJumps();
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
    this.#fetchedGlobal = found.global;
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
    view.setUint32(STATE.zeroOn, cacheBlockPermitted(this.#hart, 4) ? 1 : 0, true);
    view.setUint32(
      STATE.tlb,
      this.#layout.tlbAt + privilege * 2 * this.#layout.tlbTableBytes,
      true,
    );
    const entry = this.#jumpEntry(jumps, low);
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
      view.setUint32(entry + 12, this.#fetchedGlobal ? 1 : 0, true);
    }
    view.setUint32(STATE.pageVa, pageLow, true);
    view.setInt32(STATE.pageVa + 4, high, true);
    view.setUint32(STATE.pageBase, base, true);
    view.setUint32(STATE.span, PAGE_BYTES, true);
    view.setUint32(STATE.ip, base + (low & (PAGE_BYTES - 1)) * (OPERATION_BYTES / 2), true);
  }

  /** Operations of the page at a virtual address if a jump would go to them without asking; else 0. */
  baseAt(pageVa: bigint): number {
    const low = Number(pageVa & 0xffffffffn);
    const entry = this.#jumpEntry(this.#layout.jumpsAt[this.#hart.privilege], low);
    if (this.#view.getBigUint64(entry, true) !== pageVa) return 0;
    return this.#view.getUint32(entry + 8, true);
  }

  /** An instruction whose halves lie in two pages is predecoded alone, into the scratch page. */
  straddle(): void {
    const view = this.#view;
    this.syncPc();
    const low = view.getInt32(STATE.pc, true);
    const high = view.getInt32(STATE.pc + 4, true);
    const { base } = this.#frames;
    const page = this.#code.pageAt(view.getUint32(STATE.pageBase, true));
    const first = this.#frames.readU16(base + page * PAGE_BYTES + PAGE_BYTES - 2);
    const nextLow = (low + 2) | 0;
    const nextHigh = nextLow === 0 ? (high + 1) | 0 : high;
    // A page that jumps go to without asking is not asked for here either: regions do the same.
    const known = this.baseAt(joined(nextHigh, nextLow));
    const second = this.#frames.readU16(
      known === 0
        ? this.#fetchAddress(nextHigh, nextLow)
        : base + this.#code.pageAt(known) * PAGE_BYTES,
    );
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
