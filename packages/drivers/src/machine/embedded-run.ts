/** A guest in the foreground of this process, for one person at a terminal: no lease, no supervisor. */

import type { Readable, Writable } from "node:stream";
import { fail } from "@blixard/std";
import { LIMITS } from "../limits.ts";
import { EmbeddedGuest, type GuestEnd } from "./embedded-guest.ts";
import { loadImage, openDisk } from "./embedded-image.ts";

export interface ForegroundOptions {
  /** A riscv64 Image, plain or gzipped. */
  readonly kernel: string;
  readonly initrd?: string;
  readonly cmdline: string;
  readonly memoryBytes: number;
  /** A raw image. */
  readonly disk?: string;
  readonly input: Readable;
  readonly output: Writable;
  readonly signal: AbortSignal;
}

const MEBIBYTE = 1048576;
const DISK_SERIAL = "blixard0";

/**
 * Resolves when the guest has ended itself, or with undefined when `signal` ended it. Errors: NotFound and
 * InvalidArgument for files and sizes, Unsupported and NoCapacity for kernels.
 */
export async function runInForeground(options: ForegroundOptions): Promise<GuestEnd | undefined> {
  const memoryBytes = Math.ceil(options.memoryBytes / MEBIBYTE) * MEBIBYTE;
  if (memoryBytes < MEBIBYTE || memoryBytes > LIMITS.embeddedMemoryBytesMax) {
    const reason = `${options.memoryBytes} is not between ${MEBIBYTE} and ${LIMITS.embeddedMemoryBytesMax}`;
    const message = `Cannot make a machine of that much memory: ${reason} bytes`;
    fail("InvalidArgument", { field: "memory", reason }, message, "use --memory 64M to 1792M");
  }
  const image = await loadImage(options);
  const { disk, input, output, signal } = options;
  const disks = disk === undefined ? [] : [await openDisk(disk, DISK_SERIAL)];
  const { promise, resolve } = Promise.withResolvers<GuestEnd | undefined>();
  const guest = new EmbeddedGuest({
    image,
    memoryBytes,
    disks,
    consoleOut: output,
    consoleIn: input,
    admit: () => true,
    onEnd: (end) => resolve(signal.aborted ? undefined : end),
  });
  const stop = (): void => guest.end({ kind: "died", reason: "it was stopped" });
  signal.addEventListener("abort", stop, { once: true });
  try {
    if (signal.aborted) stop();
    else guest.start();
    return await promise;
  } finally {
    signal.removeEventListener("abort", stop);
    for (const one of disks) await one.disk.close();
  }
}
