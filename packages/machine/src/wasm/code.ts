/** Emission of one WebAssembly function body: a thin, typed way to write instructions. */

import { assert } from "@blixard/std";
import { ByteWriter } from "./bytes.ts";

export type ValueType = "i32" | "i64" | "f32" | "f64";
export const VALUE_TYPE: Readonly<Record<ValueType, number>> = {
  i32: 0x7f,
  i64: 0x7e,
  f32: 0x7d,
  f64: 0x7c,
};

/** Instructions without immediates, by the names of the WebAssembly text format. */
const PLAIN = {
  unreachable: 0x00,
  return: 0x0f,
  drop: 0x1a,
  select: 0x1b,
  "i32.eqz": 0x45,
  "i32.eq": 0x46,
  "i32.ne": 0x47,
  "i32.lt_s": 0x48,
  "i32.lt_u": 0x49,
  "i32.ge_s": 0x4e,
  "i32.ge_u": 0x4f,
  "i64.eqz": 0x50,
  "i64.eq": 0x51,
  "i64.ne": 0x52,
  "i64.lt_s": 0x53,
  "i64.lt_u": 0x54,
  "i64.gt_s": 0x55,
  "i64.gt_u": 0x56,
  "i64.ge_s": 0x59,
  "i64.ge_u": 0x5a,
  "f32.eq": 0x5b,
  "f32.lt": 0x5d,
  "f32.gt": 0x5e,
  "f32.le": 0x5f,
  "f64.eq": 0x61,
  "f64.lt": 0x63,
  "f64.gt": 0x64,
  "f64.le": 0x65,
  "i32.clz": 0x67,
  "i32.ctz": 0x68,
  "i32.popcnt": 0x69,
  "i32.add": 0x6a,
  "i32.sub": 0x6b,
  "i32.mul": 0x6c,
  "i32.div_s": 0x6d,
  "i32.div_u": 0x6e,
  "i32.rem_s": 0x6f,
  "i32.rem_u": 0x70,
  "i32.and": 0x71,
  "i32.or": 0x72,
  "i32.xor": 0x73,
  "i32.shl": 0x74,
  "i32.shr_s": 0x75,
  "i32.shr_u": 0x76,
  "i32.rotl": 0x77,
  "i32.rotr": 0x78,
  "i64.clz": 0x79,
  "i64.ctz": 0x7a,
  "i64.popcnt": 0x7b,
  "i64.add": 0x7c,
  "i64.sub": 0x7d,
  "i64.mul": 0x7e,
  "i64.div_s": 0x7f,
  "i64.div_u": 0x80,
  "i64.rem_s": 0x81,
  "i64.rem_u": 0x82,
  "i64.and": 0x83,
  "i64.or": 0x84,
  "i64.xor": 0x85,
  "i64.shl": 0x86,
  "i64.shr_s": 0x87,
  "i64.shr_u": 0x88,
  "i64.rotl": 0x89,
  "i64.rotr": 0x8a,
  "f32.abs": 0x8b,
  "f32.sqrt": 0x91,
  "f32.add": 0x92,
  "f32.sub": 0x93,
  "f32.mul": 0x94,
  "f32.div": 0x95,
  "f64.abs": 0x99,
  "f64.trunc": 0x9d,
  "f64.sqrt": 0x9f,
  "f64.add": 0xa0,
  "f64.sub": 0xa1,
  "f64.mul": 0xa2,
  "f64.div": 0xa3,
  "i32.wrap_i64": 0xa7,
  "i32.trunc_f64_s": 0xaa,
  "i64.extend_i32_s": 0xac,
  "i64.extend_i32_u": 0xad,
  "i64.trunc_f64_s": 0xb0,
  "f32.convert_i64_s": 0xb4,
  "f32.convert_i64_u": 0xb5,
  "f32.demote_f64": 0xb6,
  "f64.convert_i64_s": 0xb9,
  "f64.convert_i64_u": 0xba,
  "f64.promote_f32": 0xbb,
  "i32.reinterpret_f32": 0xbc,
  "i64.reinterpret_f64": 0xbd,
  "f32.reinterpret_i32": 0xbe,
  "f64.reinterpret_i64": 0xbf,
  "i32.extend8_s": 0xc0,
  "i32.extend16_s": 0xc1,
  "i64.extend8_s": 0xc2,
  "i64.extend16_s": 0xc3,
  "i64.extend32_s": 0xc4,
} as const;
export type PlainName = keyof typeof PLAIN;

