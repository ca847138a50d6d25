/** What a profile runs on its machines and asks of them; the world around is the same for all. */

import type { App, Machine } from "./machine.ts";
import type { HistoryOperation, OperationItem } from "./plan.ts";

export interface Workload {
  /** Performs one operation of the plan; it may never be answered. */
  invoke(item: OperationItem): void;
  /** What goes wrong by the workload's own doing does not from now on. */
  heal(): void;
  /**
   * After healing: undefined once the machines of the core agree and everything that was
   * acknowledged is there, else what is still missing.
   */
  unsettled(core: readonly number[]): string | undefined;
  /** Asks the settled core for what it holds now; the answers become part of the history. */
  readBack(core: readonly number[]): void;
  /** How many reads that were. */
  readsBack(): number;
  history(): readonly HistoryOperation[];
  reached(): Readonly<Record<string, number>>;
}

export type Start<R> = (machine: Machine<R>) => App<R>;
