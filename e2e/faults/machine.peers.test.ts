/** VMs whose image is missing, whose processes die, or whose guest ends: real guests in QEMU. */

import assert from "node:assert/strict";
import { existsSync, readFileSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { before, test } from "node:test";
import type { VmRecord } from "@blixard/control";
import { buildImage, imagesDir } from "../../guest/image/build.ts";
import { type LocalCluster, type LocalNode, signal, until } from "../cluster.ts";
import {
  assertRefused,
  cli,
  execText,
  exitCodeOf,
  killDaemon,
  logOf,
  nodeAt,
  record,
  restart,
  vmIs,
  withCluster,
  withFolder,
} from "./world.ts";

const MEMORY_BYTES = 128 * 1024 * 1024;
const BOOT_MS = 120_000;
const QEMU = { nodes: 1, drivers: ["qemu"], images: imagesDir() };

before(async () => {
  await buildImage({ cacheDir: imagesDir() });
});

interface Pids {
  readonly supervisor: number;
  readonly backend: number;
}

/** The processes of a VM, as the node's own state file names them. */
function pidsOf(node: LocalNode, vm: VmRecord): Pids {
  const path = join(node.dataDir, "vms", "instances", vm.id, "instance.json");
  // Safe: the file is written by the driver, whose own tests hold its form.
  const state = JSON.parse(readFileSync(path, "utf8")) as Record<string, { pid: number }>;
  const [supervisor, backend] = [state["supervisor"]?.pid ?? 0, state["backend"]?.pid ?? 0];
  assert.ok(supervisor > 1 && backend > 1, "both processes are named");
  return { supervisor, backend };
}

async function gone(pid: number): Promise<void> {
  await until(`end of process ${pid}`, 60_000, () =>
    existsSync(`/proc/${pid}`) ? undefined : true,
  );
}

async function boot(node: LocalNode, name: string): Promise<VmRecord> {
  await node.client.createVm({ name, image: "base", memoryBytes: MEMORY_BYTES });
  return await runs(node, name, 0);
}

async function runs(node: LocalNode, name: string, after: number): Promise<VmRecord> {
  const check = (vm: VmRecord): boolean => vm.phase === "running" && vm.epoch > after;
  return await vmIs(node, name, `running after epoch ${after}`, check, BOOT_MS);
}

interface Reasons {
  readonly seen: readonly string[];
  /** Waits for one: what a watcher is told may come later than what a reader asks for. */
  readonly told: (what: RegExp) => Promise<void>;
  readonly stop: () => Promise<void>;
}

/** Running, and so are its processes: a record may not yet say that a VM died with its lease. */
async function lives(node: LocalNode, name: string): Promise<VmRecord> {
  return await until(`${name} alive`, BOOT_MS, async () => {
    const vm = await runs(node, name, 0);
    const { supervisor, backend } = pidsOf(node, vm);
    return existsSync(`/proc/${supervisor}`) && existsSync(`/proc/${backend}`) ? vm : undefined;
  });
}

/** Every reason that the VM's record goes through from now on, as a watcher sees them. */
async function reasons(node: LocalNode, id: string): Promise<Reasons> {
  const seen: string[] = [];
  const abort = new AbortController();
  // The watch may open after the next change: it begins where this list ends.
  const { revision: fromRevision } = await node.client.listVms();
  const following = (async () => {
    try {
      for await (const event of node.client.watch({ fromRevision, signal: abort.signal })) {
        if (event.kind !== "vm" || event.object.id !== id) continue;
        const reason = "reason" in event.object ? event.object.reason : undefined;
        if (reason !== undefined && seen.at(-1) !== reason) seen.push(reason);
      }
    } catch (caught) {
      if (!abort.signal.aborted) throw caught;
    }
  })();
  return {
    seen,
    told: async (what) => {
      await until(`a reason ${what.source}`, 60_000, () => {
        if (what.test(seen.join("; "))) return true;
        throw new Error(seen.join("; "));
      });
    },
    stop: async () => {
      abort.abort();
      await following;
    },
  };
}

test("a missing image fails the VM with its name and a hint; with the image it starts", async () => {
  await withFolder(async (images) => {
    await withCluster({ ...QEMU, images }, async (cluster) => {
      const node = nodeAt(cluster, 0);
      await node.client.createVm({ name: "web", image: "base", memoryBytes: MEMORY_BYTES });
      const failed = await vmIs(node, "web", "failed", (vm) => vm.phase === "failed");
      const reason = `Image "base" is not in ${images}`;
      const { reason: said = "" } = failed;
      assert.ok(said.startsWith(reason), said);
      assert.match(said, /build it with: .*guest\/image\/main\.ts/);
      assertRefused(
        await cli(["vm", "wait", "web", "--data", node.dataDir]),
        "NotRunning",
        /web failed: Image "base" is not in/,
        /blixard vm start web/,
      );
      symlinkSync(join(imagesDir(), "base"), join(images, "base"));
      const started = await cli(["vm", "start", "web", "--data", node.dataDir]);
      assert.equal(started.code, 0, started.stderr);
      await runs(node, "web", 0);
      assert.equal(await execText(node, "web", ["echo", "alive"]), "alive");
    });
  });
});

test("a VM whose QEMU or supervisor is killed, or whose kernel panics, says so and runs again", async () => {
  await withCluster(QEMU, async (cluster) => {
    const node = nodeAt(cluster, 0);
    let vm = await boot(node, "web");
    const history = await reasons(node, vm.id);

    let pids = pidsOf(node, vm);
    assert.match(readFileSync(`/proc/${pids.backend}/cmdline`, "utf8"), /^qemu-system/);
    signal(pids.backend, "SIGKILL");
    vm = await runs(node, "web", vm.epoch);
    await gone(pids.supervisor);
    await history.told(/qemu .*SIGKILL/);

    pids = pidsOf(node, vm);
    signal(pids.supervisor, "SIGKILL");
    await gone(pids.backend);
    vm = await runs(node, "web", vm.epoch);
    await history.told(/supervisor|nothing of it is left|processes were killed/);

    // The guest dies under it, so this command has no end to wait for.
    const session = await node.client.exec("web", {
      argv: ["sh", "-c", "echo c > /proc/sysrq-trigger"],
      env: {},
    });
    session.closeStdin();
    vm = await runs(node, "web", vm.epoch);
    await history.told(/kernel panicked/);
    assert.equal(await execText(node, "web", ["sh", "-c", "echo $BLIXARD_EPOCH"]), `${vm.epoch}`);
    await history.stop();
  });
});

test("a guest that powers itself off is told from one that crashed", async () => {
  await withCluster(QEMU, async (cluster) => {
    const node = nodeAt(cluster, 0);
    const vm = await boot(node, "web");
    const history = await reasons(node, vm.id);
    const session = await node.client.exec("web", { argv: ["poweroff"], env: {} });
    session.closeStdin();
    // Nobody asked for its end and it has no command: it is wanted, so it comes back.
    await runs(node, "web", vm.epoch);
    await history.told(/./);
    assert.deepEqual(history.seen.slice(0, 1), ["the guest shut down"]);
    await history.stop();

    const spec = { name: "job", image: "base", memoryBytes: MEMORY_BYTES };
    await node.client.createVm({ ...spec, command: ["sh", "-c", "exit 7"] });
    await vmIs(node, "job", "ended", ({ commandExit }) => commandExit === 7, BOOT_MS);
  });
});

/** On a machine that is too busy to start a daemon within the lease, its VM rightly dies: once more. */
const ATTEMPTS = 6;
/** A supervisor kills at 4.5 s from the last renewal that was sent, and they are sent each second. */
const LEASE_LEFT_MS = 3_500;

/** Ends the daemon in some way and starts it again: its VM is the same one, and can be used. */
async function goesOn(
  cluster: LocalCluster,
  node: LocalNode,
  end: () => Promise<void>,
): Promise<void> {
  for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
    const before = await lives(node, "web");
    const pids = pidsOf(node, before);
    const leftMs = performance.now();
    await end();
    const quiet = logOf(cluster, node).length;
    await restart(cluster, node);
    // Registered, hence renewing: a lease that ran out is told by then.
    await record(node, `back-${quiet}`);
    const backMs = performance.now();
    const now = await lives(node, "web");
    if (now.epoch !== before.epoch) {
      // The only reasons to restart it: its lease ran out under the new daemon, or before that.
      if (/lease over/.test(logOf(cluster, node).slice(quiet))) continue;
      assert.ok(backMs - leftMs > LEASE_LEFT_MS, `another VM after ${backMs - leftMs} ms`);
      continue;
    }
    assert.deepEqual(pidsOf(node, now), pids);
    const epoch = await execText(node, "web", ["sh", "-c", "echo $BLIXARD_EPOCH"]);
    assert.equal(epoch, `${before.epoch}`);
    return;
  }
  assert.fail(`not re-adopted in ${ATTEMPTS} attempts`);
}

test("a daemon that is back within the lease goes on with the same VM; SIGTERM ends it cleanly", async () => {
  await withCluster(QEMU, async (cluster) => {
    const node = nodeAt(cluster, 0);
    await boot(node, "web");
    await goesOn(cluster, node, () => killDaemon(cluster, node));
    await goesOn(cluster, node, async () => {
      const ended = exitCodeOf(node);
      signal(node.process?.pid ?? 0, "SIGTERM");
      assert.equal(await ended, 0);
      await assert.rejects(fetch(`${node.endpoint}/v1/health`), "the port is released");
      assert.ok(!existsSync(join(node.dataDir, "api.sock")), "so is the socket");
    });
  });
});
