/** `vm ls` */

import type { ConnectionFlags } from "../connection.ts";
import { printList, type Format } from "../output.ts";
import type { Context } from "../options.ts";
import { nodeNames, vmColumns } from "./vm-view.ts";
import { withClient } from "./with-client.ts";

interface Options extends ConnectionFlags {
  readonly output: Format;
  readonly label?: Readonly<Record<string, string>>;
  readonly stale?: boolean;
}

export async function vmLs(context: Context, options: Options): Promise<void> {
  await withClient(context, options, async (client) => {
    const consistency = options.stale === true ? "stale" : "linearizable";
    const [{ items }, names] = await Promise.all([
      client.listVms({ consistency }),
      options.output === "table" ? nodeNames(client) : new Map<string, string>(),
    ]);
    const wanted = Object.entries(options.label ?? {});
    const vms = items
      .filter((vm) => wanted.every(([key, value]) => vm.spec.labels[key] === value))
      .sort((a, b) => (a.spec.name < b.spec.name ? -1 : 1));
    await printList(context.io, options.output, vms, (vm) => vm.spec.name, vmColumns(names));
  });
}
