/**
 * `npm run bench:raft [-- --json] [--rounds N] [--seconds S] [--only ROW,...] [--quick] [--profile DIR]`
 *
 * Three members of examples/kv (fdatasync on each, TLS between them, the client door on loopback in
 * plain) beside three Debian etcd servers (fdatasync on each, plain on loopback), driven by the same
 * generator in this process: 256-byte values, alternating rounds, medians. etcd takes the better of its
 * gRPC and JSON doors, each time. All rows take half an hour; --quick leaves out those that take minutes
 * each, and says so; --only ROW (a prefix will do) runs what it names, whatever it takes. --failovers N:
 * faults of each kind (default 30). --minutes N: length of the memory row (default 10).
 */

import { parseArgs } from "node:util";
import { type Door, type Etcd, etcdVersion, grpcDoor, jsonDoor, startEtcd } from "./etcd.ts";
import { etcdGroup, failover, type Group, ourGroup, spread } from "./raft/failover.ts";
import { load, median, round, type Sample, type Verb } from "./raft/load.ts";
import { oneProcessRate } from "./raft/one-process.ts";
import { ourDoor, startOurs } from "./raft/ours.ts";
import { embeddedRate, growth, memorySeries, transferGaps } from "./raft/rows.ts";

const { values } = parseArgs({
  options: {
    json: { type: "boolean", default: false },
    rounds: { type: "string", default: "3" },
    seconds: { type: "string", default: "4" },
    only: { type: "string" },
    quick: { type: "boolean", default: false },
    failovers: { type: "string", default: "30" },
    minutes: { type: "string", default: "10" },
    profile: { type: "string" },
  },
});

const CLIENTS = [1, 64, 256, 1000] as const;
const SECONDS = Number(values.seconds);
const ROUNDS = Number(values.rounds);

interface Bar {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  readonly bar: number;
  readonly better: "higher" | "lower";
  readonly ok: boolean;
}

function bar(
  name: string,
  value: number,
  better: Bar["better"],
  limit: number,
  unit = "x etcd",
): Bar {
  const isOk = better === "higher" ? value >= limit : value <= limit;
  return { name, value: round(value), unit, bar: limit, better, ok: isOk };
}

interface Case {
  readonly verb: Verb;
  readonly clients: number;
}

type Side = "ours" | "etcdGrpc" | "etcdJson";
const SIDES: readonly Side[] = ["ours", "etcdGrpc", "etcdJson"];

function wants(row: string): boolean {
  return values.only === undefined || values.only.split(",").some((part) => row.startsWith(part));
}

/** Rows that take minutes: not with --quick, unless by name. */
function wantsLong(row: string): boolean {
  return values.only === undefined ? !values.quick : wants(row);
}

const skipped: string[] = [];

function chosen(rows: readonly string[]): string[] {
  const run = rows.filter(wantsLong);
  if (values.only === undefined) skipped.push(...rows.filter((row) => !run.includes(row)));
  return run;
}

function casesWanted(): Case[] {
  const writes = CLIENTS.filter((clients) =>
    [`writes_ratio_${clients}`, `p50_ratio_${clients}`, `p99_ratio_${clients}`].some(wants),
  ).map((clients) => ({ verb: "put" as const, clients }));
  return wants("lin_reads_ratio_256") ? [...writes, { verb: "get", clients: 256 }] : writes;
}

function say(text: string): void {
  if (!values.json) console.log(text);
}

async function measure(doors: Record<Side, Door>, cases: readonly Case[]) {
  const samples = new Map<string, Sample[]>();
  for (const side of SIDES) await load(doors[side], "put", 64, 1.5);
  for (let turn = 1; turn <= ROUNDS; turn++) {
    for (const { verb, clients } of cases) {
      for (const side of SIDES) {
        const sample = await load(doors[side], verb, clients, SECONDS);
        const key = `${side} ${verb} ${clients}`;
        samples.set(key, [...(samples.get(key) ?? []), sample]);
        say(`round ${turn} ${key} ${JSON.stringify(sample)}`);
      }
    }
  }
  return samples;
}

function summary(samples: readonly Sample[]): Sample {
  const of = (field: keyof Sample): number => round(median(samples.map((sample) => sample[field])));
  return {
    perSecond: of("perSecond"),
    p50Ms: of("p50Ms"),
    p99Ms: of("p99Ms"),
    loadCpu: of("loadCpu"),
  };
}

function rowsOf(cases: readonly Case[], samples: ReadonlyMap<string, Sample[]>) {
  return cases.map(({ verb, clients }) => {
    const of = (side: Side): Sample => summary(samples.get(`${side} ${verb} ${clients}`) ?? []);
    const [ours, grpc, json] = [of("ours"), of("etcdGrpc"), of("etcdJson")];
    const [door, etcd] = grpc.perSecond >= json.perSecond ? ["gRPC", grpc] : ["JSON", json];
    return { verb, clients, ours, etcd, door };
  });
}

const WRITE_BARS: Readonly<Record<number, number>> = { 1: 2, 64: 3, 256: 3, 1000: 3 };

