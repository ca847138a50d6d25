/** Emits the body of one handler from the block of its instruction. */

import { present, unreachable } from "@blixard/std";
import { HELPERS, resultType } from "../ir/shape.ts";
import type { ConvertFn, HelperName, IrBlock, IrOp, RegisterRef, Value } from "../ir/types.ts";
import { CSR } from "../isa/riscv64/csr.ts";
import { STATE } from "../memory/layout.ts";
import type { PlainName } from "../wasm/code.ts";
import type { Context, Labels } from "./context.ts";
import { OPERATION, TRAP_VALUE, wasmType } from "./context.ts";
import { emitFloat } from "./float.ts";
import { emitAfterCall, emitAtomic, emitLoad, emitLoadReserved, emitSave } from "./memory.ts";
import { emitStore, emitStoreConditional } from "./memory.ts";
import {
  CLEAR_BITS,
  emitSwitch,
  pushInterruptible,
  pushOtherBits,
  pushStatus,
  SET_BITS,
} from "./status.ts";
import { emitOrBytes, emitReverseBytes, emitSubtractIfNegative } from "./pure.ts";

/** Numbers of helpers as the import takes them. */
export const HELPER_NUMBERS: readonly HelperName[] = [
  "csr",
  "ecall",
  "sret",
  "wfi",
  "sfence",
  "fenceI",
  "cboManage",
];

export interface Variant {
  /** Length of the encoding in bytes. */
  readonly length: 2 | 4;
  /** The branch target lies in the same page: the immediate is then a distance in operations' bytes. */
  readonly near: boolean;
}

/** From a byte of code to the operation of its halfword: 16 bytes for every two. */
export const stepOf = (length: number): number => length * 8;

class HandlerEmitter {
  readonly #c: Context;
  readonly #labels: Labels;
  readonly #variant: Variant;
  /** Where each value is. */
  readonly #at = new Map<Value, number>();
  #block: IrBlock | undefined;

  constructor(c: Context, labels: Labels, variant: Variant) {
    this.#c = c;
    this.#labels = labels;
    this.#variant = variant;
  }

