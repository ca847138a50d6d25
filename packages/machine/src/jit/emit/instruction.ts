/**
 * Emits one instruction of a region from its block: operands of the encoding are constants here, so much of
 * the block folds away. A value with one use is pushed where it is used; the others get a local.
 */

import { assert, present, unreachable } from "@blixard/std";
import { wasmType } from "../../interp/context.ts";
import { emitFast, TRUNCATES } from "../../interp/float-fast.ts";
import {
  emitMulhu,
  emitOrBytes,
  emitReverseBytes,
  emitSubtractIfNegative,
} from "../../interp/pure.ts";
import { loadName, storeName } from "../../interp/memory.ts";
import { resultType } from "../../ir/shape.ts";
import type { IrBlock, IrOp, IrType, RegisterRef, Value } from "../../ir/types.ts";
import { operands } from "../../ir/validate.ts";
import { STATE } from "../../memory/layout.ts";
import type { PlainName } from "../../wasm/code.ts";
import type { RegionInstruction } from "../analyse/graph.ts";
import { registerNumber } from "../analyse/registers.ts";
import type { RegionContext } from "./context.ts";
import { emitSideExit, LEFT_BY, pushAddress } from "./context.ts";
import { emitAtomic, emitLoadReserved, emitLookup, emitStoreConditional } from "./memory.ts";
import type { Emitted } from "./value.ts";
import { foldBinary, foldCompare } from "./value.ts";

/** How often each value of a block is used. */
const uses = new WeakMap<IrBlock, readonly number[]>();
function useCounts(block: IrBlock): readonly number[] {
  const known = uses.get(block);
  if (known !== undefined) return known;
  const counts = block.ops.map(() => 0);
  const use = (value: Value): void => {
    counts[value] = (counts[value] ?? 0) + 1;
  };
  for (const op of block.ops) for (const [value] of operands(op)) use(value);
  if (block.exit.kind === "branch") use(block.exit.condition);
  // Twice: it is computed before the registers are set.
  if (block.exit.kind === "jump") for (let n = 0; n < 2; n++) use(block.exit.target);
  uses.set(block, counts);
  return counts;
}

export class InstructionEmitter {
  readonly #c: RegionContext;
  readonly #instruction: RegionInstruction;
  /** Instructions of the block from this one on. */
  readonly #undone: number;
  readonly #values: (Emitted | undefined)[] = [];
  readonly #counts: readonly number[];

  constructor(c: RegionContext, instruction: RegionInstruction, undone: number) {
    this.#c = c;
    this.#instruction = instruction;
    this.#undone = undone;
    this.#counts = useCounts(instruction.instruction.block);
  }

  // --- values -------------------------------------------------------------------------------------------

