/**
 * Constrained-random guests: a memory image, registers and privileged state, drawn so that interesting things
 * happen often: page faults, misalignment, code that writes code, CSRs, every rounding mode.
 */

import { present } from "@blixard/std";
import type { Prng } from "@blixard/std";
import { CSR } from "../../isa/riscv64/csr.ts";
import { STATUS } from "../../isa/riscv64/hart.ts";
import { INSTRUCTIONS } from "../../isa/riscv64/decode.ts";
import type { Instruction } from "../../isa/riscv64/encoding.ts";

export const SUITES = ["i", "m", "a", "f", "d", "c", "zb", "zicsr", "system", "mix"] as const;
export type Suite = (typeof SUITES)[number];

export const RAM_BASE = 0x8000_0000;
export const RAM_BYTES = 1024 * 1024;
export const PAGE = 4096;
/** Pages of the image: code, data, the trap handler, page tables of two address spaces. */
const CODE_PAGES = 3;
const DATA_FIRST = 3;
const DATA_PAGES = 8;
/** Virtual page that leads to the device. */
const DEVICE_PAGE = 11;
const HANDLER_PAGE = 12;
export const DEVICE_BASE = 0x1000_0000;
export const DEVICE_BYTES = 0x80;
const TABLES_FIRST = 16;
export const IMAGE_PAGES = 40;
/** Where the address spaces map the pages above, in order; page n at VIRTUAL + n * 4096. */
const VIRTUAL = 0x4000_0000n;
const HIGH_VIRTUAL = 0xffffffffc0000000n;

export interface Guest {
  readonly image: Uint8Array;
  readonly pc: bigint;
  readonly x: readonly bigint[];
  readonly f: readonly bigint[];
  readonly privilege: 0 | 1;
  readonly stvec: bigint;
  readonly satp: {
    readonly mode: 0 | 8 | 9 | 10;
    readonly asid: number;
    readonly rootPage: number;
  };
  readonly fs: number;
  readonly frm: number;
  readonly fflags: number;
  readonly sum: boolean;
  readonly mxr: boolean;
  readonly sie: boolean;
  readonly enabled: number;
  readonly timerIn: number;
  readonly scounteren: number;
  readonly senvcfg: number;
}

const u64 = (random: Prng): bigint => (BigInt(random.u32()) << 32n) | BigInt(random.u32());

const INTERESTING = [
  0n,
  1n,
  -1n,
  2n ** 63n,
  2n ** 63n - 1n,
  2n ** 31n,
  -(2n ** 31n),
  0xffffffffn,
  0x80n,
];
const FLOATS = [
  0x3ff0000000000000n,
  0x7ff0000000000000n,
  0x7ff8000000000000n,
  0x7ff0000000000001n,
  0x0000000000000001n,
  0x0010000000000000n,
  0x7fefffffffffffffn,
  0x4340000000000000n,
  0xffffffff3f800000n,
  0xffffffff7f800000n,
  0xffffffff7f800001n,
  0xffffffff00800000n,
  0xffffffff00000001n,
  0xffffffff7f7fffffn,
  0xffffffff4b000000n,
];

function value(random: Prng): bigint {
  if (random.chance(0.4)) {
    return BigInt.asUintN(64, present(INTERESTING[random.below(INTERESTING.length)], "value"));
  }
  return random.chance(0.5) ? u64(random) : BigInt(random.u32() >>> random.below(32));
}

function floatValue(random: Prng): bigint {
  const sign = random.chance(0.5) ? 0n : 1n << 63n;
  if (random.chance(0.3)) return present(FLOATS[random.below(FLOATS.length)], "float") ^ sign;
  if (random.chance(0.5)) {
    const single = BigInt(random.u32() & 0x807fffff) | (BigInt(120 + random.below(16)) << 23n);
    return 0xffffffff00000000n | BigInt.asUintN(32, single);
  }
  if (random.chance(0.2)) return u64(random);
  return sign | (BigInt(1015 + random.below(16)) << 52n) | (u64(random) & (2n ** 52n - 1n));
}

/** Registers that hold addresses at the start; instructions that access memory prefer them. */
const POINTERS = [8, 9, 10, 11, 12, 13] as const;
const CODE_POINTERS = [5, 6] as const;

