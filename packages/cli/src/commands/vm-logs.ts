/** `vm logs`: the console's bytes as they are; a guest's console is its own to control. */

import type { ConnectionFlags } from "../connection.ts";
import { untilInterrupted, write } from "../io.ts";
import type { Context } from "../options.ts";
import { withClient } from "./with-client.ts";

interface Options extends ConnectionFlags {
  readonly follow?: boolean;
  readonly tail?: number;
}

export async function vmLogs(context: Context, ref: string, options: Options): Promise<void> {
  const { io } = context;
  await withClient(context, options, async (client) => {
    const interrupt = untilInterrupted(io);
    try {
      const chunks = client.logs(ref, {
        follow: options.follow === true,
        signal: interrupt.signal,
        ...(options.tail === undefined ? {} : { tailBytes: options.tail }),
      });
      for await (const chunk of chunks) await write(io.stdout, chunk);
      interrupt.check();
    } finally {
      interrupt.done();
    }
  });
}
