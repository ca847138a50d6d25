/**
 * What each entry may make of the records of VMs: a VM stays where it was placed, nodes are not
 * promised to more VMs than they hold, permission to start is for whoever holds the lease, and what
 * is said about one start says nothing of another. And in true time: what a record calls ended has
 * ended. Each entry is looked at once, when the first machine applies it.
 */

import {
  type Change,
  type Command,
  type CommandResult,
  type ControlState,
  decodeCommand,
  getNode,
  getVm,
  usage,
  type VmRecord,
} from "@blixard/control";
import { violated } from "../world/world.ts";

interface Entry {
  readonly index: number;
  readonly data: Uint8Array;
}

type VmChange = Extract<Change, { readonly kind: "vm" }>;

function isLive({ phase }: VmRecord): boolean {
  return phase === "starting" || phase === "running" || phase === "stopping";
}

function commandOf({ index, data }: Entry): Command {
  const decoded = decodeCommand(data);
  return decoded.ok ? decoded.value.command : violated("entries decode", `entry ${index}`);
}

export class RecordChecker {
  /** Commands that came too late, and were refused for that alone: what the shipped checks are for. */
  readonly refused = { claims: 0, reports: 0, plans: 0, room: 0 };
  #highest = 0;
  /** Where the VM executes now, in true time: the machine's number. */
  readonly #where: (vmId: string) => number | undefined;

  constructor(where: (vmId: string) => number | undefined) {
    this.#where = where;
  }

  /** `state` stands just behind `entry`. */
  applied(state: ControlState, entry: Entry, result: CommandResult): void {
    if (entry.index <= this.#highest) return;
    this.#highest = entry.index;
    if (!result.ok) {
      this.#count(state, commandOf(entry), result.error.code);
      return;
    }
    for (const change of result.changes) {
      if (change.kind === "vm" && change.before !== undefined) this.#check(state, entry, change);
    }
  }

  #count(state: ControlState, command: Command, code: string): void {
    const { refused } = this;
    if (command.kind === "placeVm") {
      const vm = getVm(state, command.vmId);
      if (code === "NoCapacity") refused.room++;
      else if (vm?.desired === "running" && vm.nodeId !== undefined) {
        if (vm.nodeId !== command.nodeId) refused.plans++;
      }
      return;
    }
    if (command.kind !== "claimStart" && command.kind !== "reportVm") return;
    const { vmId, nodeId, leaseEpoch } = command;
    const vm = getVm(state, vmId);
    const node = getNode(state, nodeId);
    if (vm === undefined || node === undefined || vm.nodeId !== nodeId) return;
    const isHeld = node.state === "up" && node.leaseEpoch === leaseEpoch;
    if (command.kind === "claimStart") {
      if (!isHeld && vm.desired === "running" && !vm.deleting) refused.claims++;
    } else if (isHeld && vm.epoch !== command.epoch) refused.reports++;
  }

  #check(state: ControlState, entry: Entry, { before, after }: VmChange): void {
    if (before === undefined) return;
    if (after !== undefined && after.nodeId !== before.nodeId) this.#placed(state, before, after);
    if (after !== undefined && after.epoch !== before.epoch) this.#claimed(state, entry, before);
    if (!isLive(before) || (after !== undefined && isLive(after))) return;
    this.#ended(entry, before);
  }

  #placed(state: ControlState, before: VmRecord, { spec: { name }, nodeId }: VmRecord): void {
    if (nodeId === undefined) return;
    if (before.nodeId !== undefined) {
      violated("a placed VM stays", `${name} went from ${before.nodeId} to ${nodeId}`);
    }
    const capacity = getNode(state, nodeId)?.capacity;
    const used = usage(state, nodeId);
    for (const key of ["vcpus", "memoryBytes", "diskBytes"] as const) {
      if (used[key] <= (capacity?.[key] ?? 0)) continue;
      const message = `${name} makes ${used[key]} ${key} of ${capacity?.[key] ?? 0} on ${nodeId}`;
      violated("capacity in the records", message);
    }
  }

  #claimed(state: ControlState, entry: Entry, { spec: { name }, nodeId }: VmRecord): void {
    const command = commandOf(entry);
    if (command.kind !== "claimStart") violated("starts are claimed", `${name}: ${command.kind}`);
    const node = getNode(state, command.nodeId);
    if (nodeId !== command.nodeId) {
      violated("starts are claimed", `${name} by ${command.nodeId}, it is on ${nodeId ?? "none"}`);
    }
    if (node?.state === "up" && node.leaseEpoch === command.leaseEpoch) return;
    const now = `${node?.state ?? "removed"} in epoch ${node?.leaseEpoch ?? 0}`;
    const message = `${name} under epoch ${command.leaseEpoch}, its node is ${now}`;
    violated("starts are claimed under a lease", message);
  }

  #ended(entry: Entry, { id, epoch, phase, spec: { name } }: VmRecord): void {
    const command = commandOf(entry);
    if (command.kind === "reportVm" && command.epoch !== epoch) {
      const message = `${name} is in epoch ${epoch}, ended by a report about ${command.epoch}`;
      violated("reports are about the present start", message);
    }
    const host = this.#where(id);
    if (host === undefined) return;
    const message = `${name}, ${phase} in epoch ${epoch}, after ${command.kind}: it runs on n${host}`;
    violated("what ended runs nowhere", message);
  }
}
