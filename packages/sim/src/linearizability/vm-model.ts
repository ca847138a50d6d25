/**
 * A VM record with revisions, as the API shows it: create when absent, set (optionally only at a
 * revision), delete, get. Every change has a revision above all earlier ones of the record; which
 * one is the server's to choose, so that after a change whose answer was lost it is open until
 * somebody reads it.
 */

import { fieldsOf, isInteger } from "./json.ts";
import type { Model } from "./model.ts";

export type VmInput =
  | { readonly f: "get" | "delete"; readonly vm: string }
  | { readonly f: "create"; readonly vm: string; readonly value: string }
  /** With `revision`: only if the record still has it. */
  | {
      readonly f: "set";
      readonly vm: string;
      readonly value: string;
      readonly revision?: number;
    };
export type VmRefusal = "exists" | "missing" | "conflict";
/** What a change answers (its revision, where the server tells it), a get's record, or a refusal. */
export type VmOutput = VmRefusal | true | { readonly revision?: number; readonly value?: string };

export interface VmState {
  /** Null while there is no record. */
  readonly value: string | null;
  /** Undefined when it is open: above `floor`. */
  readonly revision: number | undefined;
  /** The highest revision that is known to be taken. */
  readonly floor: number;
}

const REFUSALS: readonly unknown[] = ["exists", "missing", "conflict"];

/** Whether a conditional set finds its revision; undefined: the revision is open, it may be that. */
function matches(state: VmState, wanted: number | undefined): boolean | undefined {
  if (wanted === undefined) return true;
  if (state.revision !== undefined) return state.revision === wanted;
  return wanted > state.floor ? undefined : false;
}

/** What stands in the way of `input`, if anything does; `maybe` when it depends on an open revision. */
function refusalOf(state: VmState, input: VmInput): VmRefusal | "maybe" | undefined {
  if (input.f === "create") return state.value === null ? undefined : "exists";
  if (state.value === null) return "missing";
  if (input.f !== "set") return undefined;
  const isMatch = matches(state, input.revision);
  if (isMatch === undefined) return "maybe";
  return isMatch ? undefined : "conflict";
}

/** The state after a change that took effect with revision `revision`, or an open one. */
function changed(state: VmState, input: VmInput, revision: number | undefined) {
  const floor = Math.max(state.floor, state.revision ?? 0);
  if (revision !== undefined && revision <= floor) return undefined;
  const value = input.f === "create" || input.f === "set" ? input.value : null;
  // Without a record there is no revision to read; it only has to stay below later ones.
  if (value === null) return { value, revision: undefined, floor: revision ?? floor };
  return { value, revision, floor: revision ?? floor };
}

/** A get that answered: binds an open revision. */
function read(state: VmState, output: Exclude<VmOutput, VmRefusal | true>): VmState | undefined {
  if (output.value !== undefined && output.value !== state.value) return undefined;
  const { revision } = output;
  if (revision === undefined || revision === state.revision) return state;
  if (state.revision !== undefined || revision <= state.floor) return undefined;
  return { ...state, revision, floor: revision };
}

function step(state: VmState, input: VmInput, output: VmOutput | undefined) {
  const refusal = refusalOf(state, input);
  if (output === undefined) {
    if (input.f === "get") return state;
    // An open revision that a conditional set may have hit: that it took effect is one of two
    // possibilities; the other is the same as never.
    return refusal === undefined || refusal === "maybe" ? changed(state, input, undefined) : state;
  }
  if (typeof output === "string") {
    return refusal === output || (refusal === "maybe" && output === "conflict") ? state : undefined;
  }
  if (refusal !== undefined && refusal !== "maybe") return undefined;
  const answer = output === true ? {} : output;
  const wanted = input.f === "set" ? input.revision : undefined;
  // That it was applied shows what the open revision was.
  if (refusal === "maybe" && wanted !== undefined) {
    return changed({ ...state, revision: wanted, floor: wanted }, input, answer.revision);
  }
  return input.f === "get" ? read(state, answer) : changed(state, input, answer.revision);
}

export const vmModel: Model<VmState, VmInput, VmOutput> = {
  name: "vm",
  initial: () => ({ value: null, revision: undefined, floor: 0 }),
  step,
  key: ({ value, revision, floor }) =>
    `${value === null ? "" : "="}${revision ?? "?"},${floor},${value ?? ""}`,
  isRead: (input) => input.f === "get",
  partition: (input) => input.vm,
  answer(state, input) {
    const refusal = refusalOf(state, input);
    if (refusal === "maybe") return "true or conflict";
    if (refusal !== undefined) return refusal;
    const { value, revision } = state;
    if (input.f === "get") return JSON.stringify({ revision, value });
    return `a revision above ${Math.max(state.floor, revision ?? 0)}`;
  },
  parseInput(given) {
    const { f, vm, value, revision } = fieldsOf(given);
    if (typeof vm !== "string") return undefined;
    if (f === "get" || f === "delete") return { f, vm };
    if (typeof value !== "string") return undefined;
    if (f === "create") return { f, vm, value };
    if (f !== "set") return undefined;
    if (revision === undefined) return { f, vm, value };
    return isInteger(revision) ? { f, vm, value, revision } : undefined;
  },
  parseOutput(_, given) {
    if (given === true) return given;
    // Checked to be one of the three.
    if (REFUSALS.includes(given)) return given as VmRefusal;
    if (typeof given !== "object" || given === null) return undefined;
    const { revision, value } = fieldsOf(given);
    if (revision !== undefined && !isInteger(revision)) return undefined;
    if (value !== undefined && typeof value !== "string") return undefined;
    return {
      ...(revision === undefined ? {} : { revision }),
      ...(value === undefined ? {} : { value }),
    };
  },
};
