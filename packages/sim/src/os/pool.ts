/** Runs seeds on all cores: each worker is given a batch, and the next when it has answered. */

import { Worker } from "node:worker_threads";
import type { Row } from "../tally.ts";
import { timedRun } from "./run-seed.ts";
import type { Batch } from "./worker.ts";

const BATCH_RUNS = 8;

export interface PoolOptions {
  readonly workers: number;
  /** The next run, or undefined when there is none left, or no time. */
  readonly next: () => Batch[number] | undefined;
  readonly onRow: (row: Row) => void;
}

function takeBatch(next: PoolOptions["next"]): Batch {
  const batch: Batch[number][] = [];
  while (batch.length < BATCH_RUNS) {
    const run = next();
    if (run === undefined) break;
    batch.push(run);
  }
  return batch;
}

/** Ends when nothing is left; rejects when a thread dies. With one worker: in this thread. */
export async function runAll({ workers, next, onRow }: PoolOptions): Promise<void> {
  if (workers <= 1) {
    for (let run = next(); run !== undefined; run = next()) onRow(timedRun(run.seed, run.profile));
    return;
  }
  const file = import.meta.url.endsWith(".ts") ? "worker.ts" : "worker.js";
  const work = Array.from({ length: workers }, async () => {
    const worker = new Worker(new URL(file, import.meta.url));
    await new Promise<void>((resolve, reject) => {
      const give = (): void => {
        const batch = takeBatch(next);
        if (batch.length === 0) resolve();
        // Between threads there is no origin to name.
        // oxlint-disable-next-line unicorn/require-post-message-target-origin
        else worker.postMessage(batch);
      };
      worker.on("error", reject);
      worker.on("message", (rows: readonly Row[]) => {
        for (const row of rows) onRow(row);
        give();
      });
      give();
    });
    await worker.terminate();
  });
  await Promise.all(work);
}
