/** `vm stats` and `machine stats`: what is measured of VMs that run. */

import type { Client } from "@blixard/api";
import type { VmRecord } from "@blixard/control";
import { BlixardError, type Counters, fail, type VmStats } from "@blixard/std";
import type { ConnectionFlags } from "../connection.ts";
import type { Context } from "../options.ts";
import { type Column, type Format, printList, printOne } from "../output.ts";
import { formatSize } from "../units.ts";
import { nodeNames } from "./vm-view.ts";
import { withClient } from "./with-client.ts";

type Options = ConnectionFlags & { readonly output: Format; readonly all?: boolean };
/** What is printed: the record's name and place beside what was measured. */
type Row = VmStats & { readonly vm: string; readonly node: string };

export async function vmStats(
  context: Context,
  ref: string | undefined,
  options: Options,
): Promise<void> {
  const { io } = context;
  if (ref !== undefined && options.all === true) {
    const reason = "it names one VM, and --all means those of this node";
    fail("InvalidArgument", { field: "vm", reason }, `Cannot use both: ${reason}`, "leave out one");
  }
  await withClient(context, options, async (client) => {
    const names = await nodeNames(client);
    if (ref === undefined) {
      const rows = await ofThisNode(client, names);
      return printList(io, options.output, rows, ({ vm }) => vm, COLUMNS);
    }
    const vm = await client.getVm(ref);
    const row = rowOf(vm, await client.vmStats(vm.id), names);
    await printOne(io, options.output, row, () => row.vm, [...FIELDS, ...counterFields(row)]);
  });
}

function rowOf(vm: VmRecord, stats: VmStats, names: ReadonlyMap<string, string>): Row {
  const node = vm.nodeId === undefined ? "" : (names.get(vm.nodeId) ?? vm.nodeId);
  return { vm: vm.spec.name, node, ...stats };
}

/** Those that run now; one that ends meanwhile is left out. */
async function ofThisNode(client: Client, names: ReadonlyMap<string, string>): Promise<Row[]> {
  const [{ self }, { items }] = await Promise.all([client.status(), client.listVms()]);
  const here = items.filter(({ nodeId, phase }) => nodeId === self.id && phase === "running");
  const rows: Row[] = [];
  for (const vm of here) {
    try {
      rows.push(rowOf(vm, await client.vmStats(vm.id), names));
    } catch (caught) {
      const ended = caught instanceof BlixardError && caught.code === "NotRunning";
      const deleted = caught instanceof BlixardError && caught.code === "NotFound";
      if (!ended && !deleted) throw caught;
    }
  }
  return rows;
}

const inMillions = (count: number | undefined): string =>
  count === undefined ? "" : (count / 1e6).toFixed(1);
const mips = (value: number | undefined): string => (value === undefined ? "" : value.toFixed(1));
const size = (bytes: number | undefined): string => (bytes === undefined ? "" : formatSize(bytes));
const seconds = (value: number | undefined): string =>
  value === undefined ? "" : `${value.toFixed(2)}s`;
const share = (part: number | undefined, whole: number | undefined): string =>
  part === undefined || whole === undefined || whole === 0
    ? ""
    : `${Math.round((100 * part) / whole)}%`;

function diskBytes(stats: VmStats, name: "readBytes" | "writtenBytes"): number | undefined {
  const disks = Object.entries(stats.counters).filter(([group]) => /^disk\d+$/.test(group));
  if (disks.length === 0) return undefined;
  return disks.reduce((sum, [, counters]) => sum + (counters[name] ?? 0), 0);
}

const COLUMNS: readonly Column<Row>[] = [
  { title: "NAME", value: ({ vm }) => vm },
  { title: "DRIVER", value: ({ driver }) => driver },
  { title: "MIPS", value: ({ execution }) => mips(execution?.mips.lastSecond) },
  { title: "AVERAGE", value: ({ execution }) => mips(execution?.mips.average) },
  {
    title: "BUSY",
    value: ({ execution }) => share(execution?.time.busyMs, execution?.time.totalMs),
  },
  { title: "CPU", value: ({ process }) => seconds(process?.cpuSeconds) },
  { title: "RESIDENT", value: ({ process }) => size(process?.residentBytes) },
  { title: "TOUCHED", value: ({ counters }) => size(counters["memory"]?.["touchedBytes"]) },
  { title: "READ", value: (row) => size(diskBytes(row, "readBytes")) },
  { title: "WRITTEN", value: (row) => size(diskBytes(row, "writtenBytes")) },
  { title: "CONSOLE", value: ({ consoleBytes }) => size(consoleBytes) },
];

const FIELDS: readonly Column<Row>[] = [
  { title: "NAME", value: ({ vm }) => vm },
  { title: "ID", value: ({ vmId }) => vmId },
  { title: "NODE", value: ({ node }) => node },
  { title: "DRIVER", value: ({ driver }) => driver },
  { title: "EPOCH", value: ({ epoch }) => String(epoch) },
  { title: "PID", value: ({ process }) => String(process?.pid ?? "") },
  { title: "CPU", value: ({ process }) => seconds(process?.cpuSeconds) },
  { title: "RESIDENT", value: ({ process }) => size(process?.residentBytes) },
  { title: "PRIVATE", value: ({ process }) => size(process?.privateBytes) },
  { title: "CONSOLE", value: ({ consoleBytes }) => size(consoleBytes) },
  { title: "INSTRUCTIONS", value: ({ execution }) => millions(execution?.instructions) },
  { title: "MIPS, LAST SECOND", value: ({ execution }) => mips(execution?.mips.lastSecond) },
  { title: "MIPS, AVERAGE", value: ({ execution }) => mips(execution?.mips.average) },
  { title: "MIPS, BUSY", value: ({ execution }) => mips(execution?.mips.busy) },
  {
    title: "TIME",
    value: ({ execution }) => {
      if (execution === undefined) return "";
      const { totalMs, busyMs, idleMs, heldMs, throttledMs } = execution.time;
      const parts = { busy: busyMs, idle: idleMs, held: heldMs, throttled: throttledMs };
      const shown = Object.entries(parts).map(([name, ms]) => `${name} ${share(ms, totalMs)}`);
      return `${seconds(totalMs / 1000)}: ${shown.join(", ")}`;
    },
  },
];

function millions(count: number | undefined): string {
  return count === undefined ? "" : `${inMillions(count)} million`;
}

/** "exits.idle  7": as many as the driver has. */
function counterFields({ counters }: VmStats): readonly Column<Row>[] {
  const groups: readonly [string, Counters][] = Object.entries(counters);
  return groups.flatMap(([group, named]) =>
    Object.entries(named).map(([name, count]) => ({
      title: `${group}.${name}`,
      value: () => (name.endsWith("Bytes") ? formatSize(count) : String(count)),
    })),
  );
}
