/** `node cordon`, `node drain` and `node undrain` */

import { setTimeout as sleep } from "node:timers/promises";
import { fail, type NodeId } from "@blixard/std";
import type { Client, NodeView } from "@blixard/api";
import type { Maintenance, VmRecord } from "@blixard/control";
import type { ConnectionFlags } from "../connection.ts";
import { progress, untilInterrupted, write } from "../io.ts";
import type { Context } from "../options.ts";
import { withClient } from "./with-client.ts";

const POLL_MS = 200;

export async function nodeMaintenance(
  context: Context,
  ref: string,
  maintenance: Maintenance | "none",
  options: ConnectionFlags,
): Promise<void> {
  await withClient(context, options, async (client) => {
    const node = await client.setMaintenance(ref, maintenance);
    await write(context.io.stdout, `${node.name}\n`);
  });
}

export interface DrainOptions extends ConnectionFlags {
  readonly deleteDisks?: boolean;
  readonly wait?: boolean;
  readonly timeout: number;
}

async function vmsOn(client: Client, nodeId: NodeId): Promise<readonly VmRecord[]> {
  const { items } = await client.listVms();
  return items.filter((vm) => vm.nodeId === nodeId);
}

function names(vms: readonly VmRecord[]): string {
  const few = vms.slice(0, 5).map((vm) => vm.spec.name);
  return vms.length > few.length
    ? `${few.join(", ")} and ${vms.length - few.length} more`
    : few.join(", ");
}

/** What will never move by itself is told at once, not waited for. */
function refuseDisks(node: NodeView, left: readonly VmRecord[], options: DrainOptions): void {
  const held = left.filter((vm) => vm.spec.diskBytes > 0);
  if (options.deleteDisks === true || held.length === 0 || held.length < left.length) return;
  const reason = `VMs with a disk stay on ${node.name}: ${names(held)}`;
  fail(
    "Conflict",
    { reason },
    `${reason}.`,
    `blixard node drain ${node.name} --delete-disks   starts them elsewhere from their images`,
  );
}

export async function nodeDrain(
  context: Context,
  ref: string,
  options: DrainOptions,
): Promise<void> {
  const { io } = context;
  await withClient(context, options, async (client) => {
    const maintenance = options.deleteDisks === true ? "drainDisks" : "drain";
    const node = await client.setMaintenance(ref, maintenance);
    if (options.wait === true) {
      const interrupt = untilInterrupted(io);
      try {
        await untilEmpty(context, client, node, options, interrupt.check);
      } finally {
        interrupt.done();
      }
    }
    await write(io.stdout, `${node.name}\n`);
  });
}

async function untilEmpty(
  { io }: Context,
  client: Client,
  node: NodeView,
  options: DrainOptions,
  check: () => void,
): Promise<void> {
  const deadlineMs = performance.now() + options.timeout;
  let told = -1;
  for (;;) {
    check();
    const left = await vmsOn(client, node.id);
    if (left.length === 0) return;
    refuseDisks(node, left, options);
    if (left.length !== told) await progress(io, `${node.name}: ${left.length} left`);
    told = left.length;
    if (performance.now() > deadlineMs) {
      const operation = `draining ${node.name}`;
      const timeoutMs = options.timeout;
      const message = `${operation} took longer than ${timeoutMs} ms; left: ${names(left)}.`;
      const hint = `see why with \`blixard vm explain ${left[0]?.spec.name}\``;
      fail("TimedOut", { operation, timeoutMs }, message, hint);
    }
    await sleep(POLL_MS);
  }
}
