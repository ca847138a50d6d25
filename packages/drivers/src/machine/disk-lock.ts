/** One writer for each file that is a disk, for as long as that writer's process lives. */

import { createServer, type Server } from "node:net";
import { hasCode } from "@blixard/host";
import { fail } from "@blixard/std";
import { hostOs } from "../os/index.ts";

export interface DiskLock {
  release(): Promise<void>;
}

/** `file`: as stat(2) says, so that all its names are one. Errors: Conflict. */
export async function lockDisk(
  file: { readonly dev: number; readonly ino: number },
  path: string,
): Promise<DiskLock> {
  const address = hostOs.lockAddress(`disk-${file.dev}-${file.ino}`);
  if (address === undefined) return { release: () => Promise.resolve() };
  const server = createServer((socket) => socket.destroy());
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(address, resolve);
    });
  } catch (caught) {
    if (!hasCode(caught, "EADDRINUSE")) throw caught;
    const reason = `${path} is written to by another machine`;
    fail("Conflict", { reason }, `Cannot use disk ${path}: ${reason}`, "end that machine first");
  }
  server.unref();
  return { release: () => closed(server) };
}

/** Refuses a disk that somebody writes to. Readers do not keep writers away. Errors: Conflict. */
export async function refuseWritten(
  file: { readonly dev: number; readonly ino: number },
  path: string,
): Promise<void> {
  const lock = await lockDisk(file, path);
  await lock.release();
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()));
}