  value(value: Value): Emitted {
    return present(this.#values[value], "a value of the block");
  }
  #known(type: "i32" | "i64", value: bigint): Emitted {
    const { code } = this.#c;
    const known = BigInt.asUintN(type === "i32" ? 32 : 64, value);
    const push = (): void => {
      if (type === "i32") code.i32(Number(BigInt.asIntN(32, known)));
      else code.i64(known);
    };
    return { type, known, cheap: true, push };
  }
  #place(distance: number): Emitted {
    return { type: "i64", distance, cheap: true, push: () => pushAddress(this.#c, distance) };
  }
  #inLocal(type: IrType, local: number): Emitted {
    return { type, local, cheap: true, push: () => void this.#c.code.get(local) };
  }
  #tree(type: IrType, push: () => void): Emitted {
    return { type, cheap: false, push };
  }
  /** The value in a local. */
  #settle(value: Emitted): number {
    if (value.local !== undefined) return value.local;
    const local = this.#c.pool.take(wasmType(value.type));
    value.push();
    this.#c.code.set(local);
    return local;
  }

  #side(by: number): void {
    emitSideExit(this.#c, this.#instruction.delta, this.#undone, by);
  }

  // --- registers ----------------------------------------------------------------------------------------

  #read(reg: RegisterRef): Emitted {
    const { code } = this.#c;
    if (reg.bank === "state") {
      const { delta, length } = this.#instruction;
      switch (reg.name) {
        case "pc":
          return this.#place(delta);
        case "nextPc":
          return this.#place(delta + length);
        // The region is not entered otherwise.
        case "frm":
          return this.#known("i32", 0n);
        case "fpOn":
          return this.#known("i32", 1n);
        case "zeroOn":
          return this.#tree("i32", () => void code.i32(0).memory("i32.load", STATE.zeroOn));
        case "fpDirty":
          return this.#tree("i32", () => void code.i32(0).memory("i32.load", STATE.fpDirty));
      }
    }
    const number = registerNumber(reg, this.#instruction);
    if (number === undefined) return this.#known("i64", 0n);
    const local = this.#c.register(number);
    if (number < 32) return this.#inLocal("i64", local);
    return {
      type: "i64",
      cheap: true,
      push: () => void code.get(local).op("i64.reinterpret_f64"),
      pushDouble: () => void code.get(local),
      doubleLocal: local,
    };
  }

  #write(reg: RegisterRef, value: Emitted): void {
    const { code } = this.#c;
    if (reg.bank === "state") {
      assert(reg.name === "fpDirty", "instructions of regions write no other scalar");
      code.i32(0);
      value.push();
      code.memory("i32.store", STATE.fpDirty);
      return;
    }
    const number = registerNumber(reg, this.#instruction);
    if (number === undefined) return;
    if (number < 32) value.push();
    else if (value.pushDouble !== undefined) value.pushDouble();
    else {
      value.push();
      code.op("f64.reinterpret_i64");
    }
    code.set(this.#c.register(number));
  }

  // --- operations ---------------------------------------------------------------------------------------

  #binary(op: IrOp & { readonly op: "binary" }): Emitted {
    const [a, b] = [this.value(op.a), this.value(op.b)];
    if (a.known !== undefined && b.known !== undefined) {
      const folded = foldBinary(op.type, op.fn, a.known, b.known);
      if (folded !== undefined) return this.#known(op.type, folded);
    }
    if (op.fn === "add" && op.type === "i64") {
      if (b.known === 0n) return a;
      if (a.known === 0n) return b;
      if (a.distance !== undefined && b.known !== undefined) {
        const distance = a.distance + Number(BigInt.asIntN(64, b.known));
        if (Math.abs(distance) < 2 ** 31) return this.#place(distance);
      }
    }
    return this.#tree(op.type, () => {
      a.push();
      b.push();
      // The names of integer operations are WebAssembly's own.
      this.#c.code.op(`${op.type}.${op.fn}` as PlainName);
    });
  }

  #compare(op: IrOp & { readonly op: "compare" }): Emitted {
    const [a, b] = [this.value(op.a), this.value(op.b)];
    if (a.known !== undefined && b.known !== undefined) {
      return this.#known("i32", foldCompare(op.type, op.fn, a.known, b.known) ? 1n : 0n);
    }
    return this.#tree("i32", () => {
      a.push();
      b.push();
      // As above.
      this.#c.code.op(`${op.type}.${op.fn}` as PlainName);
    });
  }

  #convert(op: IrOp & { readonly op: "convert" }, type: IrType): Emitted {
    const { code } = this.#c;
    const a = this.value(op.a);
    const by = (...names: readonly PlainName[]): Emitted =>
      this.#tree(type, () => {
        a.push();
        code.op(...names);
      });
    switch (op.fn) {
      case "wrap":
        return a.known === undefined ? by("i32.wrap_i64") : this.#known("i32", a.known);
      case "extend_s":
        if (a.known !== undefined) return this.#known("i64", BigInt.asIntN(32, a.known));
        return by("i64.extend_i32_s");
      case "extend_u":
        return a.known === undefined ? by("i64.extend_i32_u") : this.#known("i64", a.known);
      case "bits_f64":
        if (a.doubleLocal !== undefined) return this.#inLocal("f64", a.doubleLocal);
        return by("f64.reinterpret_i64");
      case "f64_bits":
        return {
          type,
          cheap: false,
          push: () => {
            a.push();
            code.op("i64.reinterpret_f64");
          },
          pushDouble: () => a.push(),
        };
      case "bits_f32":
        return by("f32.reinterpret_i32");
      case "f32_bits":
        return by("i32.reinterpret_f32");
      case "box_f32":
        return this.#tree("i64", () => {
          a.push();
          code.op("i32.reinterpret_f32", "i64.extend_i32_u").i64(0xffffffff00000000n).op("i64.or");
        });
      case "unbox_f32": {
        const bits = this.#settle(a);
        return this.#tree("f32", () => {
          code.get(bits).op("i32.wrap_i64").i32(0x7fc00000).get(bits).i64(32).op("i64.shr_u");
          code.i64(0xffffffffn).op("i64.eq", "select", "f32.reinterpret_i32");
        });
      }
      default:
        return unreachable(op.fn);
    }
  }

  #select(op: IrOp & { readonly op: "select" }): Emitted {
    const [condition, yes, no] = [this.value(op.condition), this.value(op.yes), this.value(op.no)];
    if (condition.known !== undefined) return condition.known === 0n ? no : yes;
    return this.#tree(op.type, () => {
      yes.push();
      no.push();
      condition.push();
      this.#c.code.op("select");
    });
  }

  #unary(op: IrOp & { readonly op: "unary" }, type: IrType): Emitted {
    const a = this.value(op.a);
    if (op.fn === "eqz" && a.known !== undefined) {
      return this.#known("i32", a.known === 0n ? 1n : 0n);
    }
    return this.#tree(type, () => {
      a.push();
      // As above.
      this.#c.code.op(`${op.type}.${op.fn}` as PlainName);
    });
  }

  #call(op: IrOp & { readonly op: "call" }): Emitted {
    const { code, pool } = this.#c;
    const [a = 0, b = 0] = op.args.map((value) => this.#settle(this.value(value)));
    const temporary = (): number => pool.take("i64");
    return this.#tree("i64", () => {
      switch (op.helper) {
        case "mulhu":
        case "mulh":
        case "mulhsu":
          emitMulhu(code, a, b, temporary);
          if (op.helper !== "mulhu") emitSubtractIfNegative(code, b, a);
          if (op.helper === "mulh") emitSubtractIfNegative(code, a, b);
          return;
        case "rev8":
          emitReverseBytes(code, a, temporary);
          return;
        default:
          assert(op.helper === "orcb", "a helper without privileges");
          emitOrBytes(code, a);
      }
    });
  }

  // --- memory -------------------------------------------------------------------------------------------

  #lookup(address: Value, size: number, write: boolean): number {
    const value = this.value(address);
    const miss = (): void => this.#side(LEFT_BY.memory);
    return emitLookup(this.#c, () => value.push(), size, write, miss);
  }

  #load(op: IrOp & { readonly op: "load" }): Emitted {
    const { code } = this.#c;
    const host = this.#lookup(op.address, op.size, false);
    const push = (): void => {
      code.get(host).op("i32.wrap_i64").memory(loadName(op.size, op.signed));
    };
    if (op.size !== 8) return this.#tree("i64", push);
    const pushDouble = (): void => void code.get(host).op("i32.wrap_i64").memory("f64.load");
    return { type: "i64", cheap: false, push, pushDouble };
  }

  #store(op: IrOp & { readonly op: "store" }): void {
    const { code } = this.#c;
    const value = this.value(op.value);
    const host = this.#lookup(op.address, op.size, true);
    code.get(host).op("i32.wrap_i64");
    if (op.size === 8 && value.pushDouble !== undefined) {
      value.pushDouble();
      code.memory("f64.store");
      return;
    }
    value.push();
    code.memory(storeName(op.size));
  }

  #reserving(op: IrOp & { readonly op: "loadReserved" | "storeConditional" | "atomic" }): Emitted {
    const { code, pool } = this.#c;
    const host = this.#lookup(op.address, op.size, op.op !== "loadReserved");
    const result = pool.take("i64");
    if (op.op === "loadReserved") emitLoadReserved(this.#c, host, result, op.size);
    else {
      let value = this.#settle(this.value(op.value));
      if (op.op === "storeConditional") {
        emitStoreConditional(this.#c, host, value, result, op.size);
      } else {
        if (op.size === 4) {
          const extended = pool.take("i64");
          code.get(value).op("i64.extend32_s").set(extended);
          value = extended;
        }
        emitAtomic(this.#c, op.fn, { host, value, result }, op.size);
      }
    }
    return this.#inLocal("i64", result);
  }

  // --- floating point -----------------------------------------------------------------------------------

  #float(op: IrOp & { readonly op: "float" }, type: IrType): Emitted {
    const { code, pool, locals } = this.#c;
    const args = op.args.map((value) => this.#settle(this.value(value)));
    const result = pool.take(wasmType(type));
    const context = { ...this.#c, pushInexact: () => void code.get(locals.inexact) };
    const emitted = emitFast(context, op, args, result);
    assert(emitted, "an operation with a fast path");
    const wanted = TRUNCATES.has(op.fn) ? 1n : 0n;
    const rounding = op.rounding === undefined ? wanted : this.value(op.rounding).known;
    if (rounding !== wanted) code.op("drop").i32(0);
    code
      .op("i32.eqz")
      .unlikely()
      .if(() => this.#side(LEFT_BY.float));
    return this.#inLocal(type, result);
  }

  #guard(op: IrOp & { readonly op: "guard" }): void {
    const condition = this.value(op.condition);
    if (condition.known !== undefined && condition.known !== 0n) return;
    condition.push();
    this.#c.code
      .op("i32.eqz")
      .unlikely()
      .if(() => this.#side(LEFT_BY.instruction));
  }

  /** Emits what an operation does; the value that it defines, if any. */
  #operation(op: IrOp, type: IrType | undefined): Emitted | undefined {
    const { fields } = this.#instruction;
    const result = type ?? "i64";
    switch (op.op) {
      case "const":
        return this.#known(op.type, op.value);
      case "field":
        return this.#known("i64", BigInt(fields[op.name]));
      case "index":
        return this.#known("i64", BigInt(fields[op.field]));
      case "get":
        return this.#read(op.reg);
      case "set":
        this.#write(op.reg, this.value(op.value));
        return undefined;
      case "unary":
        return this.#unary(op, result);
      case "binary":
        return this.#binary(op);
      case "compare":
        return this.#compare(op);
      case "convert":
        return this.#convert(op, result);
      case "select":
        return this.#select(op);
      case "load":
        return this.#load(op);
      case "store":
        this.#store(op);
        return undefined;
      case "loadReserved":
      case "storeConditional":
      case "atomic":
        return this.#reserving(op);
      case "float":
        return this.#float(op, result);
      case "guard":
        this.#guard(op);
        return undefined;
      case "call":
        return this.#call(op);
      default:
        return unreachable(op);
    }
  }

  /** Emits all but the exit; the values that the exit needs can be asked for afterwards. */
  emit(): void {
    const { pool } = this.#c;
    pool.reset();
    for (const [position, op] of this.#instruction.instruction.block.ops.entries()) {
      const value = this.#operation(op, resultType(op));
      const kept = value !== undefined && !value.cheap && (this.#counts[position] ?? 0) > 1;
      this.#values[position] = kept ? this.#inLocal(value.type, this.#settle(value)) : value;
    }
  }

  /** Pushes where an instruction that ends in a jump goes. */
  pushTarget(): void {
    const { exit } = this.#instruction.instruction.block;
    assert(exit.kind === "jump", "an instruction that jumps");
    this.value(exit.target).push();
  }
  pushCondition(): void {
    const { exit } = this.#instruction.instruction.block;
    assert(exit.kind === "branch", "an instruction that branches");
    this.value(exit.condition).push();
  }
}
