/**
 * `npm run bench:control [-- --json] [--seconds N] [--rounds N]`: acknowledged writes a second of small
 * records through the API of a three-node cluster with fdatasync on each node, beside three etcd servers
 * (Debian package etcd-server) in the same run. Ours writes VM records through HTTP; etcd's figure is the
 * better of its gRPC and JSON doors with 256-byte values. All clients talk to the leader.
 */

import { parseArgs } from "node:util";
import { LocalCluster } from "../e2e/cluster.ts";
import { type Door, etcdVersion, grpcDoor, jsonDoor, startEtcd } from "./etcd.ts";
import { HttpPoster } from "./http-load.ts";

const { values } = parseArgs({
  options: {
    json: { type: "boolean", default: false },
    seconds: { type: "string", default: "4" },
    rounds: { type: "string", default: "3" },
  },
});
const SECONDS = Number(values.seconds);
const ROUNDS = Number(values.rounds);
const CLIENTS = [1, 64, 256];
const WRITES_MAX = 200_000;
const VALUE_BYTES = 256;

interface Sample {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Share of one core that this process, the load generator, used. */
  readonly loadCpu: number;
}

let serial = 0;

/** `clients` loops that each write one record after the other, for a bounded time and count. */
async function load(door: Door, clients: number, seconds: number): Promise<Sample> {
  const value = "v".repeat(VALUE_BYTES);
  const latencies: number[] = [];
  const cpu = process.cpuUsage();
  const started = performance.now();
  const end = started + seconds * 1000;
  await Promise.all(
    Array.from({ length: clients }, async () => {
      while (performance.now() < end && latencies.length < WRITES_MAX) {
        const begun = performance.now();
        await door.put(`bench-${(serial++).toString(36).padStart(8, "0")}`, value);
        latencies.push(performance.now() - begun);
      }
    }),
  );
  const elapsedMs = performance.now() - started;
  const { user, system } = process.cpuUsage(cpu);
  latencies.sort((a, b) => a - b);
  const at = (share: number): number => latencies[Math.floor(latencies.length * share)] ?? 0;
  return {
    perSecond: Math.round((latencies.length / elapsedMs) * 1000),
    p50Ms: round(at(0.5)),
    p99Ms: round(at(0.99)),
    loadCpu: round((user + system) / 1000 / elapsedMs),
  };
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}

/** VM records of about the same size as etcd's values. */
function blixardDoor(endpoint: string, token: string): Door {
  const poster = new HttpPoster(endpoint, { authorization: `Bearer ${token}` });
  return {
    put: (key, value) =>
      poster.post(
        "/v1/vms",
        JSON.stringify({
          spec: {
            name: key,
            image: "base",
            memoryBytes: 67_108_864,
            labels: { pad: value.slice(0, 120) },
          },
          desired: "stopped",
        }),
      ),
    close: () => poster.close(),
  };
}

type Side = "blixard" | "etcdGrpc" | "etcdJson";

async function measure(doors: Record<Side, Door>): Promise<Record<Side, Map<number, Sample[]>>> {
  const samples = { blixard: new Map(), etcdGrpc: new Map(), etcdJson: new Map() } as Record<
    Side,
    Map<number, Sample[]>
  >; // the three sides, each empty
  const sides: Side[] = ["blixard", "etcdGrpc", "etcdJson"];
  for (const side of sides) await load(doors[side], 32, 1);
  for (let roundNumber = 0; roundNumber < ROUNDS; roundNumber++) {
    for (const clients of CLIENTS) {
      for (const side of sides) {
        const sample = await load(doors[side], clients, SECONDS);
        samples[side].set(clients, [...(samples[side].get(clients) ?? []), sample]);
        if (!values.json)
          console.log(`round ${roundNumber + 1} ${clients} clients ${side}`, sample);
      }
    }
  }
  return samples;
}

function median(samples: readonly Sample[]): Sample {
  const sorted = [...samples].sort((a, b) => a.perSecond - b.perSecond);
  const middle = sorted[Math.floor(sorted.length / 2)];
  if (middle === undefined) throw new Error("no samples");
  return middle;
}

async function main(): Promise<number> {
  const started = performance.now();
  const version = etcdVersion();
  if (version === undefined) {
    console.error("etcd is not installed: apt-get install etcd-server");
    console.log(
      JSON.stringify({ ok: false, ran: 0, skipped: CLIENTS.length, seconds: 0, bars: [] }),
    );
    return 1;
  }
  const cluster = new LocalCluster({ nodes: 3, drivers: ["fake"] });
  const etcd = await startEtcd(version);
  try {
    await cluster.form();
    const [first] = cluster.nodes;
    const status = await first?.client.status();
    const leader = cluster.nodes.find((node) => node.name === status?.leader?.name);
    if (leader === undefined) throw new Error("no leader");
    const doors = {
      blixard: blixardDoor(leader.endpoint.replace("http://", ""), leader.token),
      etcdGrpc: grpcDoor(etcd.leader),
      etcdJson: jsonDoor(etcd.leader),
    };
    const samples = await measure(doors);
    for (const door of Object.values(doors)) door.close();
    const rows = CLIENTS.map((clients) => {
      const of = (side: Side): Sample => median(samples[side].get(clients) ?? []);
      const [blixard, etcdGrpc, etcdJson] = [of("blixard"), of("etcdGrpc"), of("etcdJson")];
      const better = Math.max(etcdGrpc.perSecond, etcdJson.perSecond);
      return { clients, ratio: round(blixard.perSecond / better), blixard, etcdGrpc, etcdJson };
    });
    const bars = rows.map(({ clients, ratio }) => ({
      name: `api_writes_ratio_${clients}`,
      value: ratio,
      unit: "x etcd",
      // No bar is set yet: the ratio is reported, whatever it is today.
      bar: 0,
      better: "higher",
      ok: ratio > 0,
    }));
    const ok = bars.every((bar) => bar.ok);
    const seconds = Math.round((performance.now() - started) / 1000);
    const result = { ok, ran: rows.length, skipped: 0, seconds, bars, etcd: version, rows };
    console.log(values.json ? JSON.stringify(result) : JSON.stringify(result, null, 2));
    return ok ? 0 : 1;
  } finally {
    await etcd.close();
    await cluster.destroy();
  }
}

process.exit(await main());
