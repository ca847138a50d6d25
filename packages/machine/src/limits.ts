/** Numbers that the parts of the machine agree on, and what must hold between them. */

import { assert } from "@blixard/std";

export const PAGE_BYTES = 4096;
export const RAM_BASE = 0x8000_0000;
export const RAM_BYTES_MIN = 1024 * 1024;
/** Host addresses stay below 2^31 (the software TLB needs bit 31), and RAM shares them with the tables. */
export const RAM_BYTES_MAX = 1792 * 1024 * 1024;

/** Frequency of the `time` counter, told to the guest by the device tree. */
export const TIMEBASE_HZ = 10_000_000;
/** In virtual time one tick of `time` passes every so many instructions: 250 million a second. */
export const INSTRUCTIONS_PER_TIME_TICK = 25;
export const NS_PER_TIME_TICK = 1_000_000_000 / TIMEBASE_HZ;

/** Regions mapped by large pages that are remembered as cached; beyond, everything cached is forgotten. */
export const SUPERPAGE_REGIONS_MAX = 4096;
/** Entries of the software TLB that are filled at once, over all its tables. */
export const TLB_ENTRIES_MAX = 65_536;

/** Most instructions in one call of the compiled interpreter, so that V8 can replace it while it is hot. */
export const SLICE_INSTRUCTIONS_MAX = 4_000_000;
/** In free-running time the clock is looked at after every slice: about a millisecond. */
export const SLICE_INSTRUCTIONS_FREE = 250_000;

assert(RAM_BYTES_MAX % PAGE_BYTES === 0, "RAM is whole pages");
assert(Number.isInteger(NS_PER_TIME_TICK), "time ticks are whole nanoseconds");
assert(SLICE_INSTRUCTIONS_MAX < 2 ** 31, "a slice fits an i32");
assert(SLICE_INSTRUCTIONS_FREE <= SLICE_INSTRUCTIONS_MAX, "every slice is bounded");
