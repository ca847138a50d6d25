/** Connects, runs, and lets go of the connection, so that the process can end. */

import type { Client } from "@blixard/api";
import { connect, type ConnectionFlags } from "../connection.ts";
import type { Context } from "../options.ts";

export async function withClient(
  context: Context,
  flags: ConnectionFlags,
  run: (client: Client) => Promise<void>,
): Promise<void> {
  const client = await connect(context.io, flags);
  try {
    await run(client);
  } finally {
    client.close();
  }
}
