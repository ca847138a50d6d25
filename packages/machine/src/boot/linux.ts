/**
 * Puts a Linux kernel, its initrd and the device tree into RAM, as the riscv64 boot protocol wants them (Linux,
 * Documentation/arch/riscv/boot.rst). From the bottom: kernel at its text offset, free memory, initrd, tree.
 */

import { err, failure, ok, utf8, type FailureOf, type Result } from "@blixard/std";
import type { GuestMemory } from "../types.ts";
import { writeTree } from "./fdt.ts";
import { readKernel, type ImageFailure } from "./image.ts";
import {
  COMMAND_LINE_BYTES_MAX,
  RAM_BYTES_MIN,
  RNG_SEED_BYTES_MAX,
  TREE_BYTES_MAX,
  WORKING_BYTES_MIN,
} from "./limits.ts";
import { machineTree, type DeviceDescription, type HartDescription } from "./tree.ts";

export interface LinuxOptions {
  readonly memory: GuestMemory;
  /** An unpacked `Image`. */
  readonly kernel: Uint8Array;
  readonly initrd?: Uint8Array;
  readonly cmdline: string;
  readonly devices: readonly DeviceDescription[];
  readonly harts: number;
  readonly hart: HartDescription;
  readonly timebaseHz: number;
  /** Entropy that the kernel credits; empty for none. */
  readonly rngSeed: Uint8Array;
}

export type BootFailure = ImageFailure | FailureOf<"NoCapacity">;

/** Registers of the boot hart, and what lies where; `end`s are exclusive. */
export interface Booted {
  readonly pc: bigint;
  /** Number of the boot hart. */
  readonly a0: bigint;
  /** Address of the device tree. */
  readonly a1: bigint;
  readonly kernel: Range;
  readonly initrd?: Range;
  readonly tree: Range;
}

export interface Range {
  readonly start: number;
  readonly end: number;
}

const PAGE_BYTES = 4096;
const MEGAPAGE_BYTES = 2_097_152;

/** Nothing is written to RAM unless everything fits. The other harts are started by the guest through HSM. */
export function bootLinux(options: LinuxOptions): Result<Booted, BootFailure> {
  const { memory } = options;
  const wrong = checkOptions(options);
  if (wrong !== undefined) return err(wrong);
  const image = readKernel(options.kernel);
  if (!image.ok) return image;
  const kernelStart = memory.base + image.value.textOffset;
  const kernel = { start: kernelStart, end: kernelStart + image.value.memoryBytes };
  const ramEnd = memory.base + memory.sizeBytes;
  const treeStart = Math.floor((ramEnd - TREE_BYTES_MAX) / MEGAPAGE_BYTES) * MEGAPAGE_BYTES;
  const initrdBytes = options.initrd?.length ?? 0;
  const initrdStart = Math.floor((treeStart - initrdBytes) / PAGE_BYTES) * PAGE_BYTES;
  if (initrdStart - kernel.end < WORKING_BYTES_MIN) {
    return err(tooSmall(memory, image.value.memoryBytes, initrdBytes));
  }
  const initrd =
    initrdBytes === 0 ? undefined : { start: initrdStart, end: initrdStart + initrdBytes };
  const { cmdline, devices, harts, hart, timebaseHz, rngSeed } = options;
  const inputs = { memory, cmdline, devices, harts, hart, timebaseHz, rngSeed };
  const tree = writeTree(machineTree(initrd === undefined ? inputs : { ...inputs, initrd }));
  if (tree.length > TREE_BYTES_MAX) {
    const data = { what: "device tree", limit: TREE_BYTES_MAX, actual: tree.length };
    return err(failure("TooLarge", data, `the device tree has ${tree.length} bytes`));
  }
  const written =
    memory.write(kernel.start, options.kernel) &&
    (options.initrd === undefined || memory.write(initrdStart, options.initrd)) &&
    memory.write(treeStart, tree);
  // The ranges were checked above; a memory that refuses them is smaller than it says.
  if (!written) return err(tooSmall(memory, image.value.memoryBytes, initrdBytes));
  const at = {
    pc: BigInt(kernel.start),
    a0: 0n,
    a1: BigInt(treeStart),
    kernel,
    tree: { start: treeStart, end: treeStart + tree.length },
  };
  return ok(initrd === undefined ? at : { ...at, initrd });
}

function checkOptions(options: LinuxOptions): BootFailure | undefined {
  const { memory, cmdline, rngSeed } = options;
  const invalid = (field: string, reason: string) =>
    failure("InvalidArgument", { field, reason }, `cannot boot: ${reason}`);
  if (memory.base % MEGAPAGE_BYTES !== 0) return invalid("memory", "RAM starts off a 2 MiB page");
  if (memory.sizeBytes < RAM_BYTES_MIN) {
    return tooSmall(memory, options.kernel.length, options.initrd?.length ?? 0);
  }
  // It ends up in logs and in /proc/cmdline.
  if (/\p{Cc}/u.test(cmdline)) {
    return invalid("cmdline", "the command line holds control characters");
  }
  const cmdlineBytes = utf8(cmdline).length;
  if (cmdlineBytes > COMMAND_LINE_BYTES_MAX) {
    const data = { what: "command line", limit: COMMAND_LINE_BYTES_MAX, actual: cmdlineBytes };
    return failure("TooLarge", data, `the command line has ${cmdlineBytes} bytes`);
  }
  if (rngSeed.length > RNG_SEED_BYTES_MAX) {
    const data = { what: "seed", limit: RNG_SEED_BYTES_MAX, actual: rngSeed.length };
    return failure("TooLarge", data, `the seed has ${rngSeed.length} bytes`);
  }
  return undefined;
}

function tooSmall(
  memory: GuestMemory,
  kernelBytes: number,
  initrdBytes: number,
): FailureOf<"NoCapacity"> {
  const reason =
    `${memory.sizeBytes} bytes of RAM do not hold a kernel of ${kernelBytes} bytes, ` +
    `an initrd of ${initrdBytes} and ${WORKING_BYTES_MIN} to work in`;
  return failure("NoCapacity", { reason, nodes: [] }, reason, "give the machine more --memory");
}
