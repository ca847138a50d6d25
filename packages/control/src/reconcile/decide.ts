/**
 * What a node must do about one VM: a pure comparison of the replicated record with what runs here.
 * `Reconciler` performs the answers, one at a time for each VM.
 */

import type { NodeId } from "@blixard/std";
import type { VmRecord } from "../types.ts";
import { type Instance, isLive } from "./instance.ts";

export type Step =
  | { readonly kind: "nothing" }
  /** Claim a new epoch in the log, then start it. */
  | { readonly kind: "start" }
  | { readonly kind: "stop" }
  /** Something of it runs that the record does not know: an older epoch, or not ours any more. */
  | { readonly kind: "kill" }
  /** It runs well: its earlier starts no longer count against it. */
  | { readonly kind: "settle" }
  /** Its guest has stopped to answer, or answers again, and the record does not say so. */
  | { readonly kind: "health"; readonly health: "responsive" | "unresponsive" }
  /** Remove folder and disk, then say "gone" when the record still waits for it. */
  | { readonly kind: "delete"; readonly report: boolean }
  | {
      readonly kind: "report";
      readonly phase: "running" | "stopped" | "crashed";
      readonly reason?: string;
      readonly commandExit?: number;
      /** The end was no doing of the guest's, and does not count against it. */
      readonly blameless?: true;
    };

const NOTHING: Step = { kind: "nothing" };

/** What record and instance do not say by themselves. */
export interface Circumstances {
  /** The instance has run long enough for its start to count as a good one. */
  readonly settled?: boolean;
  /** The node is being drained, and it is this VM's turn. */
  readonly leaving?: boolean;
}

/** `record` absent or on another node: nothing of the VM may stay here. */
export function decide(
  self: NodeId,
  record: VmRecord | undefined,
  instance: Instance | undefined,
  { settled = false, leaving = false }: Circumstances = {},
): Step {
  if (record === undefined || record.nodeId !== self) {
    if (instance === undefined) return NOTHING;
    return isLive(instance) ? { kind: "kill" } : { kind: "delete", report: false };
  }
  if (record.deleting || leaving) {
    return isLive(instance) ? { kind: "stop" } : { kind: "delete", report: true };
  }
  if (record.desired === "stopped") return decideStopped(record, instance);
  const step = decideRunning(record, instance);
  const counted = record.phase === "running" && record.restarts > 1;
  if (step.kind !== "nothing" || record.phase !== "running") return step;
  return counted && settled ? { kind: "settle" } : decideHealth(record, instance);
}

function decideHealth(record: VmRecord, instance: Instance | undefined): Step {
  const health = instance?.unresponsive === true ? "unresponsive" : "responsive";
  return health === (record.health ?? "responsive") ? NOTHING : { kind: "health", health };
}

function decideStopped(record: VmRecord, instance: Instance | undefined): Step {
  if (isLive(instance)) return { kind: "stop" };
  const settled =
    record.phase === "stopped" || record.phase === "pending" || record.phase === "failed";
  return settled ? NOTHING : { kind: "report", phase: "stopped", ...exitOf(record, instance) };
}

function decideRunning(record: VmRecord, instance: Instance | undefined): Step {
  if (isLive(instance) && instance.epoch !== record.epoch) return { kind: "kill" };
  switch (record.phase) {
    case "scheduled":
      return isLive(instance) ? { kind: "kill" } : { kind: "start" };
    case "starting":
      if (
        instance === undefined ||
        instance.epoch !== record.epoch ||
        instance.phase === "created"
      ) {
        // The daemon died between the claim and the start: that epoch never ran and never will.
        return { kind: "start" };
      }
      if (instance.phase === "running")
        return { kind: "report", phase: "running", ...exitOf(record, instance) };
      return isLive(instance) ? NOTHING : ended(record, instance);
    case "running":
      if (instance === undefined || instance.epoch !== record.epoch) {
        return lostHere("nothing of it is left on its node");
      }
      if (!isLive(instance)) return ended(record, instance);
      return instance.commandExit !== undefined && instance.commandExit !== record.commandExit
        ? { kind: "report", phase: "running", commandExit: instance.commandExit }
        : NOTHING;
    case "stopping":
      return isLive(instance) ? NOTHING : ended(record, instance);
    case "pending":
    case "stopped":
    case "failed":
      return isLive(instance) ? { kind: "kill" } : NOTHING;
    default:
      return record.phase satisfies never;
  }
}

function exitOf(record: VmRecord, instance: Instance | undefined): { commandExit?: number } {
  const exit = instance?.epoch === record.epoch ? instance.commandExit : undefined;
  return exit === undefined ? {} : { commandExit: exit };
}

function lostHere(reason: string): Step & { readonly kind: "report" } {
  return { kind: "report", phase: "crashed", reason, blameless: true };
}

function ended(record: VmRecord, instance: Instance | undefined): Step {
  const end = instance?.ended;
  const exit = exitOf(record, instance);
  switch (end?.kind) {
    case "shutdown":
      return { kind: "report", phase: "stopped", reason: "the guest shut down", ...exit };
    case "crashed":
      return { kind: "report", phase: "crashed", reason: end.reason, ...exit };
    case "killed":
      return { ...lostHere("its processes were killed"), ...exit };
    case "leaseExpired":
      return { ...lostHere("its node could not renew the lease"), ...exit };
    case undefined:
      return lostHere("nothing of it is left on its node");
    default:
      return end satisfies never;
  }
}
