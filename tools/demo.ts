/**
 * `npm run demo`: a cluster of three real node processes, a real Linux microVM in it, exec into it, the
 * machine that holds it killed, the VM back on another one. `--json` prints one object; `--keep` leaves it
 * running and says how to reach it; `--driver=NAME` takes that driver instead of the best one.
 */

import { createDriver, DirImageStore, DRIVER_NAMES, type DriverName } from "@blixard/drivers";
import { toBlixardError } from "@blixard/std";
import { LocalCluster, type LocalNode, until } from "../e2e/cluster.ts";
import { buildImage, imagesDir } from "../guest/image/build.ts";

const json = process.argv.includes("--json");
const keep = process.argv.includes("--keep");
const VM = "hello";
const MEMORY_BYTES = 256 * 1024 * 1024;

function say(text: string): void {
  if (!json) console.log(text);
}

async function timed<T>(what: string, work: () => Promise<T>): Promise<{ ms: number; value: T }> {
  const started = performance.now();
  const value = await work();
  const ms = Math.round(performance.now() - started);
  say(`  ${what.padEnd(46)} ${String(ms).padStart(6)} ms`);
  return { ms, value };
}

async function execText(node: LocalNode, argv: string[]): Promise<string> {
  const session = await node.client.exec(VM, { argv, env: {} });
  session.closeStdin();
  let text = "";
  for await (const event of session.events) {
    if (event.kind === "stdout") text += new TextDecoder().decode(event.data);
    if (event.kind === "exit" && event.code !== 0)
      throw new Error(`exit code ${event.code}: ${text}`);
  }
  return text.trim();
}

/** Waits until the VM runs on a node other than `not`; answers which. */
async function runningOn(
  cluster: LocalCluster,
  asked: LocalNode,
  not?: string,
): Promise<LocalNode> {
  return await until("running VM", 60_000, async () => {
    const vm = await asked.client.getVm(VM);
    if (vm.phase === "failed") throw new Error(`the VM failed: ${vm.reason ?? ""}`);
    if (vm.phase !== "running" || vm.nodeId === undefined) return undefined;
    const { name } = await asked.client.getNode(vm.nodeId);
    return name === not ? undefined : cluster.nodes.find((node) => node.name === name);
  });
}

async function story(cluster: LocalCluster): Promise<Record<string, number | string>> {
  const form = await timed("three nodes form a cluster", () => cluster.form());
  const [first] = cluster.nodes;
  if (first === undefined) throw new Error("no node");
  const boot = await timed(`VM "${VM}" is placed and boots Linux`, async () => {
    await first.client.createVm({ name: VM, image: "base", vcpus: 1, memoryBytes: MEMORY_BYTES });
    return await runningOn(cluster, first);
  });
  const home = boot.value;
  const exec = await timed(`exec in it on ${home.name}: uname -srm`, () =>
    execText(first, ["uname", "-srm"]),
  );
  say(`    ${exec.value}`);
  const witness = cluster.nodes.find((node) => node !== home) ?? first;
  const failover = await timed(`kill -9 of ${home.name} and its VM; back elsewhere`, async () => {
    cluster.killMachine(home);
    return await runningOn(cluster, witness, home.name);
  });
  const again = await timed(`exec in it on ${failover.value.name}`, () =>
    execText(witness, ["sh", "-c", "echo alive, epoch $BLIXARD_EPOCH"]),
  );
  say(`    ${again.value}`);
  return {
    formClusterMs: form.ms,
    bootMs: boot.ms,
    execMs: exec.ms,
    failoverMs: failover.ms,
    guest: exec.value,
  };
}

/** QEMU where KVM makes it faster than any emulator, else the machine that comes with Blixard. */
async function prepare(): Promise<{ driver: DriverName; accel: string }> {
  const options = { dataDir: imagesDir(), images: new DirImageStore(imagesDir()) };
  const wanted = DRIVER_NAMES.find((name) => process.argv.includes(`--driver=${name}`));
  const tried: string[] = [];
  for (const name of wanted === undefined ? (["qemu", "embedded"] as const) : [wanted]) {
    const driver = createDriver(name, options);
    const probe = await driver.probe();
    await driver.close();
    if (!probe.available) {
      tried.push(`${name}: ${probe.why} (${probe.install})`);
      continue;
    }
    if (wanted === undefined && name === "qemu" && probe.accel !== "kvm") {
      tried.push(`${name}: no KVM`);
      continue;
    }
    say(`driver ${name} ${probe.version}, acceleration: ${probe.accel}`);
    if (name === "qemu") {
      await timed("guest image (built once, then cached)", () =>
        buildImage({ cacheDir: imagesDir(), onProgress: (line) => say(`    ${line}`) }),
      );
    }
    return { driver: name, accel: probe.accel };
  }
  throw new Error(`No driver can run a VM here: ${tried.join("; ")}`);
}

async function main(): Promise<number> {
  const started = performance.now();
  const seconds = (): number => Math.round(performance.now() - started) / 1000;
  let cluster: LocalCluster | undefined;
  let ending: Promise<void> | undefined;
  const end = (): Promise<void> => (ending ??= cluster?.destroy() ?? Promise.resolve());
  for (const name of ["SIGINT", "SIGTERM"] as const) {
    process.once(name, () => {
      say(`\n${name}: cleaning up`);
      void end().finally(() => process.exit(130));
    });
  }
  try {
    const found = await prepare();
    const begun = performance.now();
    cluster = new LocalCluster({ nodes: 3, drivers: [found.driver], images: imagesDir() });
    const numbers = await story(cluster);
    const demoMs = Math.round(performance.now() - begun);
    if (keep) explainKept(cluster);
    else await end();
    const result = {
      ok: true,
      ran: 5,
      skipped: 0,
      seconds: seconds(),
      demoMs,
      ...numbers,
      ...found,
    };
    if (json) console.log(JSON.stringify(result));
    else say(`ok: ${(demoMs / 1000).toFixed(1)} s in all${keep ? "" : "; nothing is left behind"}`);
    return 0;
  } catch (caught) {
    const { message } = toBlixardError(caught);
    await end();
    if (json)
      console.log(
        JSON.stringify({ ok: false, ran: 0, skipped: 0, seconds: seconds(), error: message }),
      );
    else console.error(`demo failed: ${message}`);
    return 1;
  }
}

function explainKept(cluster: LocalCluster): void {
  const node = cluster.nodes.find((candidate) => candidate.process !== undefined);
  if (node === undefined) return;
  const note = json ? console.error : console.log;
  note(`\nleft running in ${cluster.dir}; reach it with:`);
  note(`  npm run blixard -- vm ls --data ${node.dataDir}`);
  note(`  npm run blixard -- vm exec --data ${node.dataDir} ${VM} -- uname -a`);
  note(`end it with: pkill -f ${cluster.dir} ; rm -r ${cluster.dir}`);
}

process.exit(await main());
