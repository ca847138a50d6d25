/** A machine's statistics as JSON, on their way from its process to the daemon. */

import type { Counters, VmExecution, VmMachineStats } from "@blixard/std";
import { asNumber, asObject, onlyFields, optional, ShapeError } from "./json.ts";
import { LIMITS } from "./limits.ts";

const NAME = /^[a-zA-Z][a-zA-Z0-9]{0,47}$/;

function asAmount(value: unknown, what: string): number {
  const amount = asNumber(value, what);
  if (amount < 0) throw new ShapeError(`${what} is negative`);
  return amount;
}

function readNamed<T>(
  value: unknown,
  what: string,
  read: (value: unknown, what: string) => T,
): Record<string, T> {
  const entries = Object.entries(asObject(value, what));
  if (entries.length > LIMITS.statsNames) throw new ShapeError(`${what} has too many names`);
  const out: Record<string, T> = {};
  for (const [name, one] of entries) {
    if (!NAME.test(name)) throw new ShapeError(`${what} has a name that is none`);
    out[name] = read(one, `${what}.${name}`);
  }
  return out;
}

const readCounters = (value: unknown, what: string): Counters => readNamed(value, what, asAmount);

function readExecution(value: unknown, what: string): VmExecution {
  const fields = asObject(value, what);
  onlyFields(fields, ["instructions", "mips", "time"], what);
  const mips = asObject(fields["mips"], `${what}.mips`);
  const time = asObject(fields["time"], `${what}.time`);
  const inMips = (name: string): number => asAmount(mips[name], `${what}.mips.${name}`);
  const inTime = (name: string): number => asAmount(time[name], `${what}.time.${name}`);
  return {
    instructions: asAmount(fields["instructions"], `${what}.instructions`),
    mips: {
      lastSecond: inMips("lastSecond"),
      average: inMips("average"),
      busy: inMips("busy"),
    },
    time: {
      totalMs: inTime("totalMs"),
      busyMs: inTime("busyMs"),
      idleMs: inTime("idleMs"),
      heldMs: inTime("heldMs"),
      throttledMs: inTime("throttledMs"),
    },
  };
}

/** Throws ShapeError. */
export function readMachineStats(value: unknown, what: string): VmMachineStats {
  const fields = asObject(value, what);
  onlyFields(fields, ["execution", "counters"], what);
  const execution = optional(fields["execution"], `${what}.execution`, readExecution);
  return {
    ...(execution === undefined ? {} : { execution }),
    counters: readNamed(fields["counters"], `${what}.counters`, readCounters),
  };
}
