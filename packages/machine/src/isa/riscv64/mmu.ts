/**
 * Address translation: Sv39, Sv48, Sv57 with hardware updating of A and D (Svadu). Addresses come as two
 * 32-bit halves and go as plain numbers below 2^56, because a walk happens at every TLB miss.
 */

import type { GuestTrap } from "./causes.ts";
import { CAUSE, guestTrap } from "./causes.ts";
import type { Hart } from "./hart.ts";
import { USER } from "./hart.ts";

export type Access = "fetch" | "load" | "store";

/** RAM as the walker sees it; physical addresses. */
export interface WalkMemory {
  /** Whether the eight bytes at an aligned address lie in RAM. */
  containsEntry(address: number): boolean;
  readU32(address: number): number;
  /** A write by the processor itself: marks the page dirty, invalidates code in it. */
  writeU32(address: number, value: number): void;
}

/** Answer of a walk, overwritten by the next one: the caller copies what it keeps. */
export interface Translation {
  /** Physical address of the 4 KiB page. */
  page: number;
  user: boolean;
  global: boolean;
  /** Size of the leaf: 0 for 4 KiB, 1 for 2 MiB, 2 for 1 GiB and so on. */
  level: number;
}

const V = 1;
const R = 2;
const W = 4;
const X = 8;
const U = 16;
const G = 32;
const A = 64;
const D = 128;

const answer: Translation = { page: 0, user: false, global: false, level: 0 };

const PAGE_FAULT = { fetch: CAUSE.instructionPage, load: CAUSE.loadPage, store: CAUSE.storePage };
const ACCESS_FAULT = {
  fetch: CAUSE.instructionAccess,
  load: CAUSE.loadAccess,
  store: CAUSE.storeAccess,
};

export const joined = (high: number, low: number): bigint =>
  (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);

export function pageFault(access: Access, high: number, low: number): GuestTrap {
  return guestTrap(PAGE_FAULT[access], joined(high, low));
}
export function accessFault(access: Access, high: number, low: number): GuestTrap {
  return guestTrap(ACCESS_FAULT[access], joined(high, low));
}

function vpn(level: number, high: number, low: number): number {
  switch (level) {
    case 0:
      return (low >>> 12) & 511;
    case 1:
      return (low >>> 21) & 511;
    case 2:
      return ((low >>> 30) | (high << 2)) & 511;
    case 3:
      return (high >>> 7) & 511;
    default:
      return (high >>> 16) & 511;
  }
}

function permitted(hart: Hart, entry: number, access: Access): boolean {
  if ((entry & U) === 0) {
    if (hart.privilege === USER) return false;
  } else if (hart.privilege !== USER && (access === "fetch" || !hart.sum)) return false;
  if (access === "fetch") return (entry & X) !== 0;
  if (access === "store") return (entry & W) !== 0;
  return (entry & R) !== 0 || (hart.mxr && (entry & X) !== 0);
}

/** Bits of the virtual address above the page number that must repeat its sign, by levels 3, 4, 5. */
const canonical = (levels: number, high: number): boolean => {
  const upper = high >> (levels === 3 ? 6 : levels === 4 ? 15 : 24);
  return upper === 0 || upper === -1;
};

/**
 * Translates for one access. Throws GuestTrap: page fault, or access fault when a table lies outside RAM.
 * Whether anything answers at the resulting page is for the caller to find out.
 */
export function translate(
  hart: Hart,
  memory: WalkMemory,
  high: number,
  low: number,
  access: Access,
): Translation {
  const { mode, rootPage } = hart.satp;
  if (mode === 0) {
    // Bare: 56-bit physical addresses; anything above does not exist.
    if (high >>> 24 !== 0) throw accessFault(access, high, low);
    answer.page = (high >>> 0) * 2 ** 32 + ((low & 0xfffff000) >>> 0);
    answer.user = false;
    answer.global = true;
    answer.level = 0;
    return answer;
  }
  const levels = mode - 5;
  if (!canonical(levels, high)) throw pageFault(access, high, low);
  let table = rootPage * 4096;
  for (let level = levels - 1; level >= 0; level--) {
    const at = table + vpn(level, high, low) * 8;
    if (!memory.containsEntry(at)) throw accessFault(access, high, low);
    const entry = memory.readU32(at);
    const entryHigh = memory.readU32(at + 4);
    // Bits 63..54 are reserved without Svnapot and Svpbmt; writable but not readable is reserved too.
    const reserved = entryHigh >>> 22 !== 0 || (entry & (R | W)) === W;
    if ((entry & V) === 0 || reserved) throw pageFault(access, high, low);
    const page = (entry >>> 10) + (entryHigh & 0x3fffff) * 2 ** 22;
    if ((entry & (R | X)) === 0) {
      if ((entry & (A | D | U)) !== 0) throw pageFault(access, high, low);
      table = page * 4096;
      continue;
    }
    if (!permitted(hart, entry, access)) throw pageFault(access, high, low);
    const span = 512 ** level;
    if (page % span !== 0) throw pageFault(access, high, low);
    const wanted = entry | A | (access === "store" ? D : 0);
    if (wanted !== entry) memory.writeU32(at, wanted);
    let offset = 0;
    for (let below = level - 1; below >= 0; below--) offset = offset * 512 + vpn(below, high, low);
    answer.page = (page + offset) * 4096;
    answer.user = (entry & U) !== 0;
    answer.global = (entry & G) !== 0;
    answer.level = level;
    return answer;
  }
  throw pageFault(access, high, low);
}
