/**
 * Reads WebAssembly modules back into text, independently of what wrote them: enough of the binary
 * format for what packages/machine emits. Throws RangeError for what it has no name for.
 */

/** Instructions whose immediates this reader knows how to skip; any other opcode has none. */
const BLOCKS: Readonly<Record<number, string>> = { 0x02: "block", 0x03: "loop", 0x04: "if" };
const ONE_INDEX: Readonly<Record<number, string>> = {
  0x0c: "br",
  0x0d: "br_if",
  0x10: "call",
  0x20: "local.get",
  0x21: "local.set",
  0x22: "local.tee",
};
const BR_TABLE = 0x0e;
const ELSE = 0x05;
const END = 0x0b;
const [I32_CONST, I64_CONST] = [0x41, 0x42];
const [MEMORY_FIRST, MEMORY_LAST] = [0x28, 0x3e];

/** Consecutive opcodes from the first, as the specification's index of instructions has them. */
const RUNS: readonly (readonly [first: number, names: string])[] = [
  [0x00, "unreachable nop"],
  [0x0f, "return"],
  [0x1a, "drop select"],
  [0x28, "i32.load i64.load f32.load f64.load i32.load8_s i32.load8_u i32.load16_s i32.load16_u"],
  [0x30, "i64.load8_s i64.load8_u i64.load16_s i64.load16_u i64.load32_s i64.load32_u"],
  [0x36, "i32.store i64.store f32.store f64.store i32.store8 i32.store16"],
  [0x3c, "i64.store8 i64.store16 i64.store32"],
  [0x45, each("i32", "eqz eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u")],
  [0x50, each("i64", "eqz eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u")],
  [0x5b, each("f32", "eq ne lt gt le ge")],
  [0x61, each("f64", "eq ne lt gt le ge")],
  [0x67, each("i32", "clz ctz popcnt add sub mul div_s div_u rem_s rem_u and or xor")],
  [0x74, each("i32", "shl shr_s shr_u rotl rotr")],
  [0x79, each("i64", "clz ctz popcnt add sub mul div_s div_u rem_s rem_u and or xor")],
  [0x86, each("i64", "shl shr_s shr_u rotl rotr")],
  [0x8b, each("f32", "abs neg ceil floor trunc nearest sqrt add sub mul div min max copysign")],
  [0x99, each("f64", "abs neg ceil floor trunc nearest sqrt add sub mul div min max copysign")],
  [0xa7, each("i32", "wrap_i64 trunc_f32_s trunc_f32_u trunc_f64_s trunc_f64_u")],
  [0xac, each("i64", "extend_i32_s extend_i32_u trunc_f32_s trunc_f32_u trunc_f64_s trunc_f64_u")],
  [0xb2, each("f32", "convert_i32_s convert_i32_u convert_i64_s convert_i64_u demote_f64")],
  [0xb7, each("f64", "convert_i32_s convert_i32_u convert_i64_s convert_i64_u promote_f32")],
  [0xbc, "i32.reinterpret_f32 i64.reinterpret_f64 f32.reinterpret_i32 f64.reinterpret_i64"],
  [0xc0, "i32.extend8_s i32.extend16_s i64.extend8_s i64.extend16_s i64.extend32_s"],
];
function each(type: string, names: string): string {
  return names.replaceAll(/\S+/g, (name) => `${type}.${name}`);
}
const NAMES: ReadonlyMap<number, string> = new Map(
  RUNS.flatMap(([first, names]) => names.split(" ").map((name, n) => [first + n, name] as const)),
);
const CALLS: Readonly<Record<number, string>> = {
  0x11: "call_indirect",
  0x13: "return_call_indirect",
};
/** Of those behind the prefix, what regions have; a lane's number follows the last two. */
const VECTOR = 0xfd;
const VECTORS: Readonly<Record<number, string>> = {
  0x13: "f32x4.splat",
  0x14: "f64x2.splat",
  0x105: "f32x4.relaxed_madd",
  0x107: "f64x2.relaxed_madd",
  0x1f: "f32x4.extract_lane",
  0x21: "f64x2.extract_lane",
};
const LANES = [0x1f, 0x21];

