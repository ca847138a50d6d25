/** `vm exec` */

import type { ConnectionFlags } from "../connection.ts";
import type { Context } from "../options.ts";
import { runSession, withoutSeparator, type SessionOptions } from "./session.ts";
import { withClient } from "./with-client.ts";

export async function vmExec(
  context: Context,
  ref: string,
  command: readonly string[],
  options: ConnectionFlags & SessionOptions,
): Promise<void> {
  const argv = withoutSeparator(command);
  await withClient(context, options, async (client) => {
    context.setExitCode(await runSession(context.io, client, ref, argv, options));
  });
}
