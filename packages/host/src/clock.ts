/** The machine's clocks as the Clock port, and its randomness as the Random port. */

import { randomBytes } from "node:crypto";
import { uptime } from "node:os";
import type { Clock, Random } from "@blixard/std";

export const hostClock: Clock = {
  // CLOCK_MONOTONIC: comparable between processes of one host.
  monotonicMs: () => Number(process.hrtime.bigint() / 1000n) / 1000,
  // libuv answers with CLOCK_BOOTTIME, which counts suspended time.
  bootMs: () => uptime() * 1000,
  wallMs: () => Date.now(),
};

export const hostRandom: Random = {
  u32: () => randomBytes(4).readUInt32LE(0),
};
