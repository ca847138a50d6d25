/** Histories as they are kept in files: JSON lines, the first one the header. */

import { err, ok, type Result } from "@blixard/std";
import { fieldsOf, isInteger } from "./json.ts";
import type { Model, Operation } from "./model.ts";
import {
  type CounterInput,
  type CounterOutput,
  isModelName,
  type KvInput,
  type KvOutput,
  type ListInput,
  type ListOutput,
  type ModelName,
  MODELS,
  type RegisterInput,
  type RegisterOutput,
} from "./models.ts";
import type { VmInput, VmOutput } from "./vm-model.ts";

interface Typed<Name extends ModelName, Input, Output> {
  readonly model: Name;
  readonly operations: readonly Operation<Input, Output>[];
}
export type History =
  | Typed<"register", RegisterInput, RegisterOutput>
  | Typed<"kv", KvInput, KvOutput>
  | Typed<"vm", VmInput, VmOutput>
  | Typed<"list", ListInput, ListOutput>
  | Typed<"counter", CounterInput, CounterOutput>;

export interface StoredHistory {
  readonly name: string;
  readonly expected: "ok" | "illegal";
  readonly history: History;
}

export const HISTORY_MAGIC = "blixard-history";
export const HISTORY_VERSION = 1;
/** Longer ones are refused by the reader. */
export const OPERATIONS_MAX = 100_000;

type Row = readonly [
  client: number,
  call: number,
  end: number | null,
  input: unknown,
  output?: unknown,
];

function rowOf({ client, call, return: end, input, output }: Operation<unknown, unknown>): Row {
  return end === undefined ? [client, call, null, input] : [client, call, end, input, output];
}

/** One line a history: `[name, expected, model, [[client, call, return, input, output], ...]]`. */
export function encodeHistories(histories: readonly StoredHistory[]): string {
  const header = { magic: HISTORY_MAGIC, version: HISTORY_VERSION, count: histories.length };
  const lines = histories.map(({ name, expected, history }) =>
    JSON.stringify([name, expected, history.model, history.operations.map(rowOf)]),
  );
  return [JSON.stringify(header), ...lines, ""].join("\n");
}

function operationOf<State, Input, Output>(
  model: Model<State, Input, Output>,
  row: unknown,
): Operation<Input, Output> | undefined {
  if (!Array.isArray(row)) return undefined;
  // The elements of an array of unknown kind are unknown.
  const [client, call, end, given, answer] = row as unknown[];
  const input = model.parseInput(given);
  if (!isInteger(client) || !isInteger(call) || input === undefined) return undefined;
  if (end === null) {
    if (row.length !== 4) return undefined;
    return { client, call, return: undefined, input, output: undefined };
  }
  const output = model.parseOutput(input, answer);
  if (!isInteger(end) || end < call || output === undefined) return undefined;
  return { client, call, return: end, input, output };
}

function operationsOf<State, Input, Output>(
  model: Model<State, Input, Output>,
  rows: readonly unknown[],
): Operation<Input, Output>[] | undefined {
  const operations: Operation<Input, Output>[] = [];
  for (const row of rows) {
    const operation = operationOf(model, row);
    if (operation === undefined) return undefined;
    operations.push(operation);
  }
  return operations;
}

/** Undefined when a row is not what the model's operations look like. */
function historyOf(model: ModelName, rows: readonly unknown[]): History | undefined {
  const found = operationsOf<unknown, unknown, unknown>(MODELS[model], rows);
  // The operations were parsed by the model of this name.
  return found === undefined ? undefined : ({ model, operations: found } as unknown as History);
}

function lineOf(text: string): Result<StoredHistory, string> {
  const line: unknown = JSON.parse(text);
  if (!Array.isArray(line)) return err("expected an array");
  // The elements of an array of unknown kind are unknown.
  const [name, expected, model, rows] = line as unknown[];
  if (typeof name !== "string") return err("the name is no text");
  if (expected !== "ok" && expected !== "illegal") return err(`${name}: what is expected?`);
  if (!isModelName(model)) return err(`${name}: unknown model ${JSON.stringify(model)}`);
  if (!Array.isArray(rows) || rows.length > OPERATIONS_MAX) {
    return err(`${name}: expected up to ${OPERATIONS_MAX} operations`);
  }
  const history = historyOf(model, rows);
  if (history === undefined) return err(`${name}: an operation is no ${model} operation`);
  return ok({ name, expected, history });
}

/** Reads what `encodeHistories` wrote; every field is checked. */
export function decodeHistories(text: string): Result<StoredHistory[], string> {
  const lines = text.split("\n").filter((line) => line !== "");
  try {
    const { magic, version, count } = fieldsOf(JSON.parse(lines[0] ?? "null"));
    if (magic !== HISTORY_MAGIC) return err("not a file of histories");
    if (version !== HISTORY_VERSION) return err(`version ${String(version)} is not known`);
    if (count !== lines.length - 1)
      return err(`${String(count)} histories, ${lines.length - 1} lines`);
    const histories: StoredHistory[] = [];
    for (const line of lines.slice(1)) {
      const history = lineOf(line);
      if (!history.ok) return history;
      histories.push(history.value);
    }
    return ok(histories);
  } catch (caught) {
    if (caught instanceof SyntaxError) return err(caught.message);
    throw caught;
  }
}
