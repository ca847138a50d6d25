/**
 * The record of a VM in the control plane, without revisions:
 *
 *   absent -- createVm --> present -- deleteVm --> dying -- at any time, by itself --> absent
 *
 * A dying record may be gone already; the one who looks finds out.
 */

import { unreachable } from "@blixard/std";
import type { VmInput, VmOutput } from "../plan.ts";
import { fieldsOf, isInteger } from "./json.ts";
import type { Model } from "./model.ts";

export type RecordInput = VmInput & { readonly key: number };
export type RecordOutput = VmOutput;

export interface RecordState {
  readonly is: "absent" | "present" | "dying";
  readonly desired: "running" | "stopped";
  readonly vcpus: number;
}

const ABSENT: RecordState = { is: "absent", desired: "stopped", vcpus: 0 };

/** A record that is not there, or need not be there any more. */
function asAbsent(state: RecordState): RecordState | undefined {
  return state.is === "present" ? undefined : ABSENT;
}

function read(state: RecordState, output: VmOutput): RecordState | undefined {
  if (output.kind === "absent") return asAbsent(state);
  if (output.kind !== "vm" || output.desired !== state.desired) return undefined;
  return state.is === (output.deleting ? "dying" : "present") ? state : undefined;
}

function create(
  state: RecordState,
  input: Extract<VmInput, { kind: "createVm" }>,
  output: VmOutput | undefined,
): RecordState | undefined {
  const { desired, vcpus } = input;
  const isSame = state.is === "present" && state.vcpus === vcpus;
  switch (output?.kind) {
    case undefined:
      return state.is === "present" ? state : { is: "present", desired, vcpus };
    case "done":
      if (isSame) return state;
      return state.is === "present" ? undefined : { is: "present", desired, vcpus };
    case "refused":
      return state.is === "absent" || isSame ? undefined : state;
    case "absent":
    case "vm":
      return undefined;
    default:
      return unreachable(output);
  }
}

/** What a command does to a record that is there. */
function change(
  state: RecordState,
  after: RecordState,
  output: VmOutput | undefined,
  dying: VmOutput["kind"],
): RecordState | undefined {
  if (output === undefined) return state.is === "present" ? after : state;
  if (output.kind === "absent") return asAbsent(state);
  if (output.kind === dying && state.is === "dying") return state;
  return output.kind === "done" && state.is === "present" ? after : undefined;
}

const OUTPUTS: readonly unknown[] = ["absent", "done", "refused"];

function isDesired(value: unknown): value is "running" | "stopped" {
  return value === "running" || value === "stopped";
}

export const recordModel: Model<RecordState, RecordInput, RecordOutput> = {
  name: "record",
  initial: () => ABSENT,
  step(state, input, output) {
    switch (input.kind) {
      case "readVm":
        return output === undefined ? state : read(state, output);
      case "createVm":
        return create(state, input, output);
      case "setDesired":
        return change(state, { ...state, desired: input.desired }, output, "refused");
      case "deleteVm":
        return change(state, { ...state, is: "dying", vcpus: 0 }, output, "done");
      default:
        return unreachable(input);
    }
  },
  key: ({ is, desired, vcpus }) => `${is} ${desired} ${vcpus}`,
  isRead: ({ kind }) => kind === "readVm",
  partition: ({ key }) => `${key}`,
  answer: ({ is, desired, vcpus }) =>
    is === "absent" ? "as if absent" : `as of a ${is} one, ${desired}, ${vcpus} vcpus`,
  parseInput(value) {
    const { kind, key, desired, vcpus } = fieldsOf(value);
    if (!isInteger(key)) return undefined;
    if (kind === "readVm" || kind === "deleteVm") return { kind, key };
    if (!isDesired(desired)) return undefined;
    if (kind === "setDesired") return { kind, key, desired };
    return kind === "createVm" && isInteger(vcpus) ? { kind, key, desired, vcpus } : undefined;
  },
  parseOutput(_, value) {
    const { kind, desired, deleting } = fieldsOf(value);
    // Checked to be one of the three.
    if (OUTPUTS.includes(kind)) return { kind } as VmOutput;
    if (kind !== "vm" || !isDesired(desired) || typeof deleting !== "boolean") return undefined;
    return { kind, desired, deleting };
  },
};
