/** What the emitters of one interpreter share: locals, functions, where to go, and the predecoded operation. */

import { present } from "@blixard/std";
import type { IrType } from "../ir/types.ts";
import type { Layout } from "../memory/layout.ts";
import type { Code, Label, ValueType } from "../wasm/code.ts";

/**
 * A predecoded operation, 16 bytes: handler, addresses of registers, immediate, aux (byte 14). A conditional
 * branch has no third operand; there the compiler's interpreter notes that it was taken, and that it was not. A
 * jump to a register's address has that address's low half there, as of its last execution.
 */
export const OPERATION = {
  handler: 0,
  rd: 2,
  rs1: 4,
  rs2: 6,
  imm: 8,
  rs3: 12,
  taken: 12,
  notTaken: 13,
  target: 12,
  aux: 14,
} as const;
/** Bit of the handler's number: executions are counted here, and a region may begin here. */
export const COUNTED = 0x8000;

/** Why the interpreter returned. */
export const EXIT = {
  /** No instructions left. */
  budget: 0,
  /** An instruction retired that asks for the machine's attention; `pc` is the next one. */
  leave: 1,
  /** `pc` lies in a page that the jump tables do not know. */
  fetch: 2,
  /** The machine has taken an exception and set `pc`. */
  trapped: 3,
  /** A guard failed; cause and kind of value are in the state. */
  guard: 4,
  /** The instruction at `ip` crosses into the next page. */
  straddle: 5,
} as const;

/** Values of STATE.trapValue. */
export const TRAP_VALUE = { zero: 0, bits: 1, pc: 2 } as const;

/** Access kinds of the slow path: size in the low four bits. */
export const SLOW = { store: 16, signed: 32, atomic: 64, reserve: 128 } as const;

export interface Functions {
  /** (kind) -> 0, or 1 when the machine took an exception. Address and value are in the state. */
  readonly access: number;
  /** Predecodes the operation at `ip`. */
  readonly predecode: number;
  /** (helper) -> as `access`. */
  readonly helper: number;
  /** (function, format, rounding): on the arguments in the state. */
  readonly float: number;
  /** i64, i64 -> i64. */
  readonly mulhu: number;
  /** a * b + c; NaN when it does not know. */
  readonly fma32: number;
  readonly fma64: number;
}

export interface Locals {
  readonly ip: number;
  readonly left: number;
  readonly pageVa: number;
  readonly pageBase: number;
  readonly span: number;
  readonly tlb: number;
  readonly target: number;
  /** Of the compiler's interpreter: handler without mark, and the address at which no region is entered. */
  readonly handler: number;
  readonly skip: number;
}

export interface Labels {
  /** The dispatch loop. */
  readonly next: Label;
  /** Goes on at the address in `target`. */
  readonly jump: Label;
  readonly leave: Label;
  readonly guard: Label;
  readonly trapped: Label;
}

/** The interpreter that feeds the compiler counts executions, and enters regions. */
export interface Counting {
  /** Executions after which a place is handed to the compiler. */
  readonly threshold: number;
  /** () -> nothing: the operation at `ip` has become hot. */
  readonly hot: number;
  readonly regionType: number;
}

export interface Context {
  readonly code: Code;
  /** Undefined without a compiler. */
  readonly counting: Counting | undefined;
  readonly layout: Layout;
  readonly functions: Functions;
  readonly locals: Locals;
  readonly pool: LocalPool;
}

/** Locals that handlers take in turn; none of them carries a value from one operation to the next. */
export class LocalPool {
  readonly #code: Code;
  readonly #all: Record<ValueType, number[]> = { i32: [], i64: [], f32: [], f64: [] };
  readonly #taken: Record<ValueType, number> = { i32: 0, i64: 0, f32: 0, f64: 0 };

  constructor(code: Code) {
    this.#code = code;
  }
  reset(): void {
    for (const type of ["i32", "i64", "f32", "f64"] as const) this.#taken[type] = 0;
  }
  take(type: ValueType): number {
    const position = this.#taken[type]++;
    const locals = this.#all[type];
    if (position === locals.length) locals.push(this.#code.local(type));
    return present(locals[position], "local");
  }
}

export function wasmType(type: IrType): ValueType {
  if (type === "v128") throw new RangeError("vectors are reserved");
  return type;
}