const CSRS: readonly number[] = [
  ...Object.values(CSR).filter((number) => number !== CSR.satp && number !== CSR.stvec),
  CSR.sstatus,
  CSR.sstatus,
  CSR.fcsr,
  CSR.frm,
];

const EXTENSIONS: Readonly<Record<Suite, readonly string[]>> = {
  i: ["i"],
  m: ["m"],
  a: ["a"],
  f: ["f"],
  d: ["d", "f"],
  c: [],
  zb: ["zba", "zbb", "zbs"],
  zicsr: ["zicsr"],
  system: ["system", "zicbo", "zicsr"],
  mix: ["i", "m", "a", "f", "d", "zba", "zbb", "zbs", "zicsr", "system", "zicbo"],
};
const rowsOf = (suite: Suite): readonly Instruction[] =>
  INSTRUCTIONS.filter((row) => EXTENSIONS[suite].includes(row.extension));
const ROWS = Object.fromEntries(SUITES.map((suite) => [suite, rowsOf(suite)]));
const BASE_ROWS = rowsOf("i");

function setField(bits: number, at: number, width: number, to: number): number {
  const mask = ((1 << width) - 1) << at;
  return (bits & ~mask) | ((to << at) & mask);
}
const pick = <T>(random: Prng, from: readonly T[]): T =>
  present(from[random.below(from.length)], "choice");

function branchOffset(random: Prng): number {
  const distance = random.chance(0.9) ? random.below(24) : random.below(1200);
  return (random.chance(0.7) ? distance + 4 : -distance) & ~1;
}

/** Free bits of an encoding at random, steered towards operands that do something. */
function encoding(random: Prng, row: Instruction): number {
  let bits = row.match | (random.u32() & ~row.mask);
  const set = (at: number, width: number, to: number): void => {
    const mask = ((1 << width) - 1) << at;
    if ((row.mask & mask) === 0) bits = setField(bits, at, width, to);
  };
  const memory = ["S"].includes(row.format) || /^(l[bhwd]|fl)/.test(row.name);
  const pointed = memory || row.extension === "a" || row.extension === "zicbo";
  if (pointed && random.chance(0.85)) set(15, 5, pick(random, POINTERS));
  if (memory && random.chance(0.8)) {
    set(25, 7, random.chance(0.5) ? 0 : random.below(4));
    if (row.format === "I") set(20, 5, random.below(32) & (random.chance(0.7) ? 24 : 31));
    else set(7, 5, random.below(32) & (random.chance(0.7) ? 24 : 31));
  }
  // Pointers live longer when most results go elsewhere.
  if (row.format !== "S" && row.format !== "B" && random.chance(0.8))
    set(7, 5, 14 + random.below(18));
  if (row.format === "B") {
    const imm = branchOffset(random);
    bits = setField(bits, 7, 1, imm >> 11);
    bits = setField(bits, 8, 4, imm >> 1);
    bits = setField(bits, 25, 6, imm >> 5);
    bits = setField(bits, 31, 1, imm >> 12);
  }
  if (row.format === "J") {
    const imm = branchOffset(random);
    bits = setField(bits, 21, 10, imm >> 1);
    bits = setField(bits, 20, 1, imm >> 11);
    bits = setField(bits, 12, 8, imm >> 12);
    bits = setField(bits, 31, 1, imm >> 20);
  }
  if (row.name === "jalr" && random.chance(0.9)) {
    bits = setField(bits, 15, 5, pick(random, CODE_POINTERS));
    bits = setField(bits, 20, 12, random.below(64) - 32);
  }
  if (row.extension === "zicsr" && random.chance(0.95)) {
    const csr = random.chance(0.02) ? CSR.satp : pick(random, CSRS);
    bits = setField(bits, 20, 12, csr);
    if (csr === CSR.satp) bits = setField(bits, 15, 5, 7);
    // SIE alone, as kernels do it: the executions have a way of their own for it.
    if (csr === CSR.sstatus && random.chance(0.5)) bits = setField(bits, 15, 5, STATUS.sie);
  }
  return bits >>> 0;
}

