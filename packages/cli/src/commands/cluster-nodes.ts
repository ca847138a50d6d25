/** `cluster nodes` and `cluster rm` */

import type { NodeView } from "@blixard/api";
import type { ConnectionFlags } from "../connection.ts";
import { write } from "../io.ts";
import { printList, type Format } from "../output.ts";
import type { Context } from "../options.ts";
import { formatSize } from "../units.ts";
import { withClient } from "./with-client.ts";

function stateOf({ state, maintenance }: NodeView): string {
  switch (maintenance) {
    case undefined:
      return state;
    case "cordon":
      return `${state}, cordoned`;
    case "drain":
    case "drainDisks":
      return `${state}, drained`;
    default:
      return maintenance satisfies never;
  }
}

export async function clusterNodes(
  context: Context,
  options: ConnectionFlags & { readonly output: Format; readonly stale?: boolean },
): Promise<void> {
  await withClient(context, options, async (client) => {
    const consistency = options.stale === true ? "stale" : "linearizable";
    const { items } = await client.listNodes({ consistency });
    await printList(context.io, options.output, items, (node) => node.name, [
      { title: "NAME", value: (node) => node.name },
      { title: "ID", value: (node) => node.id.slice(0, 12) },
      { title: "STATE", value: stateOf },
      { title: "ROLE", value: (node) => node.role },
      { title: "ADDRESS", value: (node) => node.address },
      { title: "VCPUS", value: (node) => `${node.used.vcpus}/${node.capacity.vcpus}` },
      {
        title: "MEMORY",
        value: ({ used, capacity }) =>
          `${formatSize(used.memoryBytes)} of ${formatSize(capacity.memoryBytes)}`,
      },
      { title: "DRIVERS", value: (node) => node.drivers.join(",") },
    ]);
  });
}

export async function clusterRemove(
  context: Context,
  ref: string,
  options: ConnectionFlags,
): Promise<void> {
  await withClient(context, options, async (client) => {
    const node = await client.getNode(ref);
    await client.removeNode(node.id);
    await write(context.io.stdout, `${node.name}\n`);
  });
}
