/**
 * `npm run e2e`: kill -9 and pauses of real node processes while VMs run and records are written.
 *   --kills N      faults to inject (default 100)
 *   --seed N       which faults, when and where (default: the clock)
 *   --driver NAME  embedded (default: as of the product), qemu or fake
 *   --mutant NAME  run the daemons with a planted bug: the checkers must then fail; at most N faults
 *   --json         one object; with the gaps between the guests' ticks, intended every 20 ms, that is
 *                  how finely the check sees
 * Exit code 0: every acknowledged write is on all nodes, what clients saw of records is linearizable, and
 * no VM ever ran twice.
 */

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { DETECTABLE_DRIVERS } from "@blixard/drivers";
import { Prng } from "@blixard/std";
import { buildImage, imagesDir } from "../guest/image/build.ts";
import { compileAgent } from "../guest/image/compile.ts";
import { LocalCluster, processesOf, signal, until, type LocalNode } from "./cluster.ts";
import {
  Evidence,
  type Interval,
  type Overlap,
  overlaps,
  type Pause,
  tickCommand,
  tickRate,
} from "./evidence.ts";
import { Ledger } from "./ledger.ts";

const { values } = parseArgs({
  options: {
    kills: { type: "string", default: "100" },
    seed: { type: "string" },
    driver: { type: "string", default: DETECTABLE_DRIVERS[0] },
    mutant: { type: "string" },
    json: { type: "boolean", default: false },
    keep: { type: "boolean", default: false },
  },
});
const KILLS = Number(values.kills);
const SEED =
  values.seed === undefined ? Math.floor(performance.timeOrigin) % 1_000_000 : Number(values.seed);
const VMS = ["tick-1", "tick-2", "tick-3"];
/** As slow as a guest may be to boot on a busy machine, after the longest back-off of its restarts. */
const START_MS = 150_000;
const MEMORY_BYTES = 128 * 1024 * 1024;

const faults = ["killDaemon", "killMachine", "pauseDaemon", "pauseMachine"] as const;
type Fault = (typeof faults)[number];