export interface WasmInstruction {
  readonly opcode: number;
  /** Nesting of blocks around it. */
  readonly depth: number;
  /** Index, constant, or offset of a memory access. */
  readonly immediate: bigint | undefined;
  /** Relative depths; the default comes last. */
  readonly table: readonly number[];
}

class Bytes {
  readonly #bytes: Uint8Array;
  at: number;
  constructor(bytes: Uint8Array, at = 0) {
    this.#bytes = bytes;
    this.at = at;
  }
  u8(): number {
    const byte = this.#bytes[this.at++];
    if (byte === undefined) throw new RangeError("the module ends too soon");
    return byte;
  }
  unsigned(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.u8();
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  }
  signed(): bigint {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = this.u8();
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return BigInt.asIntN(Number(shift) + 7, value);
    }
  }
  text(): string {
    const length = this.unsigned();
    this.at += length;
    return new TextDecoder().decode(this.#bytes.subarray(this.at - length, this.at));
  }
}

export interface WasmBody {
  readonly instructions: readonly WasmInstruction[];
  /** Names of the imported functions, by index. */
  readonly imports: readonly string[];
}

function skipImport(bytes: Bytes): string | undefined {
  bytes.text();
  const name = bytes.text();
  if (bytes.u8() === 0) {
    bytes.unsigned();
    return name;
  }
  const limits = bytes.u8();
  bytes.unsigned();
  if (limits === 1) bytes.unsigned();
  return undefined;
}

/** Names of imported functions, index of the wanted export, and all bodies. */
class ModuleReader {
  readonly imports: string[] = [];
  readonly bodies: Uint8Array[] = [];
  exported = -1;
  readonly #module: Uint8Array;
  readonly #bytes: Bytes;

  constructor(module: Uint8Array, wanted: string) {
    this.#module = module;
    this.#bytes = new Bytes(module, 8);
    const bytes = this.#bytes;
    while (bytes.at < module.length) {
      const section = bytes.u8();
      const size = bytes.unsigned();
      const end = bytes.at + size;
      if (section === 2) this.#each(() => this.#import());
      if (section === 7) this.#each(() => this.#export(wanted));
      if (section === 10) this.#each(() => this.#body());
      bytes.at = end;
    }
  }

  #each(read: () => void): void {
    for (let left = this.#bytes.unsigned(); left > 0; left--) read();
  }
  #import(): void {
    const name = skipImport(this.#bytes);
    if (name !== undefined) this.imports.push(name);
  }
  #export(wanted: string): void {
    const name = this.#bytes.text();
    this.#bytes.u8();
    const index = this.#bytes.unsigned();
    if (name === wanted) this.exported = index;
  }
  #body(): void {
    const length = this.#bytes.unsigned();
    const start = this.#bytes.at;
    this.bodies.push(this.#module.subarray(start, start + length));
    this.#bytes.at = start + length;
  }
}

/** The body of an exported function. */
export function readExported(module: Uint8Array, wanted: string): WasmBody {
  const { imports, bodies, exported } = new ModuleReader(module, wanted);
  const body = bodies[exported - imports.length];
  if (body === undefined) throw new RangeError(`the module exports no function ${wanted}`);
  return { instructions: readBody(body), imports };
}

