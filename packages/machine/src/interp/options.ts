/** What an interpreter is made from, and what it counts. */

import type { SbiPorts } from "../isa/riscv64/sbi.ts";
import type { LEFT_BY } from "../jit/emit/context.ts";
import type { JitParts, JitStats } from "../jit/jit.ts";
import type { Bus } from "../types.ts";

export interface InterpreterOptions {
  readonly ramBase: number;
  readonly ramBytes: number;
  readonly bus?: Bus;
  readonly sbi: SbiPorts;
  /** Value of the `time` counter after so many ticks. */
  time(ticks: number): bigint;
  /** The first tick at which `time` is at least so much; infinite when ticks do not decide it. */
  tickOf(time: bigint): number;
  /** Use the processor's multiply-add; absent: if wasm/probe.ts finds that it rounds once. */
  readonly fused?: boolean;
  /** Compile hot code; without it everything is interpreted. */
  readonly jit?: Pick<JitParts, "limits" | "onRegion" | "kept" | "nowMs">;
}

export interface InterpreterStats {
  readonly ticks: number;
  readonly exceptions: number;
  readonly interrupts: number;
  readonly slowAccesses: number;
  readonly helperCalls: number;
  readonly floatCalls: number;
  readonly fetchMisses: number;
  readonly codePages: number;
  readonly predecoded: number;
  readonly tlbEntries: number;
  readonly jit: JitStats | undefined;
  /** How often execution came back from regions, by reason. */
  readonly leftBy: Readonly<Record<keyof typeof LEFT_BY, number>>;
  /** Accesses that no entry answered, and that made one. Hits are not counted: that would cost them time. */
  readonly tlbMisses: number;
  readonly tlbFlushes: number;
}