class Writer {
  readonly view: DataView;
  readonly image = new Uint8Array(IMAGE_PAGES * PAGE);
  constructor() {
    this.view = new DataView(this.image.buffer);
  }
  u16(page: number, offset: number, to: number): void {
    this.view.setUint16(page * PAGE + offset, to, true);
  }
  u32(page: number, offset: number, to: number): void {
    this.view.setUint32(page * PAGE + offset, to, true);
  }
  u64(page: number, offset: number, to: bigint): void {
    this.view.setBigUint64(page * PAGE + offset, to, true);
  }
}

function writeCode(random: Prng, suite: Suite, writer: Writer, offset: number): void {
  const rows = present(ROWS[suite], "suite");
  let at = offset;
  const end = CODE_PAGES * PAGE - 8;
  for (let n = 0; n < 160 && at < end; n++) {
    const compressed = suite === "c" ? random.chance(0.8) : random.chance(0.15);
    if (compressed || rows.length === 0) {
      const quadrant = random.below(3);
      let bits = (random.u32() & 0xfffc) | quadrant;
      // Far jumps of the compressed forms would leave the program most of the time.
      if (quadrant === 1 && bits >>> 13 === 5 && random.chance(0.9)) bits = 0xa001 | (2 << 3);
      writer.u16(0, at, bits);
      at += 2;
      continue;
    }
    let row = random.chance(0.75) ? pick(random, rows) : pick(random, BASE_ROWS);
    const rare = row.name === "wfi" || row.name === "sret" || row.name === "ecall";
    if (rare && random.chance(0.7)) row = pick(random, BASE_ROWS);
    const bits = encoding(random, row);
    writer.u16(0, at, bits & 0xffff);
    writer.u16(0, at + 2, bits >>> 16);
    at += 4;
  }
}

/** The handler goes on behind the instruction that trapped: sepc += 4, x31 counts. */
function writeHandler(writer: Writer): void {
  const code = [0x14179f73, 0x14102f73, 0x004f0f13, 0x141f1073, 0x001f8f93, 0x10200073];
  for (const [n, bits] of code.slice(1).entries()) writer.u32(HANDLER_PAGE, n * 4, bits);
}

/** One address space: both ranges lead to the image's pages; data pages have permissions at random. */
function writeTables(
  random: Prng,
  writer: Writer,
  firstPage: number,
  levels: number,
  handler: number,
): number {
  let nextPage = firstPage;
  const root = nextPage++;
  const ppn = (page: number): bigint => BigInt(RAM_BASE / PAGE + page);
  const tableFor = new Map<string, number>([["", root]]);
  const map = (address: bigint, entry: bigint, leafLevel: number): void => {
    let path = "";
    let table = root;
    for (let level = levels - 1; level >= leafLevel; level--) {
      const index = Number((address >> BigInt(12 + 9 * level)) & 511n);
      if (level === leafLevel) {
        writer.u64(table, index * 8, entry);
        return;
      }
      path += `/${index}`;
      let next = tableFor.get(path);
      if (next === undefined) {
        next = nextPage++;
        tableFor.set(path, next);
        writer.u64(table, index * 8, (ppn(next) << 10n) | 1n);
      }
      table = next;
    }
  };
  const leaf = (page: number, flags: number): bigint => (ppn(page) << 10n) | BigInt(flags);
  const accessed = (): number => (random.chance(0.5) ? 0xc0 : random.below(4) << 6);
  for (let page = 0; page < DEVICE_PAGE; page++) {
    const isCode = page < CODE_PAGES;
    let flags = 0xf | accessed();
    if (!isCode && random.chance(0.5)) flags = random.below(16) | accessed();
    if (isCode && random.chance(0.3)) flags &= ~4;
    for (const base of [VIRTUAL, HIGH_VIRTUAL]) {
      const user = random.chance(isCode ? 0.3 : 0.5) ? 16 : 0;
      map(base + BigInt(page * PAGE), leaf(page, flags | user), 0);
    }
  }
  const devicePpn = BigInt(DEVICE_BASE / PAGE) << 10n;
  for (const base of [VIRTUAL, HIGH_VIRTUAL]) {
    const deviceFlags = random.chance(0.5) ? 0xd7 : 0xc7;
    map(base + BigInt(DEVICE_PAGE * PAGE), devicePpn | BigInt(deviceFlags), 0);
    map(base + BigInt(HANDLER_PAGE * PAGE), leaf(HANDLER_PAGE, handler), 0);
    // A large page over all of RAM, sometimes misaligned.
    const large = random.chance(0.8) ? 0 : 1;
    const user = random.chance(0.5) ? 16 : 0;
    map(base + 2n ** 21n, leaf(large, 0xc7 | user), 1);
  }
  return root;
}

