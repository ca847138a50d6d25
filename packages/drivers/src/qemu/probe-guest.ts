/** The bytes of probe-guest.S, as a ROM for QEMU's -bios. */

import { fromHex, present } from "@blixard/std";

/** What the guest writes to isa-debug-exit; QEMU exits with (value << 1) | 1. */
const PROBE_VALUE = 0x15;
export const PROBE_EXIT_CODE = (PROBE_VALUE << 1) | 1;
/** `-device isa-debug-exit` with the port that the guest writes to. */
export const PROBE_EXIT_DEVICE = "isa-debug-exit,iobase=0xf4,iosize=1";

const ROM_BYTES = 65_536;
const RESET_VECTOR = 0xfff0;

const CODE = [
  "fa2e660f011668010f20c00c010f22c066ea18000f00080066b810008ed88ec08ed031c0bf00100000b90014",
  "0000fcf3abc705f000e0feff010000c7055003e0fe00070000c7050010000003200000c70500200000033000",
  "00c7050030000083000000bea5000f00bf00800000b99c000000f3a40f20e083c8200f22e0b8001000000f22",
  "d8b9800000c00f320d000100000f300f20c00d000000800f22c0ea00800000180066b810008ed048c7c40070",
  "0000b88a800000668904250052000066c7042502520000180066c7042504520000008e66c704250652000000",
  "000f011c2592800000b011e620b020e621b004e621b001e621b0fee621b034e643b0a9e640b004e64031dbfb",
  "f483fb0372fafab9a0860100890c8d00900000390c8d009000007508ffc975ecb015e6f4f4ebfdffc3b020e6",
  "2048cfff0f00500000000000000f1f80000000000000000000000000ffff0000009bcf00ffff00000093cf00",
  "ffff0000009baf001f0048010f00",
];

/** 64 KiB: the code at its start, at the reset vector a far jump to F000:0000. */
export function probeRom(): Uint8Array {
  const rom = new Uint8Array(ROM_BYTES);
  rom.set(present(fromHex(CODE.join("")), "the probe guest's code"));
  rom.set([0xea, 0x00, 0x00, 0x00, 0xf0], RESET_VECTOR);
  return rom;
}
