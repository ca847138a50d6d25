/** `vm inspect` */

import type { ConnectionFlags } from "../connection.ts";
import { printOne, type Format } from "../output.ts";
import type { Context } from "../options.ts";
import { nodeNames, vmFields } from "./vm-view.ts";
import { withClient } from "./with-client.ts";

export async function vmInspect(
  context: Context,
  ref: string,
  options: ConnectionFlags & { readonly output: Format; readonly stale?: boolean },
): Promise<void> {
  await withClient(context, options, async (client) => {
    const consistency = options.stale === true ? "stale" : "linearizable";
    const vm = await client.getVm(ref, { consistency });
    const names = options.output === "table" ? await nodeNames(client) : new Map<string, string>();
    await printOne(context.io, options.output, vm, (one) => one.spec.name, vmFields(names));
  });
}