function say(text: string): void {
  if (!values.json) console.log(text);
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const monotonicMs = (): number => Number(process.hrtime.bigint()) / 1e6;

/** Injects one fault and heals it; resolves when the node runs again. */
async function inject(
  cluster: LocalCluster,
  node: LocalNode,
  fault: Fault,
  random: Prng,
): Promise<Pause | undefined> {
  switch (fault) {
    case "killDaemon":
      cluster.killDaemon(node);
      // Sometimes sooner than the lease ends, so that it re-adopts; sometimes later.
      await sleep(random.between(50, random.chance(0.3) ? 7000 : 2500));
      cluster.start(node);
      return undefined;
    case "killMachine":
      cluster.killMachine(node);
      await sleep(random.between(50, random.chance(0.3) ? 8000 : 2500));
      cluster.start(node);
      return undefined;
    case "pauseDaemon":
    case "pauseMachine": {
      const daemon = node.process?.pid;
      const pids = fault === "pauseMachine" ? processesOf(node.dataDir) : daemon ? [daemon] : [];
      const fromMs = monotonicMs();
      for (const pid of pids) signal(pid, "SIGSTOP");
      await sleep(random.between(6500, 8500));
      for (const pid of pids) signal(pid, "SIGCONT");
      // A daemon's VMs go on without it.
      if (fault === "pauseDaemon") return undefined;
      return { node: node.name, fromMs, toMs: monotonicMs() };
    }
    default:
      return fault satisfies never;
  }
}

function drawFault(random: Prng): Fault {
  const roll = random.below(100);
  if (roll < 45) return "killDaemon";
  if (roll < 85) return "killMachine";
  return roll < 93 ? "pauseDaemon" : "pauseMachine";
}

interface Storm {
  readonly faults: Record<Fault, number>;
  readonly pauses: readonly Pause[];
}

/** A node that has a VM and does not lead: whose silence the leader has to judge. */
async function judged(cluster: LocalCluster): Promise<LocalNode> {
  const [asked] = cluster.nodes;
  if (asked === undefined) throw new Error("no nodes");
  return await until("a follower with a VM", START_MS, async () => {
    const { leader } = await asked.client.status();
    const { items: nodes } = await asked.client.listNodes();
    const { items: vms } = await asked.client.listVms();
    const homes = vms.filter((vm) => vm.phase === "running").map((vm) => vm.nodeId);
    const fit = nodes.find(
      (node) => node.state === "up" && node.name !== leader?.name && homes.includes(node.id),
    );
    return cluster.nodes.find((node) => node.name === fit?.name);
  });
}

/** With a planted bug in the leases: the fault that they are there for, until the check sees it. */
async function provoke(cluster: LocalCluster, evidence: Evidence): Promise<Storm> {
  const counts: Record<Fault, number> = {
    killDaemon: 0,
    killMachine: 0,
    pauseDaemon: 0,
    pauseMachine: 0,
  };
  const random = new Prng(SEED);
  for (let done = 0; done < KILLS; done++) {
    const node = await judged(cluster);
    say(`${String(done + 1).padStart(4)}/${KILLS} pauseDaemon ${node.name}`);
    await inject(cluster, node, "pauseDaemon", random);
    counts.pauseDaemon++;
    if (overlaps(await evidence.intervals()).length > 0) break;
  }
  return { faults: counts, pauses: [] };
}

async function storm(cluster: LocalCluster, random: Prng): Promise<Storm> {
  const pauses: Pause[] = [];
  const counts: Record<Fault, number> = {
    killDaemon: 0,
    killMachine: 0,
    pauseDaemon: 0,
    pauseMachine: 0,
  };
  for (let done = 0; done < KILLS; done++) {
    const node = cluster.nodes[random.below(cluster.nodes.length)];
    if (node === undefined) throw new Error("no nodes");
    // The first ones are each kind once, so that a short run shows them all.
    const fault = faults[done] ?? drawFault(random);
    say(`${String(done + 1).padStart(4)}/${KILLS} ${fault} ${node.name}`);
    const pause = await inject(cluster, node, fault, random);
    if (pause !== undefined) pauses.push(pause);
    counts[fault]++;
    await sleep(random.between(300, 2500));
  }
  return { faults: counts, pauses };
}

/** Guests of the fake driver have no agent in their image; theirs is compiled for this machine. */
async function tickProgram(cluster: LocalCluster): Promise<string | undefined> {
  if (values.driver !== "fake") return undefined;
  const program = join(cluster.dir, "blixard-agent");
  await compileAgent(program);
  return program;
}

/** True when all run; throws how they are otherwise, so that a wait in vain says it. */
async function allTick(node: LocalNode): Promise<true> {
  const { items } = await node.client.listVms();
  const tickers = items.filter((vm) => VMS.includes(vm.spec.name));
  if (tickers.filter((vm) => vm.phase === "running").length === VMS.length) return true;
  throw new Error(
    tickers.map(({ spec, phase, reason }) => `${spec.name} ${phase}, ${reason}`).join("; "),
  );
}

async function createTickers(cluster: LocalCluster): Promise<void> {
  const command = tickCommand(await tickProgram(cluster));
  const [node] = cluster.nodes;
  if (node === undefined) throw new Error("no nodes");
  for (const name of VMS) {
    await node.client.createVm({
      name,
      image: "base",
      vcpus: 1,
      memoryBytes: MEMORY_BYTES,
      command,
    });
  }
  await until("all VMs running", START_MS, () => allTick(node));
}

/** After healing: every ticker runs, every node answers the same and holds what was acknowledged. */
async function checkState(cluster: LocalCluster, ledger: Ledger): Promise<string[]> {
  const wrong: string[] = [];
  const [first] = cluster.nodes;
  if (first === undefined) return ["no nodes"];
  await until("all VMs running again", START_MS, () => allTick(first));
  for (const node of cluster.nodes) {
    const { items } = await node.client.listVms({ consistency: "linearizable" });
    const names = new Set(items.map((vm) => vm.spec.name));
    wrong.push(...ledger.check(names).map((what) => `${node.name}: ${what}`));
  }
  const hashes = await until("equal state at equal index", 30_000, async () => {
    const all = await Promise.all(cluster.nodes.map((node) => node.client.status()));
    const [one] = all;
    return all.every((status) => status.appliedIndex === one?.appliedIndex) ? all : undefined;
  });
  if (new Set(hashes.map((status) => status.stateHash)).size !== 1) {
    wrong.push(`state hashes differ: ${hashes.map((status) => status.stateHash).join(" ")}`);
  }
  const disorder = ledger.checkHistory();
  if (disorder !== undefined) wrong.push(disorder);
  for (const status of hashes) wrong.push(...status.alarms.map((alarm) => `alarm: ${alarm}`));
  return wrong;
}

interface Outcome extends Storm {
  readonly wrong: readonly string[];
  readonly intervals: readonly Interval[];
  readonly overlapping: readonly Overlap[];
  readonly acknowledged: number;
  readonly operations: number;
  readonly unknown: number;
}

async function run(cluster: LocalCluster): Promise<Outcome> {
  const random = new Prng(SEED);
  await cluster.form();
  const evidenceDir = join(cluster.dir, "evidence");
  mkdirSync(evidenceDir);
  const sources = cluster.nodes.map((node) => ({
    node: node.name,
    vms: join(node.dataDir, "vms", "instances"),
  }));
  const evidence = new Evidence(evidenceDir, sources);
  const ledger = new Ledger(cluster.nodes, random.fork());
  try {
    await createTickers(cluster);
    say(`cluster formed, ${VMS.length} VMs tick; seed ${SEED}`);
    const writing = ledger.run();
    const { faults: injected, pauses } =
      values.mutant === undefined ? await storm(cluster, random) : await provoke(cluster, evidence);
    ledger.stop();
    await writing;
    await cluster.waitReady(60_000);
    const wrong = await checkState(cluster, ledger);
    evidence.stop();
    const intervals = await evidence.intervals();
    const { acknowledged, operations, unknown } = ledger;
    return {
      wrong,
      faults: injected,
      pauses,
      intervals,
      overlapping: overlaps(intervals),
      acknowledged,
      operations,
      unknown,
    };
  } finally {
    ledger.stop();
    evidence.stop();
  }
}

async function main(): Promise<number> {
  const started = performance.now();
  if (values.driver === "qemu") await buildImage({ cacheDir: imagesDir(), onProgress: say });
  const mutant = values.mutant && join(import.meta.dirname, "mutants", `${values.mutant}.ts`);
  const cluster = new LocalCluster({
    nodes: 3,
    drivers: [values.driver],
    images: imagesDir(),
    ...(mutant ? { preload: mutant } : {}),
  });
  process.once("SIGINT", () => void cluster.destroy().finally(() => process.exit(130)));
  let outcome: Outcome | undefined;
  let broken: string | undefined;
  try {
    outcome = await run(cluster);
  } catch (caught) {
    broken = caught instanceof Error ? (caught.stack ?? caught.message) : String(caught);
  }
  const wrong = [...(outcome?.wrong ?? []), ...(broken === undefined ? [] : [broken])];
  for (const { vm, earlier, later, byMs } of outcome?.overlapping ?? []) {
    wrong.push(
      `${vm} ran twice: epochs ${earlier.epoch} and ${later.epoch} for ${byMs.toFixed(1)} ms`,
    );
  }
  const rate = outcome && tickRate(outcome.intervals, outcome.pauses);
  if (rate?.ticks === 0) wrong.push("no guest ever ticked: nothing was checked");
  const result = {
    ok: wrong.length === 0,
    ran: KILLS,
    skipped: 0,
    seconds: Math.round((performance.now() - started) / 100) / 10,
    seed: SEED,
    driver: values.driver,
    faults: outcome?.faults,
    acknowledgedWrites: outcome?.acknowledged,
    historyOperations: outcome?.operations,
    unknownWrites: outcome?.unknown,
    epochs: outcome?.intervals.length,
    ...rate,
    wrong,
  };
  console.log(values.json ? JSON.stringify(result) : result);
  if (values.keep) console.error(`kept ${cluster.dir}`);
  else await cluster.destroy();
  return result.ok ? 0 : 1;
}

process.exit(await main());
