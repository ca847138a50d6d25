/** Three members in one process over memory: what the code itself costs, without disk, wire and TLS. */

import {
  createMemoryHub,
  raftCluster,
  type ClusterPorts,
  SNAPSHOT_CHUNK_BYTES,
  systemPorts,
} from "@blixard/raft-node";
import { as, type IoToken, ok, type PeerId } from "@blixard/std";
import { Store } from "../../examples/kv/store.ts";
import { VALUE } from "./load.ts";

/** Takes everything at once and keeps nothing: no crash follows. Reads are of an empty folder. */
function nullPorts(): ClusterPorts {
  const files = new Map<string, Map<number, Uint8Array>>();
  return {
    ...systemPorts,
    openDisk: (_dir, onCompletion) => {
      let next = 1;
      let queue: Parameters<typeof onCompletion>[0][] = [];
      const flush = (): void => {
        const due = queue;
        queue = [];
        for (const completion of due) onCompletion(completion);
      };
      return Promise.resolve({
        submit: (op) => {
          const token = as<IoToken>(next++);
          if (queue.length === 0) queueMicrotask(flush);
          queue.push({ token, result: answer(op, files) });
          return token;
        },
        close: () => Promise.resolve(),
      });
    },
  };
}

type Op = Parameters<Awaited<ReturnType<ClusterPorts["openDisk"]>>["submit"]>[0];

function answer(op: Op, files: Map<string, Map<number, Uint8Array>>) {
  if (op.kind === "list") return ok({ kind: "names" as const, names: [...files.keys()].sort() });
  if (op.kind === "size") {
    let sizeBytes = 0;
    for (const [at, bytes] of files.get(op.path) ?? []) {
      sizeBytes = Math.max(sizeBytes, at + bytes.length);
    }
    return ok({ kind: "size" as const, sizeBytes });
  }
  if (op.kind === "read") return ok({ kind: "bytes" as const, bytes: readBack(op, files) });
  if (op.kind === "create") {
    const last: [number, Uint8Array][] =
      op.sizeBytes > 0 ? [[op.sizeBytes - 1, new Uint8Array(1)]] : [];
    files.set(op.path, new Map(last));
  }
  // The founding snapshot alone is ever read back; log segments are only written.
  if (op.kind === "write" && !op.path.startsWith("seg-")) {
    files.get(op.path)?.set(op.offset, op.data.slice(0, SNAPSHOT_CHUNK_BYTES));
  }
  if (op.kind === "rename") {
    files.set(op.to, files.get(op.from) ?? new Map());
    files.delete(op.from);
  }
  if (op.kind === "remove") files.delete(op.path);
  return ok({ kind: "done" as const });
}

function readBack(
  op: Extract<Op, { kind: "read" }>,
  files: Map<string, Map<number, Uint8Array>>,
): Uint8Array {
  const parts = [...(files.get(op.path) ?? [])];
  const end = Math.max(0, ...parts.map(([at, bytes]) => at + bytes.length));
  const whole = new Uint8Array(end);
  for (const [at, bytes] of parts) whole.set(bytes, at);
  return whole.subarray(op.offset, op.offset + op.length);
}

/** Commits a second with so many proposals in flight on the leader. */
export async function oneProcessRate(inFlight: number, seconds: number): Promise<number> {
  const hub = createMemoryHub();
  const clusters = await Promise.all(
    [1, 2, 3].map((id) =>
      raftCluster(new Store())
        .id(id)
        .dir("memory")
        .ports(nullPorts())
        .transport(hub.connect(as<PeerId>(id)))
        .founders([1, 2, 3])
        .start(),
    ),
  );
  while (!clusters.some((cluster) => cluster.raftStatus().role === "leader")) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const leader = clusters.find((cluster) => cluster.raftStatus().role === "leader");
  const value = Buffer.from(VALUE);
  let count = 0;
  const start = performance.now();
  const end = start + seconds * 1000;
  await Promise.all(
    Array.from({ length: inFlight }, async (_, i) => {
      while (performance.now() < end) {
        const done = await leader?.propose({ op: "put", key: `bench-${i}`, value });
        if (done?.ok === true) count++;
        // So that ticks and timers run between commits that never leave this turn.
        if (count % 4096 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
    }),
  );
  const rate = (count / (performance.now() - start)) * 1000;
  await Promise.all(clusters.map((cluster) => cluster.shutdown()));
  return Math.round(rate);
}
