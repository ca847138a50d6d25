/** The history of a simulated run, held against the models. */

import { unreachable } from "@blixard/std";
import type { HistoryOperation, RegisterOperation, VmOperation } from "../plan.ts";
import { checkModel, type Verdict } from "./check.ts";
import type { Operation } from "./model.ts";
import { type KvInput, type KvOutput, kvModel } from "./models.ts";
import { recordModel, type RecordInput, type RecordOutput } from "./record-model.ts";

/** More than the history of any run needs: a run that reaches it is a finding of its own. */
const RUN_LIMITS = { stepsMax: 5_000_000, configurationsMax: 300_000 };

/** A register that holds nothing is a key that is absent. */
function kvOf(operation: RegisterOperation): Operation<KvInput, KvOutput> {
  const { client, invokedUs: call, returnedUs, output } = operation;
  const at = { client, call, return: returnedUs, input: kvInputOf(operation) };
  switch (output?.kind) {
    case undefined:
      return { ...at, return: undefined, output: undefined };
    case "value":
      return { ...at, output: output.value === null ? null : `${output.value}` };
    case "written":
      return { ...at, output: true };
    case "mismatch":
      return { ...at, output: false };
    default:
      return unreachable(output);
  }
}

/** No value is this text: the model's own "absent" is not one that can be compared with. */
const NOTHING = "nothing";

function kvInputOf({ input, key }: RegisterOperation): KvInput {
  const name = `r${key}`;
  switch (input.kind) {
    case "read":
      return { f: "get", key: name };
    case "write":
      return { f: "put", key: name, value: `${input.value}` };
    case "cas": {
      const from = input.expected === null ? NOTHING : `${input.expected}`;
      return { f: "cas", key: name, from, to: `${input.value}` };
    }
    default:
      return unreachable(input);
  }
}

/** As `kvModel`, with a cas from NOTHING that applies to an absent key. */
const registersModel: typeof kvModel = {
  ...kvModel,
  name: "registers",
  step(state, input, output) {
    if (input.f !== "cas" || input.from !== NOTHING) return kvModel.step(state, input, output);
    const applies = state === null;
    if (output !== undefined && output !== applies) return undefined;
    return applies ? input.to : state;
  },
};

function recordOf(operation: VmOperation): Operation<RecordInput, RecordOutput> {
  const { client, invokedUs: call, returnedUs, output, key } = operation;
  const input = { ...operation.input, key };
  if (output === undefined) return { client, call, return: undefined, input, output };
  return { client, call, return: returnedUs, input, output };
}

/** The verdict over all of a run's operations. */
export function checkRun(history: readonly HistoryOperation[]): Verdict {
  const registers: Operation<KvInput, KvOutput>[] = [];
  const records: Operation<RecordInput, RecordOutput>[] = [];
  for (const operation of history) {
    if (operation.model === "register") registers.push(kvOf(operation));
    else records.push(recordOf(operation));
  }
  const verdict = checkModel(registersModel, registers, RUN_LIMITS);
  if (verdict.kind !== "ok" || records.length === 0) return verdict;
  return checkModel(recordModel, records, RUN_LIMITS);
}