function readBody(body: Uint8Array): WasmInstruction[] {
  const bytes = new Bytes(body);
  for (let groups = bytes.unsigned(); groups > 0; groups--) {
    bytes.unsigned();
    bytes.u8();
  }
  const instructions: WasmInstruction[] = [];
  let depth = 0;
  while (bytes.at < body.length) {
    const opcode = bytes.u8();
    if (opcode === END) depth--;
    let immediate: bigint | undefined;
    const table: number[] = [];
    if (opcode in BLOCKS) bytes.u8();
    else if (opcode in ONE_INDEX) immediate = BigInt(bytes.unsigned());
    else if (opcode in CALLS) {
      immediate = BigInt(bytes.unsigned());
      bytes.unsigned();
    } else if (opcode === VECTOR) {
      immediate = BigInt(bytes.unsigned());
      if (LANES.includes(Number(immediate))) bytes.u8();
    } else if (opcode === I32_CONST || opcode === I64_CONST) immediate = bytes.signed();
    else if (opcode >= MEMORY_FIRST && opcode <= MEMORY_LAST) {
      bytes.unsigned();
      immediate = BigInt(bytes.unsigned());
    } else if (opcode === BR_TABLE) {
      const count = bytes.unsigned();
      for (let n = 0; n <= count; n++) table.push(bytes.unsigned());
    }
    instructions.push({
      opcode,
      depth: opcode === ELSE ? depth - 1 : depth,
      immediate,
      table,
    });
    if (opcode in BLOCKS) depth++;
  }
  return instructions;
}

/** Position of the table jump; the emitted interpreter has one. */
export function dispatchAt(body: WasmBody): number {
  return body.instructions.findIndex(({ opcode }) => opcode === BR_TABLE);
}

/** What runs for one entry of the table jump: the instructions behind the block that it ends. */
export function behindEntry(body: WasmBody, entry: number): readonly WasmInstruction[] {
  const { instructions } = body;
  const at = dispatchAt(body);
  const jump = instructions[at];
  const relative = jump?.table[entry];
  if (jump === undefined || relative === undefined) throw new RangeError("no such entry");
  const depth = jump.depth - relative - 1;
  const start =
    instructions.findIndex(
      ({ opcode, depth: own }, n) => n > at && opcode === END && own === depth,
    ) + 1;
  const length = instructions
    .slice(start)
    .findIndex(({ opcode, depth: own }) => opcode === END && own < depth);
  return instructions.slice(start, start + length);
}

export interface Naming {
  local(index: number): string;
  /** A comment for a constant or an offset, if there is one. */
  note(opcode: string, immediate: bigint): string | undefined;
  /** What a jump out of the shown instructions by so many blocks reaches. */
  target(levels: number): string;
}

/** One line an instruction, in the names of the WebAssembly text format. */
export function wasmText(body: WasmBody, shown: readonly WasmInstruction[], by: Naming): string[] {
  const outer = Math.min(...shown.map(({ depth }) => depth));
  return shown.map(({ opcode, depth, immediate, table }) => {
    const indent = "  ".repeat(depth - outer);
    let text: string;
    let note: string | undefined;
    const index = Number(immediate ?? 0n);
    if (opcode === END) text = "end";
    else if (opcode === ELSE) text = "else";
    else if (opcode === BR_TABLE) text = `br_table (${table.length - 1} handlers)`;
    else if (opcode in BLOCKS) text = BLOCKS[opcode] ?? "";
    else if (opcode in CALLS) text = `${CALLS[opcode]} (type ${index})`;
    else if (opcode === VECTOR) text = VECTORS[index] ?? `vector ${index}`;
    else if (opcode === 0x10) text = `call $${body.imports[index] ?? index}`;
    else if (opcode === 0x0c || opcode === 0x0d) {
      const levels = index - (depth - outer);
      text = `${ONE_INDEX[opcode]} ${levels < 0 ? index : `$${by.target(levels)}`}`;
    } else if (opcode in ONE_INDEX) text = `${ONE_INDEX[opcode]} $${by.local(index)}`;
    else if (immediate === undefined) text = nameOf(opcode);
    else if (opcode === I32_CONST || opcode === I64_CONST) {
      const name = opcode === I32_CONST ? "i32.const" : "i64.const";
      text = `${name} ${immediate}`;
      note = by.note(name, immediate);
    } else {
      const name = nameOf(opcode);
      text = immediate === 0n ? name : `${name} offset=${immediate}`;
      note = by.note(name, immediate);
    }
    const line = `${indent}${text}`;
    return note === undefined ? line : `${line.padEnd(32)} ;; ${note}`;
  });
}

function nameOf(opcode: number): string {
  const name = NAMES.get(opcode);
  if (name === undefined) throw new RangeError(`opcode 0x${opcode.toString(16)} has no name here`);
  return name;
}
