/**
 * The cache of predecoded operations: for each guest page that has been executed, 16 bytes for every
 * halfword, filled as execution reaches them. Operations say nothing about virtual addresses, so that every
 * mapping of a page shares them.
 */

import { assert, present } from "@blixard/std";
import { expandCompressed } from "../isa/riscv64/compressed.ts";
import { INSTRUCTIONS, lengthOf, lookup } from "../isa/riscv64/decode.ts";
import type { Format, Instruction } from "../isa/riscv64/encoding.ts";
import { auxOf, immediateOf } from "../isa/riscv64/encoding.ts";
import type { RegisterField } from "../ir/types.ts";
import type { Frames } from "../memory/frames.ts";
import type { Layout } from "../memory/layout.ts";
import { CODE_PAGE_BYTES, OPERATION_BYTES, SLOTS_PER_PAGE, STATE } from "../memory/layout.ts";
import { PAGE_BYTES } from "../limits.ts";
import { COUNTED, OPERATION } from "./context.ts";
import { handlerOf, SPECIAL } from "./handlers.ts";

/** Most instructions predecoded ahead of execution. */
const AHEAD_MAX = 32;

/** Where the interpreter counts executions: nowhere, at loops' starts and called functions, at each operation. */
export type CountingAt = "nowhere" | "starts" | "everywhere";

/** What predecoding asks of an instruction. */
interface Banks {
  readonly format: Format;
  /** From number to address of a register, for each field: where its bank begins. */
  readonly rd: number;
  readonly rs1: number;
  readonly rs2: number;
  readonly rs3: number;
  readonly relative: boolean;
  /** No third operand, but room for what the instruction does. */
  readonly noted: boolean;
  readonly ends: boolean;
}

function banksOf({ format, block }: Instruction): Banks {
  const floatFields = new Set<RegisterField>();
  for (const op of block.ops) {
    if ((op.op === "get" || op.op === "set") && op.reg.bank === "f") floatFields.add(op.reg.field);
  }
  const { kind } = block.exit;
  const bankOf = (field: RegisterField): number => (floatFields.has(field) ? STATE.f : STATE.x);
  return {
    format,
    rd: bankOf("rd"),
    rs1: bankOf("rs1"),
    rs2: bankOf("rs2"),
    rs3: bankOf("rs3"),
    relative: kind === "branch" || kind === "jumpRelative",
    noted: kind === "branch" || kind === "jump",
    ends: kind === "jump" || kind === "jumpRelative" || (kind === "next" && block.exit.leave),
  };
}
const BANKS: readonly Banks[] = INSTRUCTIONS.map(banksOf);

export class CodePages {
  readonly #view: DataView;
  readonly #bytes: Uint8Array;
  readonly #frames: Frames;
  readonly #layout: Layout;
  /** Guest page to address of its operations, 0 without. */
  readonly #baseOf: Int32Array;
  /** Block of the cache to guest page. */
  readonly #pageOf: Int32Array;
  readonly #free: number[] = [];
  readonly #counting: CountingAt;
  #used = 0;
  predecoded = 0;
  /** Bytes of a page with operations change: page, base of its operations, offset, length. */
  onInvalidate: (page: number, base: number, offset: number, length: number) => void = () => {};
  /** Execution has come to a page for the first time. */
  onCreate: (page: number, base: number) => void = () => {};
  /** A page's operations are given up. */
  onDrop: (page: number, base: number) => void = () => {};

  constructor(
    layout: Layout,
    buffer: ArrayBuffer,
    frames: Frames,
    counting: CountingAt = "nowhere",
  ) {
    this.#counting = counting;
    this.#layout = layout;
    this.#view = new DataView(buffer);
    this.#bytes = new Uint8Array(buffer);
    this.#frames = frames;
    this.#baseOf = new Int32Array(frames.pages);
    this.#pageOf = new Int32Array(Math.floor(layout.codeBytes / CODE_PAGE_BYTES)).fill(-1);
  }

  /** Address of a page's operations; 0 if it has none. */
  baseOf(page: number): number {
    return this.#baseOf[page] ?? 0;
  }

  get full(): boolean {
    return this.#free.length === 0 && this.#used === this.#pageOf.length;
  }
  get count(): number {
    return this.#used - this.#free.length;
  }

  /** Guest page whose operations begin at `base`. */
  pageAt(base: number): number {
    return this.#pageOf[this.#blockAt(base)] ?? -1;
  }

  #blockAt(base: number): number {
    return (base - this.#layout.codeAt) / CODE_PAGE_BYTES;
  }

  /** Makes room for a page's operations. The cache must not be full. */
  create(page: number): number {
    assert(!this.full, "room in the code cache");
    const block = this.#free.pop() ?? this.#used++;
    const base = this.#layout.codeAt + block * CODE_PAGE_BYTES;
    this.#baseOf[page] = base;
    this.#pageOf[block] = page;
    this.#view.setUint16(base + SLOTS_PER_PAGE * OPERATION_BYTES, SPECIAL.pageEnd, true);
    this.onCreate(page, base);
    return base;
  }