const MEMORY = {
  "i32.load": 0x28,
  "i64.load": 0x29,
  "f32.load": 0x2a,
  "f64.load": 0x2b,
  "i32.load8_s": 0x2c,
  "i32.load8_u": 0x2d,
  "i32.load16_s": 0x2e,
  "i32.load16_u": 0x2f,
  "i64.load8_s": 0x30,
  "i64.load8_u": 0x31,
  "i64.load16_s": 0x32,
  "i64.load16_u": 0x33,
  "i64.load32_s": 0x34,
  "i64.load32_u": 0x35,
  "i32.store": 0x36,
  "i64.store": 0x37,
  "f32.store": 0x38,
  "f64.store": 0x39,
  "i32.store8": 0x3a,
  "i32.store16": 0x3b,
  "i64.store8": 0x3c,
  "i64.store16": 0x3d,
  "i64.store32": 0x3e,
} as const;
export type MemoryName = keyof typeof MEMORY;

const FIXED = {
  block: 0x02,
  loop: 0x03,
  if: 0x04,
  else: 0x05,
  end: 0x0b,
  br: 0x0c,
  brIf: 0x0d,
  brTable: 0x0e,
  call: 0x10,
  callIndirect: 0x11,
  returnCallIndirect: 0x13,
  localGet: 0x20,
  localSet: 0x21,
  localTee: 0x22,
  i32Const: 0x41,
  i64Const: 0x42,
  vector: 0xfd,
  emptyType: 0x40,
} as const;

/** Vector instructions, which come after a prefix: all lanes from one number, fused or not, one lane. */
const VECTOR = {
  f32: { splat: 0x13, relaxedMultiplyAdd: 0x105, extractLane: 0x1f },
  f64: { splat: 0x14, relaxedMultiplyAdd: 0x107, extractLane: 0x21 },
} as const;

/** A jump target; only valid inside the block that made it. */
export interface Label {
  readonly depth: number;
}

/** A jump that is seldom taken (or seldom not): where it is in its function, from the local declarations on. */
export interface BranchHint {
  readonly offset: number;
  readonly likely: boolean;
}

/** A function without its type: local declarations and instructions, as the code section holds them. */
export interface FunctionBody {
  readonly bytes: Uint8Array;
  readonly hints: readonly BranchHint[];
}

/** Bytes of a number that is written by `Code.padded`. */
export const PADDED_BYTES = 5;
/** A number in place of another one that was written by `Code.padded`: signed LEB128 of 32 bits, full length. */
export function writePadded(bytes: Uint8Array, at: number, value: number): void {
  for (let n = 0; n < PADDED_BYTES; n++) {
    const more = n < PADDED_BYTES - 1 ? 0x80 : 0;
    bytes[at + n] = ((value >> (7 * n)) & 127) | more;
  }
}

export class Code {
  readonly #bytes = new ByteWriter();
  readonly #locals: ValueType[] = [];
  readonly #hints: BranchHint[] = [];
  readonly #parameters: number;
  #depth = 0;

  constructor(parameters: readonly ValueType[]) {
    this.#parameters = parameters.length;
  }

  /** A new local variable, initially zero. */
  local(type: ValueType): number {
    this.#locals.push(type);
    return this.#parameters + this.#locals.length - 1;
  }

