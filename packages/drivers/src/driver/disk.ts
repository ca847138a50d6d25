/** The raw disk of an instance. */

import { open } from "node:fs/promises";
import { join } from "node:path";
import { diskError, hasCode } from "@blixard/host";
import type { InstanceSpec } from "../types.ts";

export const DISK_FILE = "disk.raw";

/** Makes an empty disk in the instance's folder, if it is to have one. Errors: DiskFull. */
export async function makeDisk(spec: InstanceSpec, folder: string): Promise<void> {
  if (spec.diskBytes === 0) return;
  const path = join(folder, DISK_FILE);
  try {
    const file = await open(path, "wx", 0o600);
    try {
      // Sparse: blocks are taken as the guest writes them.
      await file.truncate(spec.diskBytes);
      await file.sync();
    } finally {
      await file.close();
    }
  } catch (caught) {
    // Made before a crash came between disk and state.
    if (!hasCode(caught, "EEXIST")) throw diskError(caught, path);
  }
}