  /** Gives up a page's operations. Nothing may be executing them or jump to them. */
  drop(page: number): void {
    const base = this.baseOf(page);
    if (base === 0) return;
    this.onDrop(page, base);
    const block = this.#blockAt(base);
    this.#baseOf[page] = 0;
    this.#pageOf[block] = -1;
    this.#bytes.fill(0, base, base + CODE_PAGE_BYTES);
    this.#free.push(block);
  }

  dropAll(): void {
    for (const page of this.#pageOf.slice(0, this.#used)) if (page >= 0) this.drop(page);
  }

  /** Forgets the operations that bytes of a page belong to, without giving up the page. */
  invalidate(page: number, offset: number, length: number): void {
    const base = this.baseOf(page);
    if (base === 0) return;
    this.onInvalidate(page, base, offset, length);
    // An instruction may begin two bytes before the first one written.
    const first = Math.max(0, (offset >> 1) - 1);
    const last = (offset + length - 1) >> 1;
    // Only the handler's number: the instruction that writes may be among them and still needs its operands.
    for (let slot = first; slot <= last; slot++) {
      this.#setHandler(base + slot * OPERATION_BYTES, SPECIAL.undecoded);
    }
  }

  /** Whether execution is counted at a place does not depend on what stands there. */
  #setHandler(at: number, handler: number): void {
    this.#view.setUint16(at, (this.#view.getUint16(at, true) & COUNTED) | handler, true);
  }
  #count(at: number): void {
    this.#view.setUint16(at, this.#view.getUint16(at, true) | COUNTED, true);
  }

  /** Predecodes the operation at `ip` and some that follow it. */
  predecode(ip: number): void {
    const block = Math.floor((ip - this.#layout.codeAt) / CODE_PAGE_BYTES);
    const page = this.#pageOf[block] ?? -1;
    assert(page >= 0, "an operation of a page of code");
    const base = this.#layout.codeAt + block * CODE_PAGE_BYTES;
    let slot = (ip - base) / OPERATION_BYTES;
    const host = this.#frames.frameOf(page);
    for (let ahead = 0; ahead < AHEAD_MAX && slot < SLOTS_PER_PAGE; ahead++) {
      const at = base + slot * OPERATION_BYTES;
      if ((this.#view.getUint16(at, true) & ~COUNTED) !== SPECIAL.undecoded) return;
      const low = this.#view.getUint16(host + slot * 2, true);
      const length = lengthOf(low);
      if (length === 4 && slot === SLOTS_PER_PAGE - 1) {
        this.#setHandler(at, SPECIAL.straddle);
        return;
      }
      const bits =
        length === 2 ? low : low | (this.#view.getUint16(host + slot * 2 + 2, true) << 16);
      const ends = this.write(at, bits, slot * 2);
      if (ends) return;
      slot += length / 2;
    }
  }

  /**
   * Writes the operation for an encoding. `offset` is its place in the page, to tell near branches from far
   * ones; undefined makes every branch far. True if nothing after it is known to be executed.
   */
  write(at: number, bits: number, offset: number | undefined): boolean {
    this.predecoded++;
    const view = this.#view;
    const length = lengthOf(bits);
    const wide = length === 2 ? expandCompressed(bits & 0xffff) : bits;
    const index = wide === undefined ? -1 : lookup(wide);
    if (wide === undefined || index < 0) {
      this.#setHandler(at, SPECIAL.illegal);
      return true;
    }
    // No object is made here: a booting guest has some hundred thousand operations.
    const banks = present(BANKS[index], "banks");
    const rd = banks.rd + 8 * ((wide >>> 7) & 31);
    let imm = immediateOf(banks.format, wide);
    let near = false;
    if (banks.relative && offset !== undefined) {
      const target = offset + imm;
      near = target >= 0 && target < PAGE_BYTES;
      if (near) imm *= OPERATION_BYTES / 2;
      const begins = imm < 0 || (banks.ends && (wide & 0xf80) !== 0);
      if (near && begins && this.#counting !== "nowhere") this.#count(at + imm);
    }
    view.setUint16(at + OPERATION.rd, rd === STATE.x ? STATE.sink : rd, true);
    view.setUint16(at + OPERATION.rs1, banks.rs1 + 8 * ((wide >>> 15) & 31), true);
    view.setUint16(at + OPERATION.rs2, banks.rs2 + 8 * ((wide >>> 20) & 31), true);
    view.setUint16(at + OPERATION.rs3, banks.noted ? 0 : banks.rs3 + 8 * (wide >>> 27), true);
    view.setInt32(at + OPERATION.imm, imm, true);
    view.setUint8(at + OPERATION.aux, auxOf(banks.format, wide));
    this.#setHandler(at, handlerOf(index, length, near));
    if (this.#counting === "everywhere" && offset !== undefined) this.#count(at);
    return banks.ends;
  }
}
