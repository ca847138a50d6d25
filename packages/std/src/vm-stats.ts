/** What is measured of one running VM, as every layer between its driver and the terminal sees it. */

import type { Epoch, VmId } from "./ids.ts";

/** Names to what was counted since the VM's start; each name says its unit. */
export type Counters = Readonly<Record<string, number>>;

/** Of the process that runs the guest, as the host counts it. */
export interface VmProcessUsage {
  readonly pid: number;
  /** Of all its threads, in user and kernel mode. */
  readonly cpuSeconds: number;
  readonly residentBytes: number;
  /** The part of it that no other process shares and no file backs. */
  readonly privateBytes: number;
}

/** Of a machine that counts its guest's instructions. */
export interface VmExecution {
  /** Begun since power-on. */
  readonly instructions: number;
  /** Millions of instructions in a second: over the last one, since power-on, and while busy. */
  readonly mips: { readonly lastSecond: number; readonly average: number; readonly busy: number };
  /** Since power-on, and what became of it: `held` for output that nobody reads, `throttled` by a limit. */
  readonly time: {
    readonly totalMs: number;
    readonly busyMs: number;
    readonly idleMs: number;
    readonly heldMs: number;
    readonly throttledMs: number;
  };
}

/** What the machine itself says. Groups are open: "exits", "tlb", "memory", "code", one for each device. */
export interface VmMachineStats {
  readonly execution?: VmExecution;
  readonly counters: Readonly<Record<string, Counters>>;
}

export interface VmStats extends VmMachineStats {
  readonly vmId: VmId;
  readonly epoch: Epoch;
  readonly driver: string;
  /** Absent where the host does not tell. */
  readonly process?: VmProcessUsage;
  /** What the guest's console has said, over all of its starts. */
  readonly consoleBytes: number;
}
