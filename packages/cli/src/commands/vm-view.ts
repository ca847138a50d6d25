/** How VMs are shown as tables, in one place. */

import type { Client } from "@blixard/api";
import type { VmRecord } from "@blixard/control";
import type { Column } from "../output.ts";
import { formatSize } from "../units.ts";

/** Ids to names; empty when the nodes cannot be listed, as then ids are shown. */
export async function nodeNames(client: Client): Promise<ReadonlyMap<string, string>> {
  const { items } = await client.listNodes({ consistency: "stale" });
  return new Map(items.map((node) => [node.id, node.name]));
}

function nodeOf(vm: VmRecord, names: ReadonlyMap<string, string>): string {
  if (vm.nodeId === undefined) return "";
  return names.get(vm.nodeId) ?? vm.nodeId.slice(0, 12);
}

function phaseOf(vm: VmRecord): string {
  const marks = [vm.health ?? "", vm.deleting ? "deleting" : ""].filter((mark) => mark !== "");
  return [vm.phase, ...marks].join(", ");
}

/** What the marks mean, and what to do about them. */
function healthOf({ health, spec }: VmRecord): string {
  if (health === undefined) return "";
  return `its agent does not answer: see blixard vm logs ${spec.name}, or stop and start it`;
}

export function vmColumns(names: ReadonlyMap<string, string>): readonly Column<VmRecord>[] {
  return [
    { title: "NAME", value: (vm) => vm.spec.name },
    { title: "ID", value: (vm) => vm.id },
    { title: "PHASE", value: phaseOf },
    { title: "NODE", value: (vm) => nodeOf(vm, names) },
    { title: "IMAGE", value: (vm) => vm.spec.image },
    { title: "VCPUS", value: (vm) => String(vm.spec.vcpus) },
    { title: "MEMORY", value: (vm) => formatSize(vm.spec.memoryBytes) },
  ];
}

export function vmFields(names: ReadonlyMap<string, string>): readonly Column<VmRecord>[] {
  return [
    ...vmColumns(names),
    {
      title: "DISK",
      value: (vm) => (vm.spec.diskBytes === 0 ? "" : formatSize(vm.spec.diskBytes)),
    },
    {
      title: "LABELS",
      value: (vm) =>
        Object.entries(vm.spec.labels)
          .map(([key, value]) => `${key}=${value}`)
          .join(" "),
    },
    { title: "COMMAND", value: (vm) => vm.spec.command.join(" ") },
    { title: "DESIRED", value: (vm) => vm.desired },
    { title: "EPOCH", value: (vm) => String(vm.epoch) },
    // The first start of the row that the record counts was no restart.
    { title: "RESTARTS", value: (vm) => String(Math.max(0, vm.restarts - 1)) },
    { title: "REASON", value: (vm) => vm.reason ?? "" },
    { title: "HEALTH", value: healthOf },
    {
      title: "COMMAND EXIT",
      value: (vm) => (vm.commandExit === undefined ? "" : String(vm.commandExit)),
    },
  ];
}
