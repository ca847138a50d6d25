/** A member that, while it leads, proposes by itself with 256 in flight, and writes down its rate. */

import { renameSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { runMember } from "../../examples/kv/member.ts";
import { VALUE } from "./load.ts";

const IN_FLIGHT = 256;
const [, file = "", id = ""] = process.argv.slice(2);
const SECONDS = Number(process.env["BLIXARD_BENCH_SECONDS"]);
const WARM_UP_SECONDS = 1.5;
const { cluster } = await runMember(file, Number(id));
const value = Buffer.from(VALUE);

async function measure(seconds: number): Promise<number> {
  let count = 0;
  const start = performance.now();
  const end = start + seconds * 1000;
  await Promise.all(
    Array.from({ length: IN_FLIGHT }, async (_, i) => {
      while (performance.now() < end) {
        const done = await cluster.propose({ op: "put", key: `bench-${i}`, value });
        if (done.ok) count++;
      }
    }),
  );
  return (count / (performance.now() - start)) * 1000;
}

let isRunning = false;
setInterval(() => {
  if (isRunning || cluster.raftStatus().role !== "leader") return;
  isRunning = true;
  void measure(WARM_UP_SECONDS).then(async () => {
    const rate = await measure(SECONDS);
    const path = join(dirname(file), "result.json");
    writeFileSync(`${path}.tmp`, String(Math.round(rate)));
    renameSync(`${path}.tmp`, path);
  });
}, 200);
