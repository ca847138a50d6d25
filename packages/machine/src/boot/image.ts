/**
 * Reads the head of a riscv64 kernel `Image` (Linux, Documentation/arch/riscv/boot-image-header.rst). What is
 * packed is named, not unpacked: that is the shell's work, as this room is pure.
 */

import { err, failure, ok, type FailureOf, type Result } from "@blixard/std";
import { KERNEL_BYTES_MAX } from "./limits.ts";

export interface KernelImage {
  /** Where it wants to lie, from the start of RAM. */
  readonly textOffset: number;
  /** Bytes that it takes in memory: the file and what it clears behind it. */
  readonly memoryBytes: number;
}

/** The kernel is packed: unpack these bytes of the file and come again. */
export interface KernelCompressed {
  readonly code: "KernelCompressed";
  readonly data: {
    readonly compression: "gzip" | "zstd" | "xz" | "lz4" | "bzip2";
    readonly offset: number;
    readonly length: number;
  };
  readonly message: string;
}

export type ImageFailure =
  | KernelCompressed
  | FailureOf<"InvalidArgument">
  | FailureOf<"TooLarge">
  | FailureOf<"Unsupported">;

const HEADER_BYTES = 64;
/** "RSC\x05", the magic that all versions of the header share. */
const MAGIC2 = 0x05435352;
const BIG_ENDIAN = 1n;
const ALIGNMENT = 2_097_152;

const ELF = [0x7f, 0x45, 0x4c, 0x46];
const EFI_ZBOOT = [0x4d, 0x5a, 0x00, 0x00, 0x7a, 0x69, 0x6d, 0x67];
const ZBOOT_HEADER_BYTES = 56;
const PACKED = [
  { compression: "gzip", magic: [0x1f, 0x8b] },
  { compression: "zstd", magic: [0x28, 0xb5, 0x2f, 0xfd] },
  { compression: "xz", magic: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00] },
  { compression: "lz4", magic: [0x02, 0x21, 0x4c, 0x18] },
  { compression: "bzip2", magic: [0x42, 0x5a, 0x68] },
] as const;

/** Reads the header, or says what the file is instead. */
export function readKernel(kernel: Uint8Array): Result<KernelImage, ImageFailure> {
  const packed = PACKED.find(({ magic }) => startsWith(kernel, magic));
  if (packed !== undefined) return compressed(packed.compression, 0, kernel.length);
  if (startsWith(kernel, EFI_ZBOOT)) return readZboot(kernel);
  if (startsWith(kernel, ELF)) {
    const what = "an ELF kernel";
    const hint = "pass arch/riscv/boot/Image of the kernel build instead of vmlinux";
    return err(failure("Unsupported", { what }, `the kernel is an ELF file, not an Image`, hint));
  }
  if (kernel.length > KERNEL_BYTES_MAX) {
    const data = { what: "kernel", limit: KERNEL_BYTES_MAX, actual: kernel.length };
    return err(failure("TooLarge", data, `the kernel has ${kernel.length} bytes`));
  }
  if (kernel.length < HEADER_BYTES) return malformed(`it has only ${kernel.length} bytes`);
  const view = new DataView(kernel.buffer, kernel.byteOffset, kernel.byteLength);
  if (view.getUint32(56, true) !== MAGIC2) return malformed("it lacks the magic RSC\\x05");
  if ((view.getBigUint64(24, true) & BIG_ENDIAN) !== 0n) return malformed("it is big-endian");
  const textOffset = view.getBigUint64(8, true);
  const imageSize = view.getBigUint64(16, true);
  if (textOffset % BigInt(ALIGNMENT) !== 0n || textOffset > BigInt(KERNEL_BYTES_MAX)) {
    return malformed(`text offset ${textOffset} is no small multiple of 2 MiB`);
  }
  if (imageSize > BigInt(KERNEL_BYTES_MAX)) return malformed(`image size ${imageSize}`);
  return ok({
    textOffset: Number(textOffset),
    memoryBytes: Math.max(Number(imageSize), kernel.length),
  });
}

/** EFI zboot (Linux, drivers/firmware/efi/libstub/zboot-header.S): a packed Image with an EFI head. */
function readZboot(kernel: Uint8Array): Result<KernelImage, ImageFailure> {
  if (kernel.length < ZBOOT_HEADER_BYTES) return malformed("its EFI header is cut off");
  const view = new DataView(kernel.buffer, kernel.byteOffset, kernel.byteLength);
  const offset = view.getUint32(8, true);
  const length = view.getUint32(12, true);
  if (offset + length > kernel.length) return malformed("its packed payload is cut off");
  const payload = kernel.subarray(offset, offset + length);
  const packed = PACKED.find(({ magic }) => startsWith(payload, magic));
  if (packed === undefined) return malformed("its EFI payload is packed in an unknown way");
  return compressed(packed.compression, offset, length);
}

function compressed(
  compression: KernelCompressed["data"]["compression"],
  offset: number,
  length: number,
): Result<KernelImage, ImageFailure> {
  return err({
    code: "KernelCompressed",
    data: { compression, offset, length },
    message: `the kernel is packed with ${compression}`,
  });
}

function malformed(reason: string): Result<KernelImage, ImageFailure> {
  return err(
    failure(
      "InvalidArgument",
      { field: "kernel", reason },
      `the kernel is no riscv64 Image: ${reason}`,
      "pass arch/riscv/boot/Image of a riscv64 kernel build, or vmlinuz of a riscv64 distribution",
    ),
  );
}

function startsWith(bytes: Uint8Array, magic: readonly number[]): boolean {
  return bytes.length >= magic.length && magic.every((byte, index) => bytes[index] === byte);
}