function barsOf(rows: ReturnType<typeof rowsOf>): Bar[] {
  const bars: Bar[] = [];
  for (const { verb, clients, ours, etcd } of rows) {
    const ratio = ours.perSecond / etcd.perSecond;
    if (verb === "get") bars.push(bar("lin_reads_ratio_256", ratio, "higher", 3));
    else {
      bars.push(bar(`writes_ratio_${clients}`, ratio, "higher", WRITE_BARS[clients] ?? 3));
      if (clients === 1) bars.push(bar("p50_ratio_1", ours.p50Ms / etcd.p50Ms, "lower", 0.6));
      else bars.push(bar(`p99_ratio_${clients}`, ours.p99Ms / etcd.p99Ms, "lower", 0.5));
    }
  }
  return bars;
}

async function compare(etcd: Etcd, cases: readonly Case[]) {
  const nodeFlags =
    values.profile === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${values.profile}`];
  const ours = await startOurs({ nodeFlags });
  try {
    const doors = {
      ours: ourDoor(ours.client(await ours.leader())),
      etcdGrpc: grpcDoor(etcd.leader),
      etcdJson: jsonDoor(etcd.leader),
    };
    const samples = await measure(doors, cases);
    for (const door of Object.values(doors)) door.close();
    return rowsOf(cases, samples);
  } finally {
    await ours.close();
  }
}

async function comparing(etcd: Etcd, cases: readonly Case[]) {
  try {
    return await compare(etcd, cases);
  } finally {
    await etcd.close();
  }
}

const FAULTS = { kill: "kill", stop: "stop", cut: "cut", default: "kill" } as const;

/** Both sides' times to the first write after each kind of fault of the leader. */
async function failoverBars(version: string): Promise<{ bars: Bar[]; details: object }> {
  const names = Object.keys(FAULTS).map((name) => failoverName(name));
  const run = chosen(names);
  const bars: Bar[] = [];
  const details: Record<string, object> = {};
  const count = Number(values.failovers);
  for (const [name, fault] of Object.entries(FAULTS)) {
    const row = failoverName(name);
    if (!run.includes(row)) continue;
    const of = async (group: Group): Promise<number[]> => {
      try {
        return await failover(group, fault, count);
      } finally {
        await group.close();
      }
    };
    const ours = spread(await of(await ourGroup(name !== "default")));
    const etcd = spread(await of(await etcdGroup(version)));
    details[row] = { ours, etcd, count };
    say(`${row} ${JSON.stringify(details[row])}`);
    bars.push(bar(row, ours.medianMs / etcd.medianMs, "lower", name === "default" ? 0.4 : 1));
  }
  return { bars, details };
}

function failoverName(name: string): string {
  return name === "default" ? "failover_default_ratio" : `failover_ratio_${name}`;
}

/** Rows without etcd. */
async function ownBars(): Promise<{ bars: Bar[]; details: object }> {
  const bars: Bar[] = [];
  const details: Record<string, unknown> = {};
  const seconds = Math.max(2, SECONDS);
  if (wants("embedded_efficiency_256")) {
    const rates: number[] = [];
    for (let turn = 0; turn < ROUNDS; turn++) {
      const cluster = await embeddedRate("cluster", seconds);
      const loop = await embeddedRate("loop", seconds);
      say(`embedded round ${turn + 1}: ${cluster}/s, protocol-less loop ${loop}/s`);
      details[`embedded_round_${turn + 1}`] = { cluster, loop };
      rates.push(cluster / loop);
    }
    bars.push(bar("embedded_efficiency_256", median(rates), "higher", 0.25, "of the loop"));
  }
  for (const [inFlight, least] of [
    [1, 30_000],
    [1024, 300_000],
  ] as const) {
    const row = `one_process_commits_${inFlight}`;
    if (wants(row)) bars.push(bar(row, await oneProcessRate(inFlight, 3), "higher", least, "/s"));
  }
  for (const row of chosen(["transfer_gap_p99_ms", "memory_growth_10min"])) {
    if (row === "transfer_gap_p99_ms") {
      const { gaps, steady } = await transferGaps(30);
      details[row] = { gaps, steady };
      const worst = gaps.toSorted((a, b) => a - b)[Math.floor(gaps.length * 0.99)] ?? Number.NaN;
      bars.push(bar(row, worst, "lower", 10, "ms"));
    } else {
      const series = await memorySeries(Number(values.minutes));
      details[row] = { minutes: Number(values.minutes), residentBytes: series };
      bars.push(bar(row, growth(series), "lower", 1.1, "x"));
    }
  }
  return { bars, details };
}

async function main(): Promise<number> {
  const started = performance.now();
  const version = etcdVersion();
  if (version === undefined) {
    console.error("etcd is not installed: apt-get install etcd-server");
    console.log(JSON.stringify({ ok: false, ran: 0, skipped: 1, seconds: 0, bars: [] }));
    return 1;
  }
  const cases = casesWanted();
  const rows = cases.length === 0 ? [] : await comparing(await startEtcd(version), cases);
  const own = await ownBars();
  const fails = await failoverBars(version);
  const bars = [...barsOf(rows), ...own.bars, ...fails.bars];
  const ok = bars.every((one) => one.ok);
  const seconds = Math.round((performance.now() - started) / 1000);
  const details = { rows, ...own.details, ...fails.details };
  const result = {
    ok,
    ran: bars.length,
    skipped: skipped.length,
    skippedRows: skipped,
    seconds,
    bars,
    etcd: version,
    peers: "ours TLS 1.3, etcd plain; clients plain, loopback",
    details,
  };
  console.log(values.json ? JSON.stringify(result) : JSON.stringify(result, null, 2));
  return ok ? 0 : 1;
}

process.exit(await main());