  op(...names: readonly PlainName[]): this {
    for (const name of names) this.#bytes.u8(PLAIN[name]);
    return this;
  }
  get(local: number): this {
    this.#bytes.u8(FIXED.localGet);
    this.#bytes.unsigned(local);
    return this;
  }
  set(local: number): this {
    this.#bytes.u8(FIXED.localSet);
    this.#bytes.unsigned(local);
    return this;
  }
  tee(local: number): this {
    this.#bytes.u8(FIXED.localTee);
    this.#bytes.unsigned(local);
    return this;
  }
  i32(value: number): this {
    this.#bytes.u8(FIXED.i32Const);
    this.#bytes.signed32(value);
    return this;
  }
  /** As `i32`, but of a length that another number has, too. */
  padded(value: number): this {
    const bytes = new Uint8Array(PADDED_BYTES);
    writePadded(bytes, 0, value);
    this.#bytes.u8(FIXED.i32Const);
    this.#bytes.append(bytes);
    return this;
  }
  i64(value: bigint | number): this {
    this.#bytes.u8(FIXED.i64Const);
    if (typeof value === "number" && (value | 0) === value) this.#bytes.signed32(value);
    else this.#bytes.signed64(BigInt(value));
    return this;
  }
  /** A load or store with no promise of alignment. */
  memory(name: MemoryName, offset = 0): this {
    this.#bytes.u8(MEMORY[name]);
    this.#bytes.u8(0);
    this.#bytes.unsigned(offset);
    return this;
  }
  /** Pushes a * b + c of three locals, rounded once where the processor can (wasm/probe.ts). */
  fused(type: "f32" | "f64", a: number, b: number, c: number): this {
    const { splat, relaxedMultiplyAdd, extractLane } = VECTOR[type];
    for (const local of [a, b, c]) this.get(local).#bytes.append([FIXED.vector, splat]);
    this.#bytes.u8(FIXED.vector);
    this.#bytes.unsigned(relaxedMultiplyAdd);
    this.#bytes.append([FIXED.vector, extractLane, 0]);
    return this;
  }
  call(functionIndex: number): this {
    this.#bytes.u8(FIXED.call);
    this.#bytes.unsigned(functionIndex);
    return this;
  }

  /** A call through table 0, of a function of this type; the type's number is that of the module. */
  callIndirect(type: number): this {
    this.#bytes.u8(FIXED.callIndirect);
    this.#bytes.unsigned(type);
    this.#bytes.u8(0);
    return this;
  }
  returnCallIndirect(type: number): this {
    this.#bytes.u8(FIXED.returnCallIndirect);
    this.#bytes.unsigned(type);
    this.#bytes.u8(0);
    return this;
  }
  /** The `if` or `br_if` that comes next is seldom taken. */
  unlikely(): this {
    this.#hints.push({ offset: this.#bytes.length, likely: false });
    return this;
  }

  #open(opcode: number, result: ValueType | undefined, body: (label: Label) => void): this {
    this.#bytes.u8(opcode);
    this.#bytes.u8(result === undefined ? FIXED.emptyType : VALUE_TYPE[result]);
    this.#depth++;
    body({ depth: this.#depth });
    this.#depth--;
    this.#bytes.u8(FIXED.end);
    return this;
  }
  block(body: (label: Label) => void): this {
    return this.#open(FIXED.block, undefined, body);
  }
  loop(body: (label: Label) => void): this {
    return this.#open(FIXED.loop, undefined, body);
  }
  if(yes: () => void, no?: () => void, result?: ValueType): this {
    return this.#open(FIXED.if, result, () => {
      yes();
      if (no === undefined) return;
      this.#bytes.u8(FIXED.else);
      no();
    });
  }
  #relative(label: Label): number {
    assert(label.depth <= this.#depth, "a jump goes to an enclosing block");
    return this.#depth - label.depth;
  }
  br(label: Label): this {
    this.#bytes.u8(FIXED.br);
    this.#bytes.unsigned(this.#relative(label));
    return this;
  }
  brIf(label: Label): this {
    this.#bytes.u8(FIXED.brIf);
    this.#bytes.unsigned(this.#relative(label));
    return this;
  }
  brTable(labels: readonly Label[], otherwise: Label): this {
    this.#bytes.u8(FIXED.brTable);
    this.#bytes.unsigned(labels.length);
    for (const label of labels) this.#bytes.unsigned(this.#relative(label));
    this.#bytes.unsigned(this.#relative(otherwise));
    return this;
  }

  #head(): Uint8Array {
    const head = new ByteWriter();
    head.unsigned(this.#locals.length);
    for (const type of this.#locals) head.append([1, VALUE_TYPE[type]]);
    return head.take();
  }
  /** All of it, with what is known about its jumps in the order of the code. */
  body(): FunctionBody {
    assert(this.#depth === 0, "every block is closed");
    const head = this.#head();
    const bytes = new Uint8Array(head.length + this.#bytes.length + 1);
    bytes.set(head);
    bytes.set(this.#bytes.view(), head.length);
    bytes[bytes.length - 1] = FIXED.end;
    const hints = this.#hints.map(({ offset, likely }) => ({
      offset: offset + head.length,
      likely,
    }));
    return { bytes, hints };
  }
}
