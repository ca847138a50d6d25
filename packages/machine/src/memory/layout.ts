/**
 * What lies where in the one WebAssembly memory of a machine:
 *
 *   0         hart state (STATE), then the jump tables of both privileges, then a scratch page of operations
 *   64 KiB    software TLB: user read, user write, supervisor read, supervisor write
 *   ...       predecoded operations, then a count or region for each of them, then where regions' pages are
 *   ...       RAM: a pool of 4 KiB frames, up to 2^addressBits at most
 *
 * Everything is below 2^addressBits (at most 2^31), because the TLB's compare takes bit `addressBits` and
 * those above for the tag.
 */

import { assert } from "@blixard/std";
import { PAGE_BYTES, RAM_BYTES_MAX, RAM_BYTES_MIN } from "../limits.ts";

/** Byte offsets of the hart's state. x0 is at address 0 and stays zero; writes to x0 go to `sink`. */
export const STATE = {
  x: 0,
  sink: 256,
  f: 272,
  pc: 576,
  /** Virtual address of the page being executed; pc = pageVa + (ip - pageBase) / 8. */
  pageVa: 584,
  /** Address of the operation being executed. */
  ip: 592,
  /** Address of the operation of the page's first halfword. */
  pageBase: 596,
  /** Size of the page for jumps inside it; 0 while in the scratch page. */
  span: 600,
  /** Instructions that may still begin. */
  left: 604,
  /** Read table of the current privilege; the write table follows it. */
  tlb: 608,
  /** Jump table of the current privilege. */
  jumps: 612,
  frm: 616,
  fflags: 620,
  fpOn: 624,
  fpDirty: 628,
  /** Host address of the reservation, 0 without one. */
  reservation: 632,
  /** Virtual address of a slow access; result of a slow access or helper; arguments of helpers. */
  address: 640,
  value: 648,
  arguments: 656,
  /** Cause, and what kind of value, of a failed guard. */
  trapCause: 704,
  trapValue: 708,
  /** Set by a helper whose effect the machine must act on before the next instruction. */
  attention: 712,
  /** Whether cbo.zero is permitted at the current privilege. */
  zeroOn: 716,
  /** How often regions returned, by reason: 32 bits each. */
  leftBy: 720,
  /** Number of the region in which the budget ended, for the compiler to find out what is hot; 0 none. */
  region: 744,
  /** sstatus but for FS, UXL and SD; FS while floating point is not dirty. */
  status: 748,
  fs: 752,
  /** SIE's bit if an enabled interrupt is pending, else 0. Holds for a whole stay in WebAssembly. */
  pending: 756,
} as const;

/** Entries {page | tag: i64, pageBase: i32, unused} of direct-mapped tables for jumps between pages. */
export const JUMP_ENTRIES = 1024;
export const JUMP_ENTRY_BYTES = 16;
const JUMPS_AT = 4096;
export const JUMPS_BYTES = JUMP_ENTRIES * JUMP_ENTRY_BYTES;
const SCRATCH_AT = 40960;

export const OPERATION_BYTES = 16;
export const SLOTS_PER_PAGE = PAGE_BYTES / 2;
/** One operation more, which leaves the page at its end. */
export const CODE_PAGE_BYTES = (SLOTS_PER_PAGE + 4) * OPERATION_BYTES;

const TLB_AT = 65536;
const WASM_PAGE_BYTES = 65536;
const CODE_BYTES_MAX = 96 * 1024 * 1024;
const CODE_BYTES_MIN = 16 * 1024 * 1024;
/** Bytes of operation for each byte of count. */
const COUNTS_SHARE = OPERATION_BYTES / 4;

/** Pages that one region may lie in; numbers that regions may have. */
export const REGION_PAGES_MAX = 8;
export const REGION_NUMBERS = 16_384;
export const BASES_SHIFT = 5;
const BASES_BYTES = 2 ** BASES_SHIFT;
assert(BASES_BYTES === 4 * REGION_PAGES_MAX, "a region's pages by shifting");

export interface Layout {
  /** Host addresses are below 2^addressBits. */
  readonly addressBits: number;
  /** Bytes of one of the four TLB tables. */
  readonly tlbTableBytes: number;
  readonly tlbAt: number;
  /** Jump tables of user and supervisor. */
  readonly jumpsAt: readonly [number, number];
  readonly scratchAt: number;
  readonly codeAt: number;
  readonly codeBytes: number;
  /** For each predecoded operation 32 bits: the region that begins there (top bit set), or executions. */
  readonly countsAt: number;
  readonly countsBytes: number;
  /** For each region, by number, addresses of its pages' operations: REGION_PAGES_MAX of 32 bits. */
  readonly basesAt: number;
  readonly ramAt: number;
  readonly wasmPages: number;
}

export function layoutFor(ramBytes: number): Layout {
  assert(ramBytes % PAGE_BYTES === 0, "RAM is whole pages");
  assert(ramBytes >= RAM_BYTES_MIN && ramBytes <= RAM_BYTES_MAX, "size of RAM");
  const codeBytes = Math.min(CODE_BYTES_MAX, Math.max(CODE_BYTES_MIN, ramBytes / 2));
  for (let addressBits = 26; addressBits <= 31; addressBits++) {
    // Indexed by the address's bits 12 to addressBits, both included; eight bytes an entry.
    const tlbTableBytes = 2 ** (addressBits - 8);
    const codeAt = TLB_AT + 4 * tlbTableBytes;
    const countsAt = codeAt + Math.ceil(codeBytes / WASM_PAGE_BYTES) * WASM_PAGE_BYTES;
    const countsBytes = Math.ceil(codeBytes / COUNTS_SHARE / WASM_PAGE_BYTES) * WASM_PAGE_BYTES;
    const basesAt = countsAt + countsBytes;
    const ramAt = basesAt + REGION_NUMBERS * BASES_BYTES;
    const end = ramAt + ramBytes;
    if (end > 2 ** addressBits) continue;
    return {
      addressBits,
      tlbTableBytes,
      tlbAt: TLB_AT,
      jumpsAt: [JUMPS_AT, JUMPS_AT + JUMPS_BYTES],
      scratchAt: SCRATCH_AT,
      codeAt,
      codeBytes,
      countsAt,
      countsBytes,
      basesAt,
      ramAt,
      wasmPages: Math.ceil(end / WASM_PAGE_BYTES),
    };
  }
  throw new RangeError("RAM does not fit below 2^31");
}

assert(JUMPS_AT + 2 * JUMPS_BYTES <= SCRATCH_AT, "tables do not overlap");
assert(SCRATCH_AT + 4 * OPERATION_BYTES <= TLB_AT, "the scratch page fits");
