/** Work on an instance's state while, for certain, no supervisor of it runs. */

import { createServer } from "node:net";
import { hasCode } from "@blixard/host";
import { hostOs } from "../os/index.ts";

/** Undefined, without calling `work`, when a supervisor (or another daemon) holds the lock. */
export async function withLock<T>(
  token: string,
  work: () => Promise<T>,
): Promise<{ readonly value: T } | undefined> {
  const address = hostOs.lockAddress(token);
  if (address === undefined) return { value: await work() };
  const server = createServer((socket) => socket.destroy());
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(address, resolve);
    });
  } catch (caught) {
    if (hasCode(caught, "EADDRINUSE")) return undefined;
    throw caught;
  }
  try {
    return { value: await work() };
  } finally {
    await new Promise<void>((resolve) => server.close(() => resolve()));
  }
}
