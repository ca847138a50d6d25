/**
 * Emits one instruction of a region from its block: operands of the encoding are constants here, so much of
 * the block folds away. A value with one use is pushed where it is used; the others get a local.
 */

import { assert, present, unreachable } from "@blixard/std";
import { wasmType } from "../../interp/context.ts";
import { TRUNCATES } from "../../interp/float-fast.ts";
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
import type { MemoryName } from "../../wasm/code.ts";
import {
  emitSwitch,
  pushInterruptible,
  pushOtherBits,
  pushStatus,
  SET_BITS,
} from "../../interp/status.ts";
import { CSR } from "../../isa/riscv64/csr.ts";
import { USER } from "../../isa/riscv64/hart.ts";
import type { RegionInstruction } from "../analyse/graph.ts";
import { registerNumber } from "../analyse/registers.ts";
import type { RegionContext } from "./context.ts";
import { emitSideExit, LEFT_BY } from "./context.ts";
import type { Forms } from "./forms.ts";
import { emitRegionFloat } from "./float.ts";
import { emitAtomic, emitLoadReserved, emitLookup, emitStoreConditional } from "./memory.ts";
import { emitBinary, emitCompare, emitConvert, emitSelect, emitUnary } from "./integer.ts";
import type { Emitted } from "./value.ts";
import { Values } from "./value.ts";

