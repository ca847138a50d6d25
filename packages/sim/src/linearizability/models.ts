/**
 * The models that a history can be held against: a register, a key-value store, a VM record, an
 * append-only list and a counter. Inputs and outputs are plain JSON, for histories are stored.
 */

import { unreachable } from "@blixard/std";
import { fieldsOf, isInteger } from "./json.ts";
import type { Model, Operation } from "./model.ts";
import { vmModel } from "./vm-model.ts";

export type RegisterInput =
  | { readonly f: "read" }
  | { readonly f: "write"; readonly value: number }
  | { readonly f: "cas"; readonly from: number; readonly to: number };
/** read: the value, null before the first write; write: true; cas: whether it was applied. */
export type RegisterOutput = number | boolean | null;

export type KvInput =
  | { readonly f: "get" | "delete"; readonly key: string }
  | { readonly f: "put" | "append"; readonly key: string; readonly value: string }
  | { readonly f: "cas"; readonly key: string; readonly from: string; readonly to: string };
/** get: the value, null when absent; put, append: true; delete, cas: whether it changed anything. */
export type KvOutput = string | boolean | null;

export type ListInput =
  | { readonly f: "read"; readonly key: string }
  | { readonly f: "append"; readonly key: string; readonly value: number };
/** read: all values in order; append: true. */
export type ListOutput = readonly number[] | boolean;

export type CounterInput =
  | { readonly f: "read" }
  /** Answers the total after it. */
  | { readonly f: "add"; readonly value: number };
export type CounterOutput = number;

export const registerModel: Model<number | null, RegisterInput, RegisterOutput> = {
  name: "register",
  initial: () => null,
  step(state, input, output) {
    switch (input.f) {
      case "read":
        return output === undefined || output === state ? state : undefined;
      case "write":
        return input.value;
      case "cas": {
        const applies = state === input.from;
        if (output !== undefined && output !== applies) return undefined;
        return applies ? input.to : state;
      }
      default:
        return unreachable(input);
    }
  },
  key: (state) => state ?? "none",
  isRead: (input) => input.f === "read",
  partition: () => "",
  answer(state, input) {
    if (input.f === "write") return "true";
    return JSON.stringify(input.f === "read" ? state : state === input.from);
  },
  parseInput(value) {
    const { f, value: written, from, to } = fieldsOf(value);
    if (f === "read") return { f };
    if (f === "write" && isInteger(written)) return { f, value: written };
    if (f === "cas" && isInteger(from) && isInteger(to)) return { f, from, to };
    return undefined;
  },
  parseOutput(input, value) {
    if (input.f === "read") return isInteger(value) || value === null ? value : undefined;
    if (input.f === "write") return value === true ? value : undefined;
    return typeof value === "boolean" ? value : undefined;
  },
};

function kvStep(
  state: string | null,
  input: KvInput,
  output: KvOutput | undefined,
): string | null | undefined {
  switch (input.f) {
    case "get":
      return output === undefined || output === state ? state : undefined;
    case "put":
      return input.value;
    case "append":
      return (state ?? "") + input.value;
    case "delete":
      if (output !== undefined && output !== (state !== null)) return undefined;
      return null;
    case "cas": {
      const applies = state === input.from;
      if (output !== undefined && output !== applies) return undefined;
      return applies ? input.to : state;
    }
    default:
      return unreachable(input);
  }
}

export const kvModel: Model<string | null, KvInput, KvOutput> = {
  name: "kv",
  initial: () => null,
  step: kvStep,
  // A value may be any text, so that "absent" needs a mark of its own.
  key: (state) => (state === null ? "" : `=${state}`),
  isRead: (input) => input.f === "get",
  partition: (input) => input.key,
  answer(state, input) {
    if (input.f === "get") return JSON.stringify(state);
    if (input.f === "delete") return String(state !== null);
    return input.f === "cas" ? String(state === input.from) : "true";
  },
  parseInput(value) {
    const { f, key, value: written, from, to } = fieldsOf(value);
    if (typeof key !== "string") return undefined;
    if (f === "get" || f === "delete") return { f, key };
    if ((f === "put" || f === "append") && typeof written === "string") {
      return { f, key, value: written };
    }
    if (f === "cas" && typeof from === "string" && typeof to === "string") {
      return { f, key, from, to };
    }
    return undefined;
  },
  parseOutput(input, value) {
    if (input.f === "get") return typeof value === "string" || value === null ? value : undefined;
    if (input.f === "put" || input.f === "append") return value === true ? value : undefined;
    return typeof value === "boolean" ? value : undefined;
  },
};

function isSameList(list: readonly number[], other: unknown): boolean {
  if (!Array.isArray(other) || other.length !== list.length) return false;
  return list.every((value, at) => value === other[at]);
}

/**
 * Appends without an order of their own make as many states as they have orders. The longest list
 * that was read settles it: until it is reached, each append must be the next one of that list.
 */
function refineList(operations: readonly Operation<ListInput, ListOutput>[]): typeof listModel {
  let longest: readonly number[] = [];
  for (const { output } of operations) {
    // A list is the only array among outputs.
    if (Array.isArray(output) && output.length > longest.length) longest = output as number[];
  }
  return {
    ...listModel,
    step(state, input, output) {
      const isNext = state.length >= longest.length || input.f === "read";
      if (!isNext && longest[state.length] !== input.value) return undefined;
      return listModel.step(state, input, output);
    },
  };
}

export const listModel: Model<readonly number[], ListInput, ListOutput> = {
  name: "list",
  initial: () => [],
  step(state, input, output) {
    if (input.f === "append") return [...state, input.value];
    return output === undefined || isSameList(state, output) ? state : undefined;
  },
  key: (state) => state.join(),
  refine: refineList,
  isRead: (input) => input.f === "read",
  partition: (input) => input.key,
  answer: (state, input) => (input.f === "read" ? JSON.stringify(state) : "true"),
  parseInput(value) {
    const { f, key, value: added } = fieldsOf(value);
    if (typeof key !== "string") return undefined;
    if (f === "read") return { f, key };
    return f === "append" && isInteger(added) ? { f, key, value: added } : undefined;
  },
  parseOutput(input, value) {
    if (input.f === "append") return value === true ? value : undefined;
    return Array.isArray(value) && value.every(isInteger) ? value : undefined;
  },
};

export const counterModel: Model<number, CounterInput, CounterOutput> = {
  name: "counter",
  initial: () => 0,
  step(state, input, output) {
    const next = input.f === "add" ? state + input.value : state;
    return output === undefined || output === next ? next : undefined;
  },
  key: (state) => state,
  isRead: (input) => input.f === "read",
  partition: () => "",
  answer: (state, input) => String(input.f === "add" ? state + input.value : state),
  parseInput(value) {
    const { f, value: added } = fieldsOf(value);
    if (f === "read") return { f };
    return f === "add" && isInteger(added) ? { f, value: added } : undefined;
  },
  parseOutput: (_, value) => (isInteger(value) ? value : undefined),
};

export const MODELS = {
  register: registerModel,
  kv: kvModel,
  vm: vmModel,
  list: listModel,
  counter: counterModel,
} as const;
export type ModelName = keyof typeof MODELS;

export function isModelName(value: unknown): value is ModelName {
  return typeof value === "string" && Object.hasOwn(MODELS, value);
}
