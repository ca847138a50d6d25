/** `vm create` */

import type { ConnectionFlags } from "../connection.ts";
import { printOne, type Format } from "../output.ts";
import type { Context } from "../options.ts";
import { nodeNames, vmFields } from "./vm-view.ts";
import { waitFor } from "./waiting.ts";
import { withClient } from "./with-client.ts";

export interface SizeOptions {
  readonly vcpus: number;
  readonly memory: number;
  readonly disk: number;
  readonly label?: Readonly<Record<string, string>>;
}

interface Options extends ConnectionFlags, SizeOptions {
  readonly output: Format;
  readonly image: string;
  readonly start: boolean;
  readonly wait?: boolean;
  readonly timeout: number;
}

export async function vmCreate(
  context: Context,
  name: string,
  command: readonly string[],
  options: Options,
): Promise<void> {
  const { io } = context;
  await withClient(context, options, async (client) => {
    const created = await client.createVm(
      {
        name,
        image: options.image,
        vcpus: options.vcpus,
        memoryBytes: options.memory,
        diskBytes: options.disk,
        labels: options.label ?? {},
        command,
      },
      options.start ? "running" : "stopped",
    );
    const ready =
      options.wait === true && options.start
        ? await waitFor(io, client, created.id, "running", options.timeout)
        : created;
    const vm = ready ?? created;
    const names = options.output === "table" ? await nodeNames(client) : new Map<string, string>();
    await printOne(io, options.output, vm, (one) => one.spec.name, vmFields(names));
  });
}
