/** Which instructions a region may hold. The others it leaves to the interpreter. */

import { CSR } from "../../isa/riscv64/csr.ts";
import { HELPERS } from "../../ir/shape.ts";
import type { IrOp, Value } from "../../ir/types.ts";
import type { RegionInstruction } from "./graph.ts";

const HIGHEST_ROUNDING = 4;
const DYNAMIC_ROUNDING = 7;

function impossible(op: IrOp, opOf: (value: Value) => IrOp | undefined): boolean {
  switch (op.op) {
    case "call":
      return HELPERS[op.helper].privileged;
    case "float":
      return op.fn === "class";
    case "guard": {
      const condition = opOf(op.condition);
      return condition?.op === "const" && condition.value === 0n;
    }
    default:
      return false;
  }
}

/** The accrued exception flags, which compiled code has at hand; sqrt and comparisons of libm save them. */
export const isFlagsAccess = ({ instruction, fields }: RegionInstruction): boolean =>
  instruction.extension === "zicsr" && fields.imm === CSR.fflags;

/** Interrupts off or on; whether the operand names nothing else is looked at when it runs. */
export function isStatusAccess({ instruction, fields }: RegionInstruction): boolean {
  if (fields.imm !== CSR.sstatus) return false;
  const { name } = instruction;
  return name === "csrrs" || name === "csrrc" || name === "csrrsi" || name === "csrrci";
}

/** Registers and memory by the fast paths only: no privileged state, no exact floating point. */
export function isCompilable(candidate: RegionInstruction): boolean {
  if (isFlagsAccess(candidate) || isStatusAccess(candidate)) return true;
  const { instruction, fields } = candidate;
  const { ops, exit } = instruction.block;
  if ((exit.kind === "next" || exit.kind === "jump") && exit.leave) return false;
  if (ops.some((op) => impossible(op, (value) => ops[value]))) return false;
  const rounds = ops.some((op) => op.op === "float" && op.rounding !== undefined);
  return !rounds || fields.aux <= HIGHEST_ROUNDING || fields.aux === DYNAMIC_ROUNDING;
}

/** Whether the instruction is only legal, or only right as compiled, while floating point is on. */
export function usesFloat(candidate: RegionInstruction): boolean {
  const { extension } = candidate.instruction;
  return extension === "f" || extension === "d" || isFlagsAccess(candidate);
}
