/** A thread that runs the seeds it is given, and answers each batch with its rows. */

import { parentPort } from "node:worker_threads";
import type { Profile } from "../plan.ts";
import { timedRun } from "./run-seed.ts";

export type Batch = readonly { readonly seed: number; readonly profile: Profile }[];

parentPort?.on("message", (batch: Batch) => {
  // Between threads there is no origin to name.
  // oxlint-disable-next-line unicorn/require-post-message-target-origin
  parentPort?.postMessage(batch.map(({ seed, profile }) => timedRun(seed, profile)));
});
