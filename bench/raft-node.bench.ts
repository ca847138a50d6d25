/**
 * node --conditions=source bench/raft-node.bench.ts [--seconds S]
 *
 * The durable log on the disk of this machine: entries/s in batches of 256 x 256 B, batches of one, what
 * the mirrored watermark costs beside one fdatasync and beside two in a row, and a single RaftNode with
 * 1, 64 and 256 proposals in flight. Prints one JSON object; compare ratios from one run only.
 */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { createOsDisk, RaftNode } from "@blixard/raft-node";
import type { OsDisk, StateMachine } from "@blixard/raft-node";
import { as, assert, ok, Prng } from "@blixard/std";
import type { DiskCompletion, DiskOp, LogIndex, PeerId, Term } from "@blixard/std";

import { DiskIo } from "../packages/raft-node/src/io.ts";
import { Log } from "../packages/raft-node/src/log/log.ts";
import { recoverLog } from "../packages/raft-node/src/log/recovery.ts";
import type { RecoveredLog } from "../packages/raft-node/src/log/recovery.ts";

const { values } = parseArgs({ options: { seconds: { type: "string" } } });
const MEASURE_MS = Number(values.seconds ?? 3) * 1000;
const SEGMENT_BYTES = 64 * 1024 * 1024;
const ENTRY_BYTES = 256;

