/** `cluster ticket` */

import type { ConnectionFlags } from "../connection.ts";
import { printOne, type Format } from "../output.ts";
import type { Context } from "../options.ts";
import { withClient } from "./with-client.ts";

interface Options extends ConnectionFlags {
  readonly output: Format;
  readonly uses: number;
  readonly ttl: number;
}

/** `-o name` prints the ticket alone, for scripts. */
export async function clusterTicket(context: Context, options: Options): Promise<void> {
  await withClient(context, options, async (client) => {
    const made = await client.createTicket({ uses: options.uses, ttlMs: options.ttl });
    await printOne(context.io, options.output, made, ({ ticket }) => ticket, [
      { title: "TICKET", value: ({ ticket }) => ticket },
      { title: "EXPIRES", value: ({ expiresAtMs }) => new Date(expiresAtMs).toISOString() },
    ]);
  });
}