function devicePointer(random: Prng, base: bigint): bigint {
  const bare = base === BigInt(RAM_BASE);
  const device = bare ? BigInt(DEVICE_BASE) : base + BigInt(DEVICE_PAGE * PAGE);
  return device + BigInt(random.below(random.chance(0.8) ? 12 : 24) * 8);
}

function pointer(random: Prng, base: bigint): bigint {
  const bad = random.below(40);
  if (bad === 0) return u64(random);
  if (bad === 1) return base ^ (1n << BigInt(32 + random.below(32)));
  const page = random.chance(0.9) ? DATA_FIRST + random.below(DATA_PAGES) : random.below(3);
  const edge = random.chance(0.25) ? PAGE - 16 + random.below(24) : random.below(PAGE / 8) * 8;
  const offset = random.chance(0.8) ? edge : edge + random.below(8);
  return BigInt.asUintN(64, base + BigInt(page * PAGE + offset));
}

/** Draws one guest. The same generator state gives the same guest. */
export function drawGuest(random: Prng, suite: Suite): Guest {
  const writer = new Writer();
  for (let page = DATA_FIRST; page < DATA_FIRST + DATA_PAGES; page++) {
    for (let at = 0; at < PAGE; at += 256) writer.u64(page, at, floatValue(random));
  }
  const entry = random.chance(0.3) ? PAGE - 2 * random.below(40) : random.below(PAGE / 2) * 2;
  writeCode(random, suite, writer, entry);
  writeHandler(writer);
  const mode = pick(random, [0, 8, 9, 10] as const);
  const levels = mode === 0 ? 3 : mode - 5;
  // Global would be a promise about every address space, which a random satp does not keep.
  const writesSatp = suite === "zicsr" || suite === "system" || suite === "mix";
  const handler = writesSatp ? 0xcb : 0xeb;
  const roots = [
    writeTables(random, writer, TABLES_FIRST, levels, handler),
    writeTables(random, writer, TABLES_FIRST + 12, levels, handler),
  ];
  const high = random.chance(0.5);
  const paged = high ? HIGH_VIRTUAL : VIRTUAL;
  const base = mode === 0 ? BigInt(RAM_BASE) : paged;
  const large = mode !== 0 && random.chance(0.2) ? 2n ** 21n : 0n;
  const x = Array.from({ length: 32 }, (_, n) => (n === 0 ? 0n : value(random)));
  for (const register of POINTERS) x[register] = pointer(random, base + large);
  if (random.chance(0.4)) x[12] = devicePointer(random, base);
  if (random.chance(0.4)) x[13] = devicePointer(random, base);
  for (const register of CODE_POINTERS) x[register] = base + BigInt(entry + 2 * random.below(100));
  const rootPage = (n: number): number => RAM_BASE / PAGE + present(roots[n], "root");
  x[7] = (BigInt(mode) << 60n) | (BigInt(random.below(4)) << 44n) | BigInt(rootPage(1));
  return {
    image: writer.image,
    pc: base + BigInt(entry),
    x,
    f: Array.from({ length: 32 }, () => floatValue(random)),
    privilege: random.chance(0.6) ? 1 : 0,
    stvec: base + BigInt(HANDLER_PAGE * PAGE) + (random.chance(0.1) ? 1n : 0n),
    satp: { mode, asid: random.below(4), rootPage: rootPage(0) },
    fs: random.chance(0.9) ? 1 + random.below(3) : 0,
    frm: random.chance(0.9) ? random.below(5) : random.below(8),
    fflags: random.chance(0.5) ? 0 : random.below(32),
    sum: random.chance(0.5),
    mxr: random.chance(0.3),
    sie: random.chance(0.5),
    enabled: random.chance(0.5) ? 0x222 : 0,
    timerIn: random.below(12),
    scounteren: random.below(8),
    senvcfg: random.chance(0.5) ? 0xf0 : 0,
  };
}
