/**
 * A region as text, for whoever traces the compiler: its blocks, with addresses, in the order in which they are
 * laid out.
 */

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

export function regionText({ pageVa, plan }: RegionReport): string {
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
    ...block.instructions.map((one) => `  ${at(one.delta)}  ${instructionText(one)}`),
    `  ${end(block.end)}`,
  ];
  const count = plan.blocks.reduce((sum, block) => sum + block.instructions.length, 0);
  const head = `region ${plan.number}: ${count} instructions, ${plan.pages.length} pages`;
  return [head, ...plan.blocks.flatMap(blockText)].join("\n");
}
