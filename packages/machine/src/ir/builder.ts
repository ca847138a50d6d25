/** Builds one block. Types are inferred from operands and checked at once, so that a mistake shows its line. */

import { assert, present } from "@blixard/std";
import { registerType, resultType } from "./shape.ts";
import type {
  AtomicFn,
  BinaryFn,
  CompareFn,
  ConstantField,
  ConvertFn,
  FloatFn,
  FloatType,
  HelperName,
  IntegerType,
  IrBlock,
  IrExit,
  IrOp,
  IrType,
  RegisterField,
  StateName,
  UnaryFn,
  Value,
} from "./types.ts";
import { validate } from "./validate.ts";

export class Builder {
  readonly #ops: IrOp[] = [];
  #exit: IrExit | undefined;

  #push(op: IrOp): Value {
    this.#ops.push(op);
    return this.#ops.length - 1;
  }

  typeOf(value: Value): IrType {
    return present(resultType(present(this.#ops[value], "operation")), "type of a value");
  }

  #integer(value: Value): IntegerType {
    const type = this.typeOf(value);
    assert(type === "i32" || type === "i64", `integer expected, got ${type}`);
    return type;
  }

  i64(value: bigint | number): Value {
    return this.#push({ op: "const", type: "i64", value: BigInt.asUintN(64, BigInt(value)) });
  }
  i32(value: number): Value {
    return this.#push({ op: "const", type: "i32", value: BigInt.asUintN(32, BigInt(value)) });
  }
  field(name: ConstantField): Value {
    return this.#push({ op: "field", name });
  }
  index(field: RegisterField): Value {
    return this.#push({ op: "index", field });
  }
  x(field: RegisterField): Value {
    return this.#push({ op: "get", type: "i64", reg: { bank: "x", field } });
  }
  setX(value: Value): void {
    this.#push({ op: "set", reg: { bank: "x", field: "rd" }, value });
  }
  f(field: RegisterField): Value {
    return this.#push({ op: "get", type: "i64", reg: { bank: "f", field } });
  }
  setF(value: Value): void {
    this.#push({ op: "set", reg: { bank: "f", field: "rd" }, value });
  }
  state(name: StateName): Value {
    const reg = { bank: "state", name } as const;
    return this.#push({ op: "get", type: registerType(reg), reg });
  }
  setState(name: StateName, value: Value): void {
    this.#push({ op: "set", reg: { bank: "state", name }, value });
  }
  unary(fn: UnaryFn, a: Value): Value {
    return this.#push({ op: "unary", type: this.#integer(a), fn, a });
  }
  binary(fn: BinaryFn, a: Value, b: Value): Value {
    return this.#push({ op: "binary", type: this.#integer(a), fn, a, b });
  }
  compare(fn: CompareFn, a: Value, b: Value): Value {
    return this.#push({ op: "compare", type: this.#integer(a), fn, a, b });
  }
  convert(fn: ConvertFn, a: Value): Value {
    return this.#push({ op: "convert", fn, a });
  }
  select(condition: Value, yes: Value, no: Value): Value {
    return this.#push({ op: "select", type: this.typeOf(yes), condition, yes, no });
  }
  load(size: 1 | 2 | 4 | 8, signed: boolean, address: Value): Value {
    return this.#push({ op: "load", size, signed, address });
  }
  store(size: 1 | 2 | 4 | 8, address: Value, value: Value): void {
    this.#push({ op: "store", size, address, value });
  }
  atomic(fn: AtomicFn, size: 4 | 8, address: Value, value: Value): Value {
    return this.#push({ op: "atomic", fn, size, address, value });
  }
  loadReserved(size: 4 | 8, address: Value): Value {
    return this.#push({ op: "loadReserved", size, address });
  }
  storeConditional(size: 4 | 8, address: Value, value: Value): Value {
    return this.#push({ op: "storeConditional", size, address, value });
  }
  float(fn: FloatFn, format: FloatType, rounding: Value | undefined, ...args: Value[]): Value {
    return this.#push({ op: "float", fn, format, rounding, args });
  }
  guard(condition: Value, cause: number, value: "bits" | "pc" | "zero"): void {
    this.#push({ op: "guard", condition, cause, value });
  }
  call(helper: HelperName, ...args: Value[]): Value {
    return this.#push({ op: "call", helper, args });
  }

  #end(exit: IrExit): void {
    assert(this.#exit === undefined, "a block ends once");
    this.#exit = exit;
  }
  leave(): void {
    this.#end({ kind: "next", leave: true });
  }
  jump(target: Value, leave = false): void {
    this.#end({ kind: "jump", target, leave });
  }
  branch(condition: Value): void {
    this.#end({ kind: "branch", condition });
  }
  jumpRelative(): void {
    this.#end({ kind: "jumpRelative" });
  }

  finish(): IrBlock {
    const block: IrBlock = { ops: this.#ops, exit: this.#exit ?? { kind: "next", leave: false } };
    validate(block);
    return block;
  }
}

/** The block that `build` describes. Throws AssertionError when it breaks a rule of the representation. */
export function buildBlock(build: (b: Builder) => void): IrBlock {
  const builder = new Builder();
  build(builder);
  return builder.finish();
}