  #local(value: Value): number {
    return present(this.#at.get(value), "a value's local");
  }
  /** The number that a value always is. */
  #known(value: Value | undefined): bigint | undefined {
    const op = value === undefined ? undefined : this.#block?.ops[value];
    return op?.op === "const" ? op.value : undefined;
  }
  #get(value: Value): void {
    this.#c.code.get(this.#local(value));
  }
  /** Address of a register, from the predecoded operation. */
  #registerAddress(field: "rd" | "rs1" | "rs2" | "rs3"): void {
    this.#c.code.get(this.#c.locals.ip).memory("i32.load16_u", OPERATION[field]);
  }

  /** Pushes the address of this instruction plus `bytes`. */
  #pushPc(bytes: number): void {
    const { code, locals } = this.#c;
    code.get(locals.pageVa).get(locals.ip).get(locals.pageBase).op("i32.sub").i32(3);
    code.op("i32.shr_u", "i64.extend_i32_u", "i64.add");
    if (bytes !== 0) code.i64(bytes).op("i64.add");
  }

  #readRegister(reg: RegisterRef): void {
    const { code } = this.#c;
    if (reg.bank !== "state") {
      this.#registerAddress(reg.field);
      code.memory("i64.load");
      return;
    }
    switch (reg.name) {
      case "pc":
        return this.#pushPc(0);
      case "nextPc":
        return this.#pushPc(this.#variant.length);
      case "frm":
      case "zeroOn":
      case "fpOn":
      case "fpDirty":
        code.i32(0).memory("i32.load", STATE[reg.name]);
    }
  }

  #writeRegister(reg: RegisterRef, value: Value): void {
    const { code } = this.#c;
    if (reg.bank !== "state") {
      this.#registerAddress(reg.field);
      this.#get(value);
      code.memory("i64.store");
      return;
    }
    code.i32(0);
    this.#get(value);
    code.memory("i32.store", reg.name === "fpDirty" ? STATE.fpDirty : STATE.frm);
  }

  #convert(fn: ConvertFn, a: Value): void {
    const { code } = this.#c;
    const one: Partial<Record<ConvertFn, PlainName>> = {
      wrap: "i32.wrap_i64",
      extend_s: "i64.extend_i32_s",
      extend_u: "i64.extend_i32_u",
      f64_bits: "i64.reinterpret_f64",
      bits_f64: "f64.reinterpret_i64",
      f32_bits: "i32.reinterpret_f32",
      bits_f32: "f32.reinterpret_i32",
    };
    const name = one[fn];
    this.#get(a);
    if (name !== undefined) {
      code.op(name);
    } else if (fn === "box_f32") {
      code.op("i32.reinterpret_f32", "i64.extend_i32_u").i64(0xffffffff00000000n).op("i64.or");
    } else {
      code.op("i32.wrap_i64").i32(0x7fc00000);
      this.#get(a);
      code.i64(32).op("i64.shr_u").i64(0xffffffffn).op("i64.eq", "select", "f32.reinterpret_i32");
    }
  }

  #pureHelper(helper: HelperName, args: readonly Value[]): void {
    const { code, functions, pool } = this.#c;
    const [a = 0, b = 0] = args.map((value) => this.#local(value));
    switch (helper) {
      case "mulhu":
      case "mulh":
      case "mulhsu":
        code.get(a).get(b).call(functions.mulhu);
        if (helper !== "mulhu") emitSubtractIfNegative(code, b, a);
        if (helper === "mulh") emitSubtractIfNegative(code, a, b);
        return;
      case "rev8":
        emitReverseBytes(code, a, () => pool.take("i64"));
        return;
      default:
        emitOrBytes(code, a);
    }
  }

  /** Switching interrupts off, and on while none is pending, is done here; the rest by the machine. */
  #csr(op: IrOp & { op: "call" }, operation: bigint, result: number): void {
    const { code, layout, locals, pool } = this.#c;
    const [csr = 0, , operand = 0] = op.args.map((value) => this.#local(value));
    code.get(csr).i64(CSR.sstatus).op("i64.eq");
    code.get(locals.tlb).i32(layout.tlbAt + 2 * layout.tlbTableBytes);
    code.op("i32.eq", "i32.and");
    pushOtherBits(code, operand);
    code.op("i32.eqz", "i32.and");
    if (operation === SET_BITS) {
      pushInterruptible(code, operand);
      code.op("i32.eqz", "i32.and");
    }
    code.if(
      () => {
        pushStatus(code, pool.take("i32"));
        code.set(result);
        emitSwitch(code, operation, operand);
        code.i32(0).i32(0).memory("i32.store", STATE.attention);
      },
      () => {
        this.#privilegedHelper(op.helper, op.args);
        code.set(result);
      },
    );
  }

  #privilegedHelper(helper: HelperName, args: readonly Value[]): void {
    const { code, functions } = this.#c;
    emitSave(this.#c);
    for (const [position, value] of args.entries()) {
      code.i32(0);
      this.#get(value);
      code.memory("i64.store", STATE.arguments + 8 * position);
    }
    code.i32(HELPER_NUMBERS.indexOf(helper)).call(functions.helper);
    emitAfterCall(this.#c, this.#labels);
    if (HELPERS[helper].result) code.i32(0).memory("i64.load", STATE.value);
  }

  #guard(op: IrOp & { op: "guard" }): void {
    const { code } = this.#c;
    this.#get(op.condition);
    code.op("i32.eqz").if(() => {
      code.i32(0).i32(op.cause).memory("i32.store", STATE.trapCause);
      code.i32(0).i32(TRAP_VALUE[op.value]).memory("i32.store", STATE.trapValue);
      code.br(this.#labels.guard);
    });
  }

  /** Emits an operation whose result, if any, ends up on the stack; true if it stored the result itself. */
  #operation(op: IrOp, result: number): boolean {
    const { code, locals } = this.#c;
    const labels = this.#labels;
    switch (op.op) {
      case "const":
        if (op.type === "i32") code.i32(Number(op.value) | 0);
        else code.i64(op.value);
        return false;
      case "field":
        code.get(locals.ip);
        if (op.name === "imm") code.memory("i64.load32_s", OPERATION.imm);
        else code.memory("i64.load8_u", OPERATION.aux);
        return false;
      case "index":
        this.#registerAddress(op.field);
        code.i32(3).op("i32.shr_u", "i64.extend_i32_u");
        return false;
      case "get":
        this.#readRegister(op.reg);
        return false;
      case "set":
        this.#writeRegister(op.reg, op.value);
        return true;
      case "unary":
        this.#get(op.a);
        // The names of integer operations are WebAssembly's own.
        code.op(`${op.type}.${op.fn}` as PlainName);
        if (op.fn === "eqz") return false;
        return false;
      case "binary":
      case "compare":
        this.#get(op.a);
        this.#get(op.b);
        // As above.
        code.op(`${op.type}.${op.fn}` as PlainName);
        return false;
      case "convert":
        this.#convert(op.fn, op.a);
        return false;
      case "select":
        this.#get(op.yes);
        this.#get(op.no);
        this.#get(op.condition);
        code.op("select");
        return false;
      case "load":
        emitLoad(this.#c, labels, this.#local(op.address), result, op);
        return true;
      case "store":
        emitStore(this.#c, labels, this.#local(op.address), this.#local(op.value), op.size);
        return true;
      case "loadReserved":
        emitLoadReserved(this.#c, labels, this.#local(op.address), result, op.size);
        return true;
      case "storeConditional": {
        const [address, value] = [this.#local(op.address), this.#local(op.value)];
        emitStoreConditional(this.#c, labels, address, value, result, op.size);
        return true;
      }
      case "atomic": {
        const [address, value] = [this.#local(op.address), this.#local(op.value)];
        emitAtomic(this.#c, labels, op.fn, { address, value, result }, op.size);
        return true;
      }
      case "float":
        emitFloat(this.#c, op, (value) => this.#local(value), result);
        return true;
      case "guard":
        this.#guard(op);
        return true;
      case "call": {
        if (!HELPERS[op.helper].privileged) {
          this.#pureHelper(op.helper, op.args);
          return false;
        }
        const operation = op.helper === "csr" ? this.#known(op.args[1]) : undefined;
        if (operation === SET_BITS || operation === CLEAR_BITS) {
          this.#csr(op, operation, result);
          return true;
        }
        this.#privilegedHelper(op.helper, op.args);
        return !HELPERS[op.helper].result;
      }
      default:
        return unreachable(op);
    }
  }

  #next(): void {
    const { code, locals } = this.#c;
    code.get(locals.ip).i32(stepOf(this.#variant.length)).op("i32.add").set(locals.ip);
    code.br(this.#labels.next);
  }
  /** To pc + imm. */
  #relative(): void {
    const { code, locals } = this.#c;
    if (this.#variant.near) {
      code.get(locals.ip).get(locals.ip).memory("i32.load", OPERATION.imm).op("i32.add");
      code.set(locals.ip).br(this.#labels.next);
      return;
    }
    this.#pushPc(0);
    code.get(locals.ip).memory("i64.load32_s", OPERATION.imm).op("i64.add").set(locals.target);
    code.br(this.#labels.jump);
  }

  /** What a branch does is kept for the compiler, in the operation itself. */
  #note(field: number): void {
    const { code, counting, locals } = this.#c;
    if (counting !== undefined) code.get(locals.ip).i32(1).memory("i32.store8", field);
  }

  block(block: IrBlock): void {
    const { code, pool, locals } = this.#c;
    pool.reset();
    this.#block = block;
    for (const [value, op] of block.ops.entries()) {
      const type = resultType(op);
      const result = type === undefined ? -1 : pool.take(wasmType(type));
      if (type !== undefined) this.#at.set(value, result);
      const stored = this.#operation(op, result);
      if (!stored) code.set(result);
    }
    const { exit } = block;
    switch (exit.kind) {
      case "next":
        if (!exit.leave) return this.#next();
        code.get(locals.ip).i32(stepOf(this.#variant.length)).op("i32.add").set(locals.ip);
        code.i32(0).memory("i32.load", STATE.attention).op("i32.eqz").brIf(this.#labels.next);
        this.#pushPc(0);
        code.set(locals.target).br(this.#labels.leave);
        return;
      case "jump":
        this.#get(exit.target);
        code.set(locals.target);
        if (this.#c.counting !== undefined && !exit.leave) {
          code.get(locals.ip).get(locals.target).op("i32.wrap_i64");
          code.memory("i32.store", OPERATION.target);
        }
        code.br(exit.leave ? this.#labels.leave : this.#labels.jump);
        return;
      case "branch":
        this.#get(exit.condition);
        code.if(() => {
          this.#note(OPERATION.taken);
          this.#relative();
        });
        this.#note(OPERATION.notTaken);
        return this.#next();
      case "jumpRelative":
        return this.#relative();
    }
  }
}

/** Emits one handler: it ends in a jump to one of the labels. */
export function emitHandler(c: Context, labels: Labels, block: IrBlock, variant: Variant): void {
  new HandlerEmitter(c, labels, variant).block(block);
}
