/** Bounds of the devices; sizes in bytes unless named otherwise. */

import { assert } from "@blixard/std";

/** Host input held for a guest that does not read, per serial or console port. */
export const INPUT_BUFFER_BYTES = 65_536;
/** Serial output gathered before it becomes an effect, and how long it may wait (guest time). */
export const SERIAL_OUTPUT_BYTES = 256;
export const SERIAL_OUTPUT_WAIT_NS = 1_000_000n;

export const PLIC_SOURCES_MAX = 1023;
export const PLIC_PRIORITY_MAX = 7;
export const HARTS_MAX = 64;

/** Entries of a virtqueue that a driver may choose; a power of two. */
export const VIRTQUEUE_SIZE_MAX = 256;
/** Descriptors of one chain, indirect ones included. */
export const CHAIN_DESCRIPTORS_MAX = 1024;
/** Chains handled before the device lets the processor go on; the rest waits for the next tick. */
export const CHAINS_PER_RUN_MAX = 256;

/** Data bytes of one block request; longer ones fail with an I/O error. */
export const BLOCK_REQUEST_BYTES_MAX = 8_388_608;
/** Data segments of one block request, and bytes of each, as offered to the driver. */
export const BLOCK_SEGMENTS_MAX = 126;
export const BLOCK_SEGMENT_BYTES_MAX = 65_536;
export const BLOCK_QUEUE_SIZE = 128;
/** Requests, and data bytes of requests, that the shell works on at the same time. */
export const BLOCK_IN_FLIGHT_MAX = 64;
export const BLOCK_IN_FLIGHT_BYTES_MAX = 16_777_216;
export const BLOCK_SECTOR_BYTES = 512;
export const BLOCK_SERIAL_BYTES = 20;

export const CONSOLE_PORTS_MAX = 16;
export const CONSOLE_QUEUE_SIZE = 64;
export const CONSOLE_PORT_NAME_BYTES_MAX = 64;
/** Bytes of one console buffer, and of all that one run passes on. */
export const CONSOLE_CHAIN_BYTES_MAX = 262_144;
export const CONSOLE_BYTES_PER_RUN_MAX = 1_048_576;

export const RNG_QUEUE_SIZE = 16;
export const RNG_REQUEST_BYTES_MAX = 4096;
export const RNG_IN_FLIGHT_MAX = 4;

assert(BLOCK_REQUEST_BYTES_MAX <= BLOCK_IN_FLIGHT_BYTES_MAX, "the largest request must fit");
assert(
  BLOCK_SEGMENTS_MAX * BLOCK_SEGMENT_BYTES_MAX <= BLOCK_REQUEST_BYTES_MAX,
  "a driver that keeps to what it was offered never gets an error",
);
assert(BLOCK_SEGMENTS_MAX + 2 <= BLOCK_QUEUE_SIZE, "header, data and status must fit the queue");
for (const size of [BLOCK_QUEUE_SIZE, CONSOLE_QUEUE_SIZE, RNG_QUEUE_SIZE]) {
  assert(size <= VIRTQUEUE_SIZE_MAX && (size & (size - 1)) === 0, "queue sizes are powers of two");
}
assert(VIRTQUEUE_SIZE_MAX <= CHAIN_DESCRIPTORS_MAX, "a direct chain may fill its queue");
assert(CONSOLE_CHAIN_BYTES_MAX <= CONSOLE_BYTES_PER_RUN_MAX, "a chain must fit one run");
