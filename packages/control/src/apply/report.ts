/**
 * What a VM's node says about the start it claimed.
 *
 *   starting -> running -> stopping -> | stopped, or scheduled again when it is wanted to run
 *       |          |          |        | failed, when it cannot start or crashed too often
 *       +----------+----------+------> | record removed: "gone" while it is being deleted
 *
 * Within one epoch it only goes to the right: a start that ended never lives again, and a report
 * that says what the record says already changes nothing.
 */

import { ok } from "@blixard/std";
import { RESTARTS_MAX } from "../limits.ts";
import { mustLeave } from "../maintenance.ts";
import {
  changeVm,
  dropVm,
  readNode,
  readVm,
  type Outcome,
  type Transaction,
  type VmPatch,
} from "../transaction.ts";
import type { Command, NodeRecord, VmRecord } from "../types.ts";
import { conflict, noSuchNode, noSuchVm, staleLease } from "./refuse.ts";
import { unplace } from "./unplace.ts";

type Report = Extract<Command, { readonly kind: "reportVm" }>;

const LIVE_ORDER = { starting: 0, running: 1, stopping: 2 } as const;

function liveOrder(phase: string): number | undefined {
  return phase === "starting" || phase === "running" || phase === "stopping"
    ? LIVE_ORDER[phase]
    : undefined;
}

/** Changes that make no difference are left out, so that a repeated report makes no revision. */
function changed(tx: Transaction, vm: VmRecord, patch: VmPatch): Outcome {
  const next: VmPatch = { ...vm, ...patch };
  const same =
    next.phase === vm.phase &&
    next.desired === vm.desired &&
    next.reason === vm.reason &&
    next.commandExit === vm.commandExit;
  return ok({ vm: same ? vm : changeVm(tx, vm, patch) });
}

function crashed(vm: VmRecord, reason: string): VmPatch {
  if (vm.deleting || vm.desired === "stopped") return { phase: "stopped", reason };
  if (vm.restarts <= RESTARTS_MAX) return { phase: "scheduled", reason };
  return { phase: "failed", reason: `${reason} (${vm.restarts} starts in a row)` };
}

/** The guest ended without anybody having asked for it, or as asked. */
function stopped(vm: VmRecord, report: Report, commandExit: number | undefined): VmPatch {
  const { reason } = report;
  if (vm.deleting || vm.desired === "stopped") return { phase: "stopped", reason, commandExit };
  // restarts is 0 when somebody said "run" after this start was claimed: then its end is not the
  // end.
  if (commandExit !== undefined && vm.restarts > 0) {
    return { phase: "stopped", desired: "stopped", reason, commandExit };
  }
  return { ...crashed(vm, reason ?? "the guest shut down"), commandExit };
}

function ended(tx: Transaction, vm: VmRecord, node: NodeRecord, report: Report): Outcome {
  const wasLive = liveOrder(vm.phase) !== undefined;
  const commandExit = report.commandExit ?? vm.commandExit;
  const wanted = vm.desired === "running" && !vm.deleting;
  switch (report.phase) {
    case "gone":
      if (vm.deleting) {
        dropVm(tx, vm);
        return ok({ vm });
      }
      if (mustLeave(node, vm)) {
        unplace(tx, vm, `node ${node.name} is being drained`);
        return ok({ vm });
      }
      if (!wasLive) return ok({ vm });
      return changed(tx, vm, { phase: wanted ? "scheduled" : "stopped", reason: report.reason });
    case "failed":
      // May come before any start was claimed: the image is missing, no driver works.
      if (!wasLive && vm.phase !== "scheduled") return ok({ vm });
      return changed(tx, vm, {
        phase: wanted ? "failed" : "stopped",
        reason: report.reason ?? "its node could not start it",
        commandExit,
      });
    case "crashed":
      if (!wasLive) return ok({ vm });
      return changed(tx, vm, { ...crashed(vm, report.reason ?? "it crashed"), commandExit });
    default:
      if (!wasLive) return ok({ vm });
      return changed(tx, vm, stopped(vm, report, commandExit));
  }
}

export function reportVm(tx: Transaction, report: Report): Outcome {
  const vm = readVm(tx, report.vmId);
  if (vm === undefined) return noSuchVm(report.vmId);
  const node = readNode(tx, report.nodeId);
  if (node === undefined) return noSuchNode(report.nodeId);
  const { name } = vm.spec;
  if (vm.nodeId !== report.nodeId) return conflict(`VM ${name} is not on node ${node.name}`);
  const stale = staleLease(node, report.leaseEpoch);
  if (stale !== undefined) return stale;
  if (vm.epoch !== report.epoch) {
    return conflict(`VM ${name} is in epoch ${vm.epoch}, the report is about ${report.epoch}`);
  }
  const next = liveOrder(report.phase);
  if (next === undefined) return ended(tx, vm, node, report);
  const now = liveOrder(vm.phase);
  if (now === undefined) {
    return conflict(`Epoch ${vm.epoch} of VM ${name} has ended, the report says ${report.phase}`);
  }
  const { reason, commandExit } = report;
  return changed(tx, vm, {
    ...(next > now && (report.phase === "running" || report.phase === "stopping")
      ? { phase: report.phase, reason }
      : {}),
    ...(commandExit === undefined ? {} : { commandExit }),
  });
}
