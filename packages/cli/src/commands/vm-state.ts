/** `vm start`, `vm stop`, `vm rm` and `vm wait` */

import type { ConnectionFlags } from "../connection.ts";
import { write } from "../io.ts";
import type { Context } from "../options.ts";
import { waitFor, type Goal } from "./waiting.ts";
import { withClient } from "./with-client.ts";

/** All are asked first and waited for afterwards, so that they get there side by side. */
export async function vmState(
  context: Context,
  goal: Goal,
  refs: readonly string[],
  options: ConnectionFlags & { readonly wait?: boolean; readonly timeout: number },
): Promise<void> {
  const { io } = context;
  await withClient(context, options, async (client) => {
    const asked = [];
    for (const ref of refs) {
      const vm =
        goal === "running"
          ? await client.startVm(ref)
          : goal === "stopped"
            ? await client.stopVm(ref)
            : await client.deleteVm(ref);
      asked.push(vm);
      if (options.wait !== true) await write(io.stdout, `${vm.spec.name}\n`);
    }
    for (const vm of options.wait === true ? asked : []) {
      await waitFor(io, client, vm.id, goal, options.timeout);
      await write(io.stdout, `${vm.spec.name}\n`);
    }
  });
}

export async function vmWait(
  context: Context,
  ref: string,
  options: ConnectionFlags & { readonly for: Goal; readonly timeout: number },
): Promise<void> {
  await withClient(context, options, async (client) => {
    await waitFor(context.io, client, ref, options.for, options.timeout);
  });
}
