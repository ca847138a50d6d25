/** Whether a history is linearizable: partitions it, searches each part, tells what is wrong. */

import { present, unreachable } from "@blixard/std";
import type { History } from "./history.ts";
import { describeOperation, explainIllegal } from "./explain.ts";
import type { Model, Operation } from "./model.ts";
import { MODELS } from "./models.ts";
import { Search, type SearchLimits } from "./search.ts";

/** A few seconds and about two hundred megabytes at the very most. */
export const DEFAULT_LIMITS: SearchLimits = { stepsMax: 5_000_000, configurationsMax: 300_000 };

export type Verdict =
  | { readonly kind: "ok"; readonly steps: number }
  | {
      readonly kind: "illegal";
      readonly steps: number;
      readonly partition: string;
      /** The operation by whose answer no order was left. */
      readonly offender: string;
      /** Operations placed in the longest order before that, of all in the partition. */
      readonly placed: number;
      readonly of: number;
      /** For a person: the offender, the end of the longest order, what was still open. */
      readonly report: string;
    }
  /** The limits were reached first: neither right nor wrong. */
  | {
      readonly kind: "unknown";
      readonly steps: number;
      readonly partition: string;
      readonly limit: "steps" | "configurations";
    };

/** The operations of `history` in independent parts, each without reads that nobody got an answer to. */
function partitions<State, Input, Output>(
  model: Model<State, Input, Output>,
  operations: readonly Operation<Input, Output>[],
): Map<string, Operation<Input, Output>[]> {
  const parts = new Map<string, Operation<Input, Output>[]>();
  for (const operation of operations) {
    if (operation.return === undefined && model.isRead(operation.input)) continue;
    const name = model.partition(operation.input);
    const part = parts.get(name);
    if (part === undefined) parts.set(name, [operation]);
    else part.push(operation);
  }
  return parts;
}

/**
 * Holds `operations` against `model`. An operation without `return` may have taken effect at any
 * time after its call, or never. Work is bounded by `limits`, over all partitions together.
 */
export function checkModel<State, Input, Output>(
  model: Model<State, Input, Output>,
  operations: readonly Operation<Input, Output>[],
  limits: SearchLimits = DEFAULT_LIMITS,
): Verdict {
  let steps = 0;
  for (const [partition, part] of partitions(model, operations)) {
    const stepsMax = limits.stepsMax - steps;
    const refined = model.refine?.(part) ?? model;
    const result = new Search(refined, part, { ...limits, stepsMax }).run();
    steps += result.steps;
    if (result.kind === "ok") continue;
    if (result.kind === "unknown")
      return { kind: "unknown", steps, partition, limit: result.limit };
    return {
      kind: "illegal",
      steps,
      partition,
      offender: describeOperation(present(part[result.offender], "the offender")),
      placed: result.order.length,
      of: part.length,
      report: explainIllegal(model, part, partition, result),
    };
  }
  return { kind: "ok", steps };
}

/** As `checkModel`, for a history that names its model. */
export function check(history: History, limits: SearchLimits = DEFAULT_LIMITS): Verdict {
  switch (history.model) {
    case "register":
      return checkModel(MODELS.register, history.operations, limits);
    case "kv":
      return checkModel(MODELS.kv, history.operations, limits);
    case "vm":
      return checkModel(MODELS.vm, history.operations, limits);
    case "list":
      return checkModel(MODELS.list, history.operations, limits);
    case "counter":
      return checkModel(MODELS.counter, history.operations, limits);
    default:
      return unreachable(history);
  }
}
