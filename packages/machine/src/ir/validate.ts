/** The rules of the representation, checked once for every entry of a decode table. */

import { assert, unreachable } from "@blixard/std";
import { CONVERSIONS, floatShape, HELPERS, mayTrap, registerType, resultType } from "./shape.ts";
import type { IrBlock, IrOp, IrType, Value } from "./types.ts";

type Expect = readonly (readonly [Value, IrType])[];

/** Operands of an operation with the types that they must have. */
export function operands(op: IrOp): Expect {
  switch (op.op) {
    case "const":
    case "field":
    case "index":
    case "get":
      return [];
    case "set":
      return [[op.value, registerType(op.reg)]];
    case "unary":
      return [[op.a, op.type]];
    case "binary":
    case "compare":
      return [
        [op.a, op.type],
        [op.b, op.type],
      ];
    case "convert":
      return [[op.a, CONVERSIONS[op.fn].from]];
    case "select":
      return [
        [op.condition, "i32"],
        [op.yes, op.type],
        [op.no, op.type],
      ];
    case "load":
    case "loadReserved":
      return [[op.address, "i64"]];
    case "store":
    case "atomic":
    case "storeConditional":
      return [
        [op.address, "i64"],
        [op.value, "i64"],
      ];
    case "float": {
      const shape = floatShape(op.fn, op.format);
      assert(shape.args.length === op.args.length, `${op.fn} takes ${shape.args.length} operands`);
      assert(shape.rounds === (op.rounding !== undefined), `${op.fn}: rounding`);
      const args = shape.args.map((type, i): readonly [Value, IrType] => [op.args[i] ?? -1, type]);
      return op.rounding === undefined ? args : [...args, [op.rounding, "i32"]];
    }
    case "guard":
      return [[op.condition, "i32"]];
    case "call":
      assert(HELPERS[op.helper].args === op.args.length, `arguments of ${op.helper}`);
      return op.args.map((value): readonly [Value, IrType] => [value, "i64"]);
    default:
      return unreachable(op);
  }
}

/** Throws AssertionError unless the block is well typed, defines before use, and traps before it writes. */
export function validate(block: IrBlock): void {
  const types: (IrType | undefined)[] = [];
  const check = (value: Value, type: IrType, where: string): void => {
    assert(
      Number.isInteger(value) && value >= 0 && value < types.length,
      `${where}: undefined value`,
    );
    assert(types[value] === type, `${where}: ${type} expected, got ${String(types[value])}`);
  };
  let written = false;
  for (const [position, op] of block.ops.entries()) {
    for (const [value, type] of operands(op)) check(value, type, `${position} ${op.op}`);
    assert(!(written && mayTrap(op)), `${position} ${op.op}: may trap after state was written`);
    // A helper with a result may have had effects, but reports its exceptions before any of them.
    if (op.op === "set" || op.op === "float") written = true;
    types.push(resultType(op));
  }
  const { exit } = block;
  if (exit.kind === "jump") check(exit.target, "i64", "jump");
  if (exit.kind === "branch") check(exit.condition, "i32", "branch");
}
