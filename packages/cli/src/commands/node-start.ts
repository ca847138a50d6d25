/** `node start`: the daemon in the foreground. */

import { fail } from "@blixard/std";
import { dataDirOf } from "../connection.ts";
import { write } from "../io.ts";
import type { Context } from "../options.ts";

const LEVELS = ["debug", "info", "warn", "error"] as const;
type Level = (typeof LEVELS)[number];

function levelOf(text: string): Level {
  const level = LEVELS.find((one) => one === text);
  if (level !== undefined) return level;
  const reason = `expected one of ${LEVELS.join(", ")}`;
  return fail(
    "InvalidArgument",
    { field: "log-level", reason },
    `Cannot use log level ${JSON.stringify(text)}: ${reason}.`,
  );
}

export async function nodeStart(
  { io }: Context,
  options: { readonly data?: string; readonly logLevel: string },
): Promise<void> {
  const logLevel = levelOf(options.logLevel);
  const { startDaemon } = await import("@blixard/node");
  const daemon = await startDaemon({ dataDir: dataDirOf(options, io.env), logLevel });
  const offs: (() => void)[] = [];
  try {
    await write(io.stderr, `api ${daemon.apiAddress}, nodes ${daemon.nodeAddress}\n`);
    await new Promise<void>((resolve, reject) => {
      const stop = (): void => void daemon.close().then(resolve, reject);
      offs.push(io.onSignal("SIGINT", stop), io.onSignal("SIGTERM", stop));
      daemon.closed.then(resolve, reject);
    });
  } finally {
    for (const off of offs) off();
  }
}
