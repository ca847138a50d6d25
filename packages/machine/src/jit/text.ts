/**
 * A region as text, for whoever traces the compiler: its blocks, with addresses, in the order in which they are
 * laid out.
 */

import { resultType } from "../ir/shape.ts";
import type { IrOp, RegisterRef } from "../ir/types.ts";
import { operands } from "../ir/validate.ts";
import type { Block, End, RegionInstruction, Target } from "./analyse/graph.ts";
import type { RegionReport } from "./jit.ts";

const hex = (value: bigint): string => BigInt.asUintN(64, value).toString(16);

/** Name and the operands that its format has; registers by number. */
export function instructionText({ instruction, fields }: RegionInstruction): string {
  const { name, format, block } = instruction;
  const letter = (field: "rd" | "rs1" | "rs2" | "rs3"): string => {
    const float = block.ops.some(
      (op) => (op.op === "get" || op.op === "set") && op.reg.bank === "f" && op.reg.field === field,
    );
    return `${float ? "f" : "x"}${fields[field]}`;
  };
  const used = (["rd", "rs1", "rs2", "rs3"] as const).filter((field) =>
    block.ops.some(
      (op) =>
        (op.op === "get" || op.op === "set") && op.reg.bank !== "state" && op.reg.field === field,
    ),
  );
  const operands = used.map(letter);
  if (format !== "R" && format !== "csr" && format !== "csri") operands.push(String(fields.imm));
  return `${name} ${operands.join(", ")}`.trimEnd();
}

const register = (ref: RegisterRef, { fields }: RegionInstruction): string =>
  ref.bank === "state" ? ref.name : `${ref.bank}${fields[ref.field]}`;

/** What an operation reads, in the order in which its text names it. */
const read = (op: IrOp): string =>
  operands(op)
    .map(([value]) => `%${value}`)
    .join(", ");

function operationText(op: IrOp, instruction: RegionInstruction): string {
  const { fields } = instruction;
  switch (op.op) {
    case "const":
      return `${op.type} ${op.value}`;
    case "field":
      return `${op.name} ${fields[op.name]}`;
    case "index":
      return `number of ${op.field} ${fields[op.field]}`;
    case "get":
      return `get ${register(op.reg, instruction)}`;
    case "set":
      return `set ${register(op.reg, instruction)} <- ${read(op)}`;
    case "load":
      return `load ${8 * op.size} bits, ${op.signed ? "sign" : "zero"}-extended, at ${read(op)}`;
    case "store":
      return `store ${8 * op.size} bits, address and value ${read(op)}`;
    case "loadReserved":
    case "storeConditional":
      return `${op.op} ${8 * op.size} bits ${read(op)}`;
    case "atomic":
      return `atomic ${op.fn} ${8 * op.size} bits ${read(op)}`;
    case "float":
      return `${op.format} ${op.fn} ${read(op)}`;
    case "call":
      return `call ${op.helper} ${read(op)}`;
    case "select":
    case "guard":
      return `${op.op} ${read(op)}`;
    default:
      return `${op.fn} ${read(op)}`;
  }
}

/** The instruction's block, one operation a line, with the operands of its encoding. */
export function irText(instruction: RegionInstruction): string[] {
  const { ops, exit } = instruction.instruction.block;
  const lines = ops.map((op, position) => {
    const type = resultType(op);
    const defined = type === undefined ? "" : `%${position}: ${type} = `;
    return `${defined}${operationText(op, instruction)}`;
  });
  if (exit.kind === "branch") lines.push(`branch if %${exit.condition}`);
  if (exit.kind === "jump") lines.push(`jump to %${exit.target}`);
  return lines;
}

export const regionText = (report: RegionReport): string => textOf(report, false);
/** The same, and after each instruction the operations that it is. */
export const regionWithIr = (report: RegionReport): string => textOf(report, true);

function textOf({ pageVa, plan }: RegionReport, ir: boolean): string {
  const at = (delta: number): string => hex(pageVa + BigInt(delta));
  const target = (to: Target): string => {
    if (to.kind === "exit") return `exit ${at(to.delta)}`;
    return to.selector === undefined
      ? `block ${to.block.order}`
      : `block ${to.block.order} for ${to.selector}`;
  };
  const end = (last: End): string => {
    switch (last.kind) {
      case "goto":
        return `goto ${target(last.to)}`;
      case "branch":
        return `if so ${target(last.yes)}, else ${target(last.no)}`;
      case "indirect":
        return last.expected === undefined ? "jump" : `if expected ${target(last.expected)}`;
      case "stop":
        return `interpreter at ${at(last.delta)}`;
      case "dispatch":
        return `one of ${last.targets.map(target).join(", ")}`;
      default:
        return "";
    }
  };
  const blockText = (block: Block): string[] => [
    `block ${block.order}${block.check ? `, budget ${block.longest}` : ""}`,
    ...block.instructions.flatMap((one) => [
      `  ${at(one.delta)}  ${instructionText(one)}`,
      ...(ir ? irText(one).map((line) => `      ${line}`) : []),
    ]),
    `  ${end(block.end)}`,
  ];
  const count = plan.blocks.reduce((sum, block) => sum + block.instructions.length, 0);
  const head = `region ${plan.number}: ${count} instructions, ${plan.pages.length} pages`;
  return [head, ...plan.blocks.flatMap(blockText)].join("\n");
}
