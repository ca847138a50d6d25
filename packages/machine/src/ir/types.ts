/**
 * The intermediate representation that every instruction set produces and every execution consumes.
 *
 * One block is one guest instruction: a straight line of operations in which each operation defines at most
 * one value, named by its position (so it is SSA by construction), and which ends by falling through to the
 * next instruction or by one exit. A block is a template: operands of the encoding appear as `field`
 * operations and as the field names in register references. The reference evaluator binds them to one
 * encoding, the interpreter to loads from a predecoded operation, a compiler to constants.
 *
 * Rules that every consumer relies on:
 * - `load`, `store`, `atomic`, `guard` and `call` may trap. A block must have changed no guest state that the
 *   trap would expose: `set` operations come after every operation that may trap (the validator checks it).
 * - Integers wrap; shift counts are taken modulo the width; `div_s` and friends are given divisors for which
 *   the machine operation is defined (no zero, no overflow): the builder of the instruction selects first.
 * - Comparison results are i32, 0 or 1. f32 and f64 values are IEEE bit patterns: moving one never changes it.
 */

export type IrType = "i32" | "i64" | "f32" | "f64" | "v128";

/** Position in `IrBlock.ops` of the operation that defines the value. */
export type Value = number;

/** Operands of an encoding. Register fields are numbers of registers; `imm` is sign-extended. */
export type RegisterField = "rd" | "rs1" | "rs2" | "rs3";
export type ConstantField = "imm" | "aux";

/** A guest register: of a bank, chosen by a field of the encoding; or one named scalar of the hart. */
export type RegisterRef =
  | { readonly bank: "x" | "f"; readonly field: RegisterField }
  | { readonly bank: "state"; readonly name: StateName };

/**
 * Scalars of a hart that instructions read directly: `pc` is the address of this instruction (i64), `nextPc`
 * of the following one (i64), `frm` the dynamic rounding mode (i32), `zeroOn` and `fpOn` whether cache blocks
 * may be zeroed and floating point may be used (i32, 0 or 1), `fpDirty` is written to note a change of
 * floating-point state (i32).
 */
export type StateName = "pc" | "nextPc" | "frm" | "zeroOn" | "fpOn" | "fpDirty";

export type IntegerType = "i32" | "i64";
export type FloatType = "f32" | "f64";

export type UnaryFn = "clz" | "ctz" | "popcnt" | "eqz" | "extend8_s" | "extend16_s" | "extend32_s";

export type BinaryFn =
  | "add"
  | "sub"
  | "mul"
  | "div_s"
  | "div_u"
  | "rem_s"
  | "rem_u"
  | "and"
  | "or"
  | "xor"
  | "shl"
  | "shr_s"
  | "shr_u"
  | "rotl"
  | "rotr";

export type CompareFn = "eq" | "ne" | "lt_s" | "lt_u" | "ge_s" | "ge_u";

/** Between types, bits unchanged unless the name says otherwise. */
export type ConvertFn =
  /** i64 -> i32, the low half. */
  | "wrap"
  /** i32 -> i64. */
  | "extend_s"
  | "extend_u"
  /** i64 <-> f64, i32 <-> f32. */
  | "f64_bits"
  | "bits_f64"
  | "f32_bits"
  | "bits_f32"
  /** i64 register -> f32: the low half if the upper half is all ones, else the canonical NaN. */
  | "unbox_f32"
  /** f32 -> i64 register: upper half all ones. */
  | "box_f32";

/**
 * Floating point with RISC-V's results: canonical NaN, saturating conversions, tininess after rounding; the
 * exception flags are accrued in the hart. `rounding` is 0 RNE, 1 RTZ, 2 RDN, 3 RUP, 4 RMM.
 */
export type FloatFn =
  | "add"
  | "sub"
  | "mul"
  | "div"
  | "sqrt"
  | "fma"
  | "min"
  | "max"
  | "eq"
  | "lt"
  | "le"
  | "class"
  | "to_i32"
  | "to_u32"
  | "to_i64"
  | "to_u64"
  | "from_i32"
  | "from_u32"
  | "from_i64"
  | "from_u64"
  /** f32 -> f64 when `format` is f64, f64 -> f32 when it is f32. */
  | "convert";