const WORD_STORES: Readonly<Record<number, MemoryName>> = {
  1: "i32.store8",
  2: "i32.store16",
  4: "i32.store",
};

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
  readonly #forms: Forms;
  readonly #instruction: RegionInstruction;
  /** Instructions of the block from this one on. */
  readonly #undone: number;
  readonly #emitted: (Emitted | undefined)[] = [];
  readonly #values: Values;
  readonly #counts: readonly number[];

  constructor(c: RegionContext, forms: Forms, instruction: RegionInstruction, undone: number) {
    this.#c = c;
    this.#forms = forms;
    this.#values = new Values(c);
    this.#instruction = instruction;
    this.#undone = undone;
    this.#counts = useCounts(instruction.instruction.block);
  }

  // --- values -------------------------------------------------------------------------------------------

  value(value: Value): Emitted {
    return present(this.#emitted[value], "a value of the block");
  }
  #side(by: number): void {
    emitSideExit(this.#c, this.#forms, this.#instruction.delta, this.#undone, by);
  }

  // --- registers ----------------------------------------------------------------------------------------

  #read(reg: RegisterRef): Emitted {
    const { code } = this.#c;
    if (reg.bank === "state") {
      const { delta, length } = this.#instruction;
      switch (reg.name) {
        case "pc":
          return this.#values.place(delta);
        case "nextPc":
          return this.#values.place(delta + length);
        // The region is not entered otherwise.
        case "frm":
          return this.#values.known("i32", 0n);
        case "fpOn":
          return this.#values.known("i32", 1n);
        case "zeroOn":
          return this.#values.tree("i32", () => void code.i32(0).memory("i32.load", STATE.zeroOn));
        case "fpDirty":
          return this.#values.tree("i32", () => void code.i32(0).memory("i32.load", STATE.fpDirty));
      }
    }
    const number = registerNumber(reg, this.#instruction);
    if (number === undefined) return this.#values.known("i64", 0n);
    const local = this.#c.register(number);
    if (number < 32) return this.#readInteger(number, local);
    return {
      type: "i64",
      cheap: true,
      push: () => void code.get(local).op("i64.reinterpret_f64"),
      pushDouble: () => void code.get(local),
      doubleLocal: local,
    };
  }

  #readInteger(number: number, local: number): Emitted {
    const { code } = this.#c;
    const form = this.#forms.of(number);
    if (form === "narrow") {
      const word = this.#c.word(number);
      return this.#values.word(true, () => void code.get(word));
    }
    const whole = this.#values.inLocal("i64", local);
    if (form === undefined) return whole;
    return { ...whole, pushWord: () => void code.get(local).op("i32.wrap_i64") };
  }
  #writeInteger(number: number, value: Emitted): void {
    const { code } = this.#c;
    if (value.computedAsWord === true && value.pushWord !== undefined) {
      value.pushWord();
      code.set(this.#c.word(number));
      this.#forms.set(number, "narrow");
      return;
    }
    value.push();
    code.set(this.#c.register(number));
    this.#forms.set(number, value.pushWord === undefined ? undefined : "fits");
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
    if (number < 32) {
      this.#writeInteger(number, value);
      return;
    }
    if (value.pushDouble !== undefined) value.pushDouble();
    else {
      value.push();
      code.op("f64.reinterpret_i64");
    }
    code.set(this.#c.register(number));
  }

  /** Of fflags alone: NX has to stay set where the region takes it for granted. */
  #accessFlags(op: IrOp & { readonly op: "call" }): Emitted {
    const { code, locals, pool, inexactSet } = this.#c;
    const [, operation, operand, source] = op.args.map((value) => this.value(value));
    const old = pool.take("i32");
    code.i32(0).memory("i32.load", STATE.fflags).set(old);
    if (operation?.known === 1n || source?.known !== 0n) {
      const flags = pool.take("i32");
      present(operand, "an operand").push();
      code.op("i32.wrap_i64").i32(31).op("i32.and");
      if (operation?.known === 2n) code.get(old).op("i32.or");
      if (operation?.known === 3n) code.i32(31).op("i32.xor").get(old).op("i32.and");
      code.tee(flags).i32(1).op("i32.and");
      if (inexactSet) {
        code.op("i32.eqz").unlikely();
        code.if(() => this.#side(LEFT_BY.float));
      } else code.set(locals.inexact);
      code.i32(0).get(flags).memory("i32.store", STATE.fflags);
      code.i32(0).i32(1).memory("i32.store", STATE.fpDirty);
    }
    const push = (): void => void code.get(old).op("i64.extend_i32_u");
    return { type: "i64", cheap: true, push, pushWord: () => void code.get(old) };
  }

  /** Of sstatus: interrupts off, or on while none is pending. */
  #accessStatus(op: IrOp & { readonly op: "call" }): Emitted {
    const { code, pool, privilege } = this.#c;
    const [, operation, operand] = op.args.map((value) => this.value(value));
    const bits = this.#values.settle(present(operand, "an operand"));
    const side = (): void => this.#side(LEFT_BY.instruction);
    if (privilege === USER) code.i32(1).if(side);
    pushOtherBits(code, bits);
    code.unlikely().if(side);
    if (operation?.known === SET_BITS) {
      pushInterruptible(code, bits);
      code.unlikely().if(side);
    }
    const old = pool.take("i64");
    pushStatus(code, pool.take("i32"));
    code.set(old);
    emitSwitch(code, present(operation?.known, "an operation"), bits);
    return this.#values.inLocal("i64", old);
  }

  #call(op: IrOp & { readonly op: "call" }): Emitted {
    if (op.helper === "csr") {
      const { imm } = this.#instruction.fields;
      return imm === CSR.sstatus ? this.#accessStatus(op) : this.#accessFlags(op);
    }
    const { code, pool } = this.#c;
    const [a = 0, b = 0] = op.args.map((value) => this.#values.settle(this.value(value)));
    const temporary = (): number => pool.take("i64");
    return this.#values.tree("i64", () => {
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
    if (op.size < 4 || (op.size === 4 && op.signed)) {
      const pushWord = (): void => {
        push();
        code.op("i32.wrap_i64");
      };
      return { type: "i64", cheap: false, push, pushWord };
    }
    if (op.size !== 8) return this.#values.tree("i64", push);
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
    if (op.size < 8 && value.pushWord !== undefined) {
      value.pushWord();
      code.memory(WORD_STORES[op.size] ?? "i32.store");
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
      let value = this.#values.settle(this.value(op.value));
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
    return this.#values.inLocal("i64", result);
  }

  // --- floating point -----------------------------------------------------------------------------------

  #float(op: IrOp & { readonly op: "float" }, type: IrType): Emitted {
    const { code, pool, locals } = this.#c;
    const args = op.args.map((value) => this.#values.settle(this.value(value)));
    const result = pool.take(wasmType(type));
    const miss = (): void => this.#side(LEFT_BY.float);
    const wanted = TRUNCATES.has(op.fn) ? 1n : 0n;
    const rounding = op.rounding === undefined ? wanted : this.value(op.rounding).known;
    if (rounding !== wanted) miss();
    const pushInexact = (): void => {
      if (this.#c.inexactSet) code.i32(1);
      else code.get(locals.inexact);
    };
    emitRegionFloat({ ...this.#c, pushInexact }, op, args, result, miss);
    return this.#values.inLocal(type, result);
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
        return this.#values.known(op.type, op.value);
      case "field":
        return this.#values.known("i64", BigInt(fields[op.name]));
      case "index":
        return this.#values.known("i64", BigInt(fields[op.field]));
      case "get":
        return this.#read(op.reg);
      case "set":
        this.#write(op.reg, this.value(op.value));
        return undefined;
      case "unary":
        return emitUnary(this.#values, op, result, this.value(op.a));
      case "binary":
        return emitBinary(this.#values, op, this.value(op.a), this.value(op.b));
      case "compare":
        return emitCompare(this.#values, op, this.value(op.a), this.value(op.b));
      case "convert":
        return emitConvert(this.#values, op, result, this.value(op.a));
      case "select":
        return emitSelect(this.#values, op, (value) => this.value(value));
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
      this.#emitted[position] = kept ? this.#values.keep(value) : value;
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
