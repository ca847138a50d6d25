/** A guest in the foreground of this process, for one person at a terminal: no lease, no supervisor. */

import type { Readable, Writable } from "node:stream";
import { fail } from "@blixard/std";
import { LIMITS } from "../limits.ts";
import { EmbeddedGuest, type GuestDisk, type GuestEnd, type GuestImage } from "./embedded-guest.ts";
import { loadImage } from "./embedded-image.ts";
import { closeDisks, type DiskSpec, openDisks } from "./open-disk.ts";

export interface ForegroundOptions {
  /** A riscv64 Image, plain or gzipped. */
  readonly kernel: string;
  readonly initrd?: string;
  readonly cmdline: string;
  readonly memoryBytes: number;
  /** vda, vdb, ... */
  readonly disks?: readonly DiskSpec[];
  /** The share of a core that it may use, 1000: all of one. */
  readonly cpuMillicores?: number;
  readonly input: Readable;
  readonly output: Writable;
  readonly signal: AbortSignal;
}

const MEBIBYTE = 1048576;

/**
 * Resolves when the guest has ended itself, or with undefined when `signal` ended it. Errors: NotFound and
 * InvalidArgument for files and sizes, Unsupported and NoCapacity for kernels.
 */
export async function runInForeground(options: ForegroundOptions): Promise<GuestEnd | undefined> {
  const memoryBytes = Math.ceil(options.memoryBytes / MEBIBYTE) * MEBIBYTE;
  const { memoryBytesMin: least, embeddedMemoryBytesMax: most } = LIMITS;
  if (memoryBytes < least || memoryBytes > most) {
    const reason = `${options.memoryBytes} is not between ${least} and ${most}`;
    const message = `Cannot make a machine of that much memory: ${reason} bytes`;
    fail("InvalidArgument", { field: "memory", reason }, message, "use --memory 64M to 1792M");
  }
  const image = await loadImage(options);
  const disks = await openDisks(options.disks ?? []);
  try {
    return await runGuest({ ...options, memoryBytes }, image, disks);
  } finally {
    await closeDisks(disks);
  }
}

async function runGuest(
  options: ForegroundOptions,
  image: GuestImage,
  disks: readonly GuestDisk[],
): Promise<GuestEnd | undefined> {
  const { memoryBytes, input, output, signal, cpuMillicores } = options;
  const { promise, resolve } = Promise.withResolvers<GuestEnd | undefined>();
  const guest = new EmbeddedGuest({
    image,
    memoryBytes,
    disks,
    ...(cpuMillicores === undefined ? {} : { cpuMillicores }),
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
  }
}
