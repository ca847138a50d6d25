/** What the compliance suite's cases stand on: a folder, drivers over it, and a thorough end. */

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { hostClock } from "@blixard/host";
import { as, BlixardError, type Epoch, type ErrorCode, type VmId } from "@blixard/std";
import { createDriver, type DriverName, type DriverOptions } from "./create.ts";
import { instanceFolder } from "./driver/driver.ts";
import { DirImageStore } from "./image/dir-store.ts";
import { hostOs, type ProcessIdentity } from "./os/index.ts";
import { killAndWait } from "./os/process.ts";
import { nodeArguments } from "./self.ts";
import { loadState } from "./state.ts";
import type {
  ExecSession,
  InstancePhase,
  InstanceSpec,
  InstanceStatus,
  VmDriver,
} from "./types.ts";

export interface WorldSetup {
  readonly driver: DriverName;
  /** For DirImageStore. */
  readonly images: string;
  readonly image: string;
  /** A guest has booted by then. */
  readonly bootMs: number;
}

export interface ComplianceSetup extends WorldSetup {
  /** Makes the kernel of the guest that runs it panic. The fake driver's guests run on this very host. */
  readonly panic: string;
}

/** What a start is given. */
export interface StartLease {
  readonly epoch: Epoch;
  readonly deadlineMonotonicMs: number;
}

/**
 * Runs Linux out of memory, which it is told to take for the end. Only in a guest of 96 MiB that has its
 * VM's name: elsewhere it does nothing at all.
 */
export const LINUX_PANIC = [
  "read name < /proc/sys/kernel/hostname; read label kibibytes unit < /proc/meminfo",
  'case "$name" in vm-[0-9]*) ;; *) exit 1 ;; esac',
  '[ "$label" = MemTotal: ] && [ "$kibibytes" -lt 98304 ] || exit 1',
  "echo 1 > /proc/sys/vm/panic_on_oom",
  "mkdir /panic && mount -t tmpfs -o size=192m none /panic",
  "dd if=/dev/zero of=/panic/full bs=1M count=192",
].join("\n");

/** Long enough for any case, short enough that a crashed test run leaves nothing for long. */
const LEASE_MS = 300_000;

export class World {
  readonly setup: WorldSetup;
  readonly dataDir: string;
  readonly #drivers: VmDriver[] = [];
  readonly #children: ChildProcess[] = [];
  #nextVm = 1;

  private constructor(setup: WorldSetup, dataDir: string) {
    this.setup = setup;
    this.dataDir = dataDir;
  }

  static async make(setup: WorldSetup): Promise<World> {
    return new World(setup, await mkdtemp(join(tmpdir(), "blx-compliance-")));
  }

  driver(options: Partial<DriverOptions> = {}): VmDriver {
    const driver = createDriver(this.setup.driver, {
      dataDir: this.dataDir,
      images: new DirImageStore(this.setup.images),
      ...options,
    });
    this.#drivers.push(driver);
    return driver;
  }

  spec(command: readonly string[] = []): InstanceSpec {
    const number = this.#nextVm++;
    return {
      vmId: as<VmId>(number.toString(16).padStart(16, "0")),
      name: `vm-${number}`,
      image: this.setup.image,
      vcpus: 1,
      memoryBytes: 256 * 1024 * 1024,
      diskBytes: 0,
      command,
    };
  }

  folder(vmId: VmId): string {
    return instanceFolder(this.dataDir, vmId);
  }

  /** Creates and starts, and waits until the agent has said hello. */
  async run(driver: VmDriver, spec: InstanceSpec, epoch = 1): Promise<InstanceStatus> {
    await driver.create(spec);
    await driver.start(spec.vmId, this.lease(epoch));
    return await this.phase(driver, spec.vmId, "running");
  }

  /**
   * Runs the VM under a lease that ends soon, but not before `ready` says so with half of it left:
   * under longer ones, with later epochs, until this machine, today, is that fast. `started` is called
   * after each start.
   */
  async runBriefly(
    driver: VmDriver,
    spec: InstanceSpec,
    hooks: {
      readonly started?: () => void;
      readonly ready?: (status: InstanceStatus) => Promise<boolean>;
    } = {},
  ): Promise<{ readonly status: InstanceStatus; readonly lease: StartLease }> {
    const began = hostClock.monotonicMs();
    await this.run(driver, spec);
    let leaseMs = 3 * (hostClock.monotonicMs() - began) + 500;
    await driver.kill(spec.vmId);
    for (let epoch = 2; ; epoch++, leaseMs *= 2) {
      const lease = this.lease(epoch, leaseMs);
      await driver.start(spec.vmId, lease);
      hooks.started?.();
      const status = await until("it runs, or ends", this.setup.bootMs, async () => {
        const now = await driver.inspect(spec.vmId);
        if (now?.phase === "stopped") return now;
        if (now?.phase !== "running") return undefined;
        return (await hooks.ready?.(now)) === false ? undefined : now;
      });
      const leftMs = lease.deadlineMonotonicMs - hostClock.monotonicMs();
      if (status.phase === "running" && leftMs > leaseMs / 2) return { status, lease };
      await driver.kill(spec.vmId);
      assert.ok(leaseMs < this.setup.bootMs, `not ready within half of ${leaseMs} ms`);
    }
  }