async function inFolder<T>(use: (dir: string) => Promise<T>): Promise<T> {
  const dir = mkdtempSync(join(tmpdir(), "blixard-bench-"));
  try {
    return await use(dir);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** Repeats until the time is up; operations per second. */
async function rate(operation: () => Promise<void>): Promise<number> {
  for (let i = 0; i < 50; i++) await operation();
  const start = performance.now();
  let count = 0;
  while (performance.now() - start < MEASURE_MS) {
    await operation();
    count++;
  }
  return (count / (performance.now() - start)) * 1000;
}

async function openLog(dir: string): Promise<{ disk: OsDisk; log: Log }> {
  const disk = await createOsDisk(dir, (completion) => io.complete(completion));
  const io: DiskIo = new DiskIo(disk);
  const recovered = await new Promise<RecoveredLog>((resolve, reject) => {
    io.run(recoverLog("", SEGMENT_BYTES), (result) => {
      if (result.ok) resolve(result.value);
      else reject(new Error(result.error.message));
    });
  });
  const onFatal = (error: { message: string }): void => {
    throw new Error(error.message);
  };
  return {
    disk,
    log: new Log({ io, dir: "", segmentBytes: SEGMENT_BYTES, onFatal }, recovered),
  };
}

async function logRate(entriesPerBatch: number): Promise<number> {
  return await inFolder(async (dir) => {
    const { disk, log } = await openLog(dir);
    let index = 1;
    const data = new Uint8Array(ENTRY_BYTES).fill(7);
    const batches = await rate(async () => {
      const entries = Array.from({ length: entriesPerBatch }, () => ({
        term: as<Term>(1),
        index: as<LogIndex>(index++),
        kind: "command" as const,
        data,
      }));
      await new Promise<void>((resolve) => log.append({ entries }, resolve));
      log.release(index - 1);
    });
    await disk.close();
    return batches * entriesPerBatch;
  });
}

/** Milliseconds of one acknowledged batch when it takes one sync, two at a time, two in a row. */
async function syncCost(bytes: number): Promise<{ one: number; mirrored: number; inRow: number }> {
  return await inFolder(async (dir) => {
    const waiting = new Map<number, () => void>();
    const disk = await createOsDisk(dir, ({ token, result }: DiskCompletion) => {
      assert(result.ok, "the disk works");
      waiting.get(token)?.();
      waiting.delete(token);
    });
    const run = async (...ops: DiskOp[]): Promise<void> => {
      const waits = ops.map(
        async (op) =>
          await new Promise<void>((resolve) => void waiting.set(disk.submit(op), resolve)),
      );
      await Promise.all(waits);
    };
    await run({ kind: "create", path: "a", sizeBytes: SEGMENT_BYTES }, { kind: "sync", path: "a" });
    await run({ kind: "create", path: "b", sizeBytes: 1 << 20 }, { kind: "sync", path: "b" });
    const data = new Uint8Array(bytes).fill(3);
    let offset = 0;
    const segment = (): DiskOp[] => {
      offset = offset + 2 * bytes > SEGMENT_BYTES ? 0 : offset + bytes;
      return [
        { kind: "write", path: "a", offset, data },
        { kind: "sync", path: "a" },
      ];
    };
    const slot = (size: number): DiskOp[] => [
      { kind: "write", path: "b", offset: 0, data: data.subarray(0, size) },
      { kind: "sync", path: "b" },
    ];
    const one = 1000 / (await rate(async () => await run(...segment())));
    const mirrored = 1000 / (await rate(async () => await run(...segment(), ...slot(bytes))));
    const inRow =
      1000 /
      (await rate(async () => {
        await run(...segment());
        await run(...slot(64));
      }));
    await disk.close();
    return { one, mirrored, inRow };
  });
}

const COUNTER: StateMachine<number> = {
  apply: (entry) => entry.index,
  snapshot: () => [new Uint8Array(1)].values(),
  restore: () => ok(undefined),
};

async function nodeRate(inFlight: number): Promise<number> {
  return await inFolder(async (dir) => {
    const now = (): number => performance.now();
    const disk = await createOsDisk(dir, (completion) => node.input({ kind: "disk", completion }));
    const node: RaftNode<number> = new RaftNode<number>(
      {
        id: as<PeerId>(1),
        dir: "raft",
        tickMs: 100,
        electionTicks: 10,
        heartbeatTicks: 2,
        segmentBytes: SEGMENT_BYTES,
        snapshotEveryBytes: 64 * 1024 * 1024,
        snapshotEveryEntries: 1_000_000,
        maxProposalBytes: 4096,
        maxPendingProposals: 4096,
      },
      {
        disk,
        network: { send: () => false },
        clock: { monotonicMs: now, bootMs: now, wallMs: now },
        random: new Prng(1),
        machine: COUNTER,
        onEvent: (event) => assert(event.kind !== "fatal", "the node runs"),
      },
    );
    node.start({ members: [{ peer: as<PeerId>(1), context: new Uint8Array(0) }] });
    const timer = setInterval(() => node.input({ kind: "tick" }), 100);
    const data = new Uint8Array(ENTRY_BYTES).fill(5);
    const done = await new Promise<number>((resolve) => {
      let count = 0;
      const start = now();
      const again = (): void => {
        node.propose(data, now() + 60_000, (result) => {
          if (result.ok) count++;
          const elapsedMs = now() - start;
          if (elapsedMs < MEASURE_MS) again();
          else resolve((count / elapsedMs) * 1000);
        });
      };
      const wait = setInterval(() => {
        if (node.status().role !== "leader") return;
        clearInterval(wait);
        for (let i = 0; i < inFlight; i++) again();
      }, 1);
    });
    await new Promise<void>((resolve) => node.stop(resolve));
    clearInterval(timer);
    await disk.close();
    return done;
  });
}

const small = await syncCost(512);
const large = await syncCost(69_000);
const report = {
  log_entries_per_s_256x256B: Math.round(await logRate(256)),
  log_entries_per_s_1x256B: Math.round(await logRate(1)),
  node_proposals_per_s_1: Math.round(await nodeRate(1)),
  node_proposals_per_s_64: Math.round(await nodeRate(64)),
  node_proposals_per_s_256: Math.round(await nodeRate(256)),
  sync_ms: { small, large },
  mirror_over_one_sync: small.mirrored / small.one,
  two_in_a_row_over_one_sync: small.inRow / small.one,
};
console.log(JSON.stringify(report, undefined, 2));
