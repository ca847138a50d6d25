/** What users ask of VMs. */

import { as, err, failure, ok, type Epoch } from "@blixard/std";
import { vmJson } from "../records.ts";
import {
  changeVm,
  dropVm,
  readVm,
  writeVm,
  type Outcome,
  type Transaction,
} from "../transaction.ts";
import type { Command, VmRecord, VmSpec } from "../types.ts";
import { beingDeleted, noSuchVm } from "./refuse.ts";

type CommandOf<K extends Command["kind"]> = Extract<Command, { readonly kind: K }>;

function sameSpec(vm: VmRecord, spec: VmSpec): boolean {
  return vmJson(vm) === vmJson({ ...vm, spec });
}

/** The same id and spec again is the same request again: answered, not done twice. */
export function createVm(tx: Transaction, { vmId, spec, desired }: CommandOf<"createVm">): Outcome {
  const known = readVm(tx, vmId);
  if (known !== undefined) {
    if (sameSpec(known, spec) && !known.deleting) return ok({ vm: known });
    const message = `There already is a VM with id ${vmId}: ${known.spec.name}`;
    return err(failure("AlreadyExists", { kind: "VM", name: vmId }, message, "blixard vm ls"));
  }
  const holder = tx.state.index.vmByName.get(spec.name);
  if (holder !== undefined) {
    const going = readVm(tx, holder)?.deleting === true;
    const message =
      `There already is a VM ${JSON.stringify(spec.name)}` + (going ? ", being deleted" : "");
    const hint = going ? "wait until blixard vm ls shows it gone" : "blixard vm ls";
    return err(failure("AlreadyExists", { kind: "VM", name: spec.name }, message, hint));
  }
  const vm = writeVm(
    tx,
    {
      id: vmId,
      spec,
      desired,
      deleting: false,
      epoch: as<Epoch>(0),
      restarts: 0,
      createdRevision: tx.revision,
    },
    {
      phase: desired === "running" ? "pending" : "stopped",
      nodeId: undefined,
      reason: undefined,
      commandExit: undefined,
    },
  );
  return ok({ vm });
}

function live(vm: VmRecord): boolean {
  return vm.phase === "starting" || vm.phase === "running" || vm.phase === "stopping";
}

function wantRunning(tx: Transaction, vm: VmRecord): Outcome {
  if (vm.phase === "failed" || vm.phase === "stopped") {
    const phase = vm.nodeId === undefined ? "pending" : "scheduled";
    const fresh = { desired: "running", restarts: 0, reason: undefined } as const;
    return ok({ vm: changeVm(tx, vm, { ...fresh, phase, commandExit: undefined }) });
  }
  // A live VM that is wanted already is left alone: restarts counts the start it is in.
  const settled = vm.desired === "running" && (live(vm) || vm.restarts === 0);
  if (settled) return ok({ vm });
  return ok({ vm: changeVm(tx, vm, { desired: "running", restarts: 0 }) });
}

function wantStopped(tx: Transaction, vm: VmRecord): Outcome {
  // What is live stays so until its node has stopped it and says so.
  const phase = live(vm) || vm.phase === "failed" ? vm.phase : "stopped";
  if (vm.desired === "stopped" && phase === vm.phase) return ok({ vm });
  return ok({ vm: changeVm(tx, vm, { desired: "stopped", phase }) });
}

export function setDesired(tx: Transaction, { vmId, desired }: CommandOf<"setDesired">): Outcome {
  const vm = readVm(tx, vmId);
  if (vm === undefined) return noSuchVm(vmId);
  if (vm.deleting) return beingDeleted(vm);
  return desired === "running" ? wantRunning(tx, vm) : wantStopped(tx, vm);
}

/** A VM without a node goes at once; any other when its node reports it gone, or is lost. */
export function deleteVm(tx: Transaction, { vmId }: CommandOf<"deleteVm">): Outcome {
  const vm = readVm(tx, vmId);
  if (vm === undefined) return noSuchVm(vmId);
  if (vm.deleting) return ok({ vm });
  const marked = changeVm(tx, vm, { deleting: true });
  if (vm.nodeId === undefined) dropVm(tx, vm);
  return ok({ vm: marked });
}
