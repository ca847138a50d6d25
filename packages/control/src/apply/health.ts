/** What a VM's node says of a VM that runs: whether its guest answers. */

import { ok } from "@blixard/std";
import { changeVm, readNode, readVm, type Outcome, type Transaction } from "../transaction.ts";
import type { Command } from "../types.ts";
import { conflict, noSuchNode, noSuchVm, staleLease } from "./refuse.ts";

type ReportHealth = Extract<Command, { readonly kind: "reportHealth" }>;

export function reportHealth(tx: Transaction, report: ReportHealth): Outcome {
  const { vmId, nodeId, leaseEpoch, epoch } = report;
  const vm = readVm(tx, vmId);
  if (vm === undefined) return noSuchVm(vmId);
  const node = readNode(tx, nodeId);
  if (node === undefined) return noSuchNode(nodeId);
  const { name } = vm.spec;
  if (vm.nodeId !== nodeId) return conflict(`VM ${name} is not on node ${node.name}`);
  const stale = staleLease(node, leaseEpoch);
  if (stale !== undefined) return stale;
  if (vm.epoch !== epoch) {
    return conflict(`VM ${name} is in epoch ${vm.epoch}, the report is about ${epoch}`);
  }
  if (vm.phase !== "running") return conflict(`VM ${name} is ${vm.phase}, not running`);
  const health = report.health === "unresponsive" ? report.health : undefined;
  return ok({ vm: vm.health === health ? vm : changeVm(tx, vm, { health }) });
}