  lease(epoch: number, leaseMs = LEASE_MS): StartLease {
    return { epoch: as<Epoch>(epoch), deadlineMonotonicMs: hostClock.monotonicMs() + leaseMs };
  }

  async phase(driver: VmDriver, vmId: VmId, phase: InstancePhase): Promise<InstanceStatus> {
    return await until(`${vmId} ${phase}`, this.setup.bootMs, async () => {
      const status = await driver.inspect(vmId);
      assert.ok(status !== undefined, `instance ${vmId} exists`);
      if (phase === "running" && status.phase === "stopped") {
        assert.fail(`ended before it ran: ${JSON.stringify(status)}`);
      }
      return status.phase === phase ? status : undefined;
    });
  }

  /** A process that starts the VM as a daemon would; resolves when the VM runs. */
  async daemon(spec: InstanceSpec): Promise<ChildProcess> {
    const { driver, images, bootMs } = this.setup;
    const deadline = String(hostClock.monotonicMs() + LEASE_MS);
    const main = nodeArguments(import.meta.url, "./compliance-daemon");
    const args = [...main, driver, this.dataDir, images, JSON.stringify(spec), deadline];
    const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
    this.#children.push(child);
    let said = "";
    child.stdout.on("data", (chunk: Buffer) => (said += chunk.toString("utf8")));
    await until("the daemon's VM running", bootMs, () =>
      Promise.resolve(said.includes("running\n") || undefined),
    );
    return child;
  }

  /** Ends everything by pid and removes the folder; fails when something outlived that. */
  async close(): Promise<void> {
    for (const child of this.#children) child.kill("SIGKILL");
    for (const driver of this.#drivers) await driver.close();
    const left: ProcessIdentity[] = [];
    for (let number = 1; number < this.#nextVm; number++) {
      const vmId = as<VmId>(number.toString(16).padStart(16, "0"));
      const state = await loadState(this.folder(vmId));
      for (const identity of [state?.supervisor, state?.backend]) {
        if (identity !== undefined) left.push(identity);
      }
    }
    for (const identity of left) await killAndWait(identity);
    await rm(this.dataDir, { recursive: true, force: true });
  }
}

/** Polls until `check` gives a value; fails at the deadline, naming what was waited for. */
export async function until<T>(
  what: string,
  timeoutMs: number,
  check: () => Promise<T | undefined>,
): Promise<T> {
  const deadline = hostClock.monotonicMs() + timeoutMs;
  for (;;) {
    const value = await check();
    if (value !== undefined) return value;
    if (hostClock.monotonicMs() > deadline) {
      assert.fail(`waited ${timeoutMs} ms in vain for: ${what}`);
    }
    await sleep(10);
  }
}

export async function goneOf(pid: number): Promise<void> {
  await until(`the end of process ${pid}`, 60_000, () =>
    Promise.resolve(hostOs.identify(pid) === undefined || undefined),
  );
}

export function refusedWith(code: ErrorCode): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof BlixardError, `a BlixardError, not ${String(error)}`);
    assert.equal(error.code, code);
    return true;
  };
}

export interface Output {
  readonly stdout: string;
  readonly stderr: string;
  readonly code: number | undefined;
}

/** Reads a session to its end. */
export async function collect(session: ExecSession): Promise<Output> {
  const out = { stdout: "", stderr: "", code: undefined as number | undefined };
  for await (const event of session.events) {
    if (event.kind === "exit") out.code = event.code;
    else out[event.kind] += Buffer.from(event.data).toString("utf8");
  }
  return out;
}

/** Runs what takes the guest along, perhaps before the agent has said that it runs. */
export async function fatal(driver: VmDriver, vmId: VmId, script: string): Promise<void> {
  try {
    await driver.exec(vmId, { argv: ["sh", "-c", script], env: {} });
  } catch (caught) {
    refusedWith("GuestUnreachable")(caught);
  }
}

/** stdout of a shell command in the guest; fails when it fails. */
export async function shell(driver: VmDriver, vmId: VmId, script: string): Promise<string> {
  const session = await driver.exec(vmId, { argv: ["sh", "-c", script], env: {} });
  const { stdout, stderr, code } = await collect(session);
  assert.equal(code, 0, `${script}: ${stderr}`);
  return stdout;
}

export async function all<T>(source: AsyncIterable<T>): Promise<T[]> {
  const out: T[] = [];
  for await (const item of source) out.push(item);
  return out;
}
