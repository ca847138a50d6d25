/** Kernels of a few instructions, for tests that need a guest and no Linux. */

const addi = (to: number, from: number, value: number): number =>
  ((value & 0xfff) << 20) | (from << 15) | (to << 7) | 0x13;
const lui = (to: number, value: number): number => (value << 12) | (to << 7) | 0x37;
const JUMP_TO_ITSELF = 0x0000006f;

/** An `Image` (Documentation/arch/riscv/boot-image-header.rst) that begins with `program`. */
function image(program: readonly number[]): Uint8Array {
  const jumpOverHeader = 0x0400006f;
  const bytes = new Uint8Array(64 + program.length * 4);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, jumpOverHeader, true);
  view.setBigUint64(16, BigInt(bytes.length), true);
  bytes.set(new TextEncoder().encode("RISCV"), 48);
  view.setUint32(56, 0x05435352, true);
  program.forEach((word, at) => view.setUint32(64 + at * 4, word, true));
  return bytes;
}

/** Prints a page through the SBI's debug console, for ever. */
export function chatterbox(): Uint8Array {
  const [zero, t0, a0, a1, a2, a6, a7] = [0, 5, 10, 11, 12, 16, 17];
  const [ecall, shiftT0, jumpBack] = [0x73, 0x01f29293, 0xff5ff06f];
  const call = [lui(a7, 0x44424), addi(a7, a7, 0x34e), addi(a6, zero, 0), addi(a2, zero, 0)];
  const page = [addi(t0, zero, 1), shiftT0];
  return image([...call, ...page, addi(a1, t0, 0), lui(a0, 1), ecall, jumpBack]);
}

/** Does nothing, as fast as it can. */
export function spinner(): Uint8Array {
  return image([JUMP_TO_ITSELF]);
}