/** What needs the machine: privileged state, or is too rare to be worth operations of its own. */
export type HelperName =
  /** (number, operation 1 write 2 set 3 clear, operand, index of source) -> old value. */
  | "csr"
  /** () -> nothing: environment call; SBI when the caller is the supervisor. */
  | "ecall"
  /** () -> address to go on at. */
  | "sret"
  | "wfi"
  /** (address, address space id, index of rs1, index of rs2). */
  | "sfence"
  | "fenceI"
  /** (address, 0 invalidate 1 clean 2 flush): checks permission; caches are coherent. */
  | "cboManage"
  /** (a, b) -> upper half of the product; signed, signed x unsigned, unsigned. */
  | "mulh"
  | "mulhsu"
  | "mulhu"
  /** (value) -> value with its bytes reversed; each byte any bit set. */
  | "rev8"
  | "orcb";

export type AtomicFn = "swap" | "add" | "xor" | "and" | "or" | "min" | "max" | "minu" | "maxu";

export type IrOp =
  | { readonly op: "const"; readonly type: IntegerType; readonly value: bigint }
  /** i64. */
  | { readonly op: "field"; readonly name: ConstantField }
  /** The number of the register that a field names, as i64. */
  | { readonly op: "index"; readonly field: RegisterField }
  | { readonly op: "get"; readonly type: IntegerType; readonly reg: RegisterRef }
  | { readonly op: "set"; readonly reg: RegisterRef; readonly value: Value }
  | { readonly op: "unary"; readonly type: IntegerType; readonly fn: UnaryFn; readonly a: Value }
  | {
      readonly op: "binary";
      readonly type: IntegerType;
      readonly fn: BinaryFn;
      readonly a: Value;
      readonly b: Value;
    }
  /** Result i32; `type` is that of the operands. */
  | {
      readonly op: "compare";
      readonly type: IntegerType;
      readonly fn: CompareFn;
      readonly a: Value;
      readonly b: Value;
    }
  | { readonly op: "convert"; readonly fn: ConvertFn; readonly a: Value }
  | {
      readonly op: "select";
      readonly type: IrType;
      readonly condition: Value;
      readonly yes: Value;
      readonly no: Value;
    }
  /** Result i64, extended as `signed` says. */
  | {
      readonly op: "load";
      readonly size: 1 | 2 | 4 | 8;
      readonly signed: boolean;
      readonly address: Value;
    }
  | {
      readonly op: "store";
      readonly size: 1 | 2 | 4 | 8;
      readonly address: Value;
      readonly value: Value;
    }
  /** Read-modify-write, naturally aligned or it traps; result is the old value, sign-extended to i64. */
  | {
      readonly op: "atomic";
      readonly fn: AtomicFn;
      readonly size: 4 | 8;
      readonly address: Value;
      readonly value: Value;
    }
  | { readonly op: "loadReserved"; readonly size: 4 | 8; readonly address: Value }
  /** Result i64: 0 stored, 1 not. */
  | {
      readonly op: "storeConditional";
      readonly size: 4 | 8;
      readonly address: Value;
      readonly value: Value;
    }
  | {
      readonly op: "float";
      readonly fn: FloatFn;
      /** Of the result, or of the operands where the result is an integer. */
      readonly format: FloatType;
      readonly rounding: Value | undefined;
      readonly args: readonly Value[];
    }
  /** Traps with `cause` unless the condition holds; the trap value is the instruction's bits, pc or zero. */
  | {
      readonly op: "guard";
      readonly condition: Value;
      readonly cause: number;
      readonly value: "bits" | "pc" | "zero";
    }
  | { readonly op: "call"; readonly helper: HelperName; readonly args: readonly Value[] };

/**
 * How the instruction ends. `leave` asks the machine, once the instruction has retired, to look again at
 * interrupts, privilege and translation before anything else runs.
 */
export type IrExit =
  | { readonly kind: "next"; readonly leave: boolean }
  | { readonly kind: "jump"; readonly target: Value; readonly leave: boolean }
  /** To `pc + imm` if the condition (i32) is not zero. */
  | { readonly kind: "branch"; readonly condition: Value }
  /** To `pc + imm`. */
  | { readonly kind: "jumpRelative" };

export interface IrBlock {
  readonly ops: readonly IrOp[];
  readonly exit: IrExit;
}
