/** `run`: a VM for one command. Whatever happens after it was made, it is removed. */

import { randomBytes } from "node:crypto";
import { toBlixardError } from "@blixard/std";
import type { Client } from "@blixard/api";
import type { ConnectionFlags } from "../connection.ts";
import { progress, untilInterrupted, write, type Io } from "../io.ts";
import { printable } from "../output.ts";
import type { Context } from "../options.ts";
import { runSession, withoutSeparator, type SessionOptions } from "./session.ts";
import type { SizeOptions } from "./vm-create.ts";
import { waitFor } from "./waiting.ts";
import { withClient } from "./with-client.ts";

interface Options extends ConnectionFlags, SizeOptions, SessionOptions {
  readonly name?: string;
  readonly timeout: number;
}

/** A failure to remove is told, but never hides how the command ended. */
async function remove(io: Io, client: Client, id: string, name: string): Promise<void> {
  try {
    await client.deleteVm(id);
  } catch (caught) {
    const error = toBlixardError(caught);
    if (error.code === "NotFound") return;
    const told = `warning: ${name} was not removed: ${printable(error.message)}\n`;
    await write(io.stderr, `${told}hint: blixard vm rm ${name}\n`);
  }
}

export async function run(
  context: Context,
  image: string,
  command: readonly string[],
  options: Options,
): Promise<void> {
  const { io } = context;
  const argv = withoutSeparator(command);
  const name = options.name ?? `run-${randomBytes(4).toString("hex")}`;
  await withClient(context, options, async (client) => {
    // Held from before the VM exists, so that no signal ends the process between making and removing.
    const interrupt = untilInterrupted(io);
    try {
      const vm = await client.createVm({
        name,
        image,
        vcpus: options.vcpus,
        memoryBytes: options.memory,
        diskBytes: options.disk,
        labels: options.label ?? {},
      });
      try {
        interrupt.check();
        await progress(io, `${name}: waiting until it runs`);
        await waitFor(io, client, vm.id, "running", options.timeout);
        context.setExitCode(await runSession(io, client, vm.id, argv, options));
      } finally {
        await remove(io, client, vm.id, name);
      }
    } finally {
      interrupt.done();
    }
  });
}
