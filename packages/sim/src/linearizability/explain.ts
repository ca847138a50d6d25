/** A history that is not linearizable, in words. */

import { present } from "@blixard/std";
import type { Model, Operation } from "./model.ts";

const ORDER_LINES_MAX = 8;
const OPEN_LINES_MAX = 8;

/** `c3 cas {"from":1,"to":2} -> true [14, 20]`, with the times of call and answer. */
export function describeOperation(operation: Operation<unknown, unknown>): string {
  const { client, call, input, output } = operation;
  // Inputs of all models are objects with the function's name in `f`.
  const { f, ...rest } = input as { f: string };
  const args = Object.keys(rest).length === 0 ? "" : ` ${JSON.stringify(rest)}`;
  const answer = operation.return === undefined ? "no answer" : JSON.stringify(output);
  return `c${client} ${f}${args} -> ${answer} [${call}, ${operation.return ?? "..."}]`;
}

export function explainIllegal<State, Input, Output>(
  model: Model<State, Input, Output>,
  operations: readonly Operation<Input, Output>[],
  partition: string,
  found: { readonly offender: number; readonly order: readonly number[]; readonly state: State },
): string {
  const offender = present(operations[found.offender], "the offender");
  const isPlaced = new Set(found.order);
  const lines = [
    `not linearizable (model ${model.name}${partition === "" ? "" : `, ${partition}`}): ` +
      `when this was answered, no order of what was sent before explained all answers:`,
    `  ${describeOperation(offender)}`,
    `the longest order without it (${found.order.length} of ${operations.length} operations):`,
  ];
  if (found.order.length > ORDER_LINES_MAX) {
    lines.push(`  ... ${found.order.length - ORDER_LINES_MAX} before`);
  }
  for (const op of found.order.slice(-ORDER_LINES_MAX)) {
    lines.push(`  ${describeOperation(present(operations[op], "an operation"))}`);
  }
  lines.push(
    `after that it would have been answered: ${model.answer(found.state, offender.input)}`,
  );
  const untilAnswer = offender.return ?? Infinity;
  const open = operations.filter(
    (operation, op) => op !== found.offender && !isPlaced.has(op) && operation.call <= untilAnswer,
  );
  if (open.length > 0) lines.push("sent before that answer and not placed:");
  for (const operation of open.slice(0, OPEN_LINES_MAX)) {
    lines.push(`  ${describeOperation(operation)}`);
  }
  if (open.length > OPEN_LINES_MAX) lines.push(`  ... ${open.length - OPEN_LINES_MAX} more`);
  return lines.join("\n");
}
