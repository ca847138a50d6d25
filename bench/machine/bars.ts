/** The claims that the benchmark holds the machine to. */

import { geomean, rounded } from "./stats.ts";

export const BARS = [
  { name: "hot_int_geomean", unit: "x QEMU's speed", bar: 1.2, better: "higher" },
  { name: "hot_fp_geomean", unit: "x QEMU's speed", bar: 4, better: "higher" },
  { name: "cold_geomean", unit: "x QEMU's speed", bar: 0.5, better: "higher" },
  { name: "boot_own_cold_ratio", unit: "x QEMU's time", bar: 2, better: "lower" },
  { name: "boot_own_warm_ratio", unit: "x QEMU's time", bar: 1.2, better: "lower" },
  { name: "boot_debian_ratio", unit: "x QEMU's time", bar: 1.6, better: "lower" },
  { name: "idle_cpu_percent", unit: "% of a CPU per VM", bar: 1, better: "lower" },
  { name: "idle_private_mb", unit: "MB per VM beyond guest RAM", bar: 45, better: "lower" },
] as const;
export type BarName = (typeof BARS)[number]["name"];

export interface Bar {
  readonly name: BarName;
  /** Null: not measured, and `reason` says why. */
  readonly value: number | null;
  readonly unit: string;
  readonly bar: number;
  readonly better: "higher" | "lower";
  readonly ok: boolean;
  readonly reason?: string;
}

/** A reason beside a value says what is to be known of it. */
export type Measured =
  | { readonly value: number; readonly reason?: string }
  | { readonly value?: never; readonly reason: string };

export function judge(name: BarName, measured: Measured): Bar {
  const row = BARS.find((bar) => bar.name === name);
  if (row === undefined) throw new TypeError(`no bar ${name}`);
  const reason = measured.reason === undefined ? {} : { reason: measured.reason };
  if (measured.value === undefined) return { ...row, value: null, ok: false, ...reason };
  const value = rounded(measured.value);
  const ok = row.better === "higher" ? value >= row.bar : value <= row.bar;
  return { ...row, value, ok, ...reason };
}

/** The mean of what all its members have; a reason if one of them has none. */
export function meanOf(
  members: readonly { readonly name: string; readonly ratio: number | null }[],
): Measured {
  const lacking = members.filter(({ ratio }) => ratio === null).map(({ name }) => name);
  if (lacking.length > 0) return { reason: `not measured: ${lacking.join(", ")}` };
  return { value: geomean(members.map(({ ratio }) => ratio ?? 0)) };
}
