/** The VmDriver that runs each VM under a supervisor process of its own. */

import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { isMissing } from "@blixard/host";
import { fail, toBlixardError, type VmId, type VmStats } from "@blixard/std";
import { ConsoleCursor } from "../console/reader.ts";
import { LIMITS } from "../limits.ts";
import { loadState } from "../state.ts";
import type {
  ExecRequest,
  ExecSession,
  InstanceSpec,
  InstanceStatus,
  Probe,
  RunOptions,
  VmBounds,
  VmDriver,
} from "../types.ts";
import type { Backend } from "./backend.ts";
import { HEALTH, type HealthOptions } from "./health.ts";
import { DELETED_PREFIX, Instance } from "./instance.ts";

const INSTANCES = "instances";

export interface SupervisedDriverOptions {
  /** Instances live in `<dataDir>/instances/<vmId>`. */
  readonly dataDir: string;
  readonly log?: (line: string) => void;
  /** How guests' agents are asked; the default is what a daemon wants. */
  readonly health?: HealthOptions;
}

/** Where everything of one VM lives: state, console log, disk, socket. */
export function instanceFolder(dataDir: string, vmId: VmId): string {
  return join(dataDir, INSTANCES, vmId);
}

export class SupervisedDriver implements VmDriver {
  readonly name: string;
  readonly #backend: Backend;
  readonly #folder: string;
  readonly #log: (line: string) => void;
  readonly #health: HealthOptions;
  readonly #instances = new Map<VmId, Instance>();
  readonly #listeners = new Set<(status: InstanceStatus) => void>();
  readonly #wakers = new Map<VmId, Set<() => void>>();
  #deadlineMs = 0;
  #closed = false;

  constructor(backend: Backend, options: SupervisedDriverOptions) {
    this.name = backend.name;
    this.#backend = backend;
    this.#folder = join(options.dataDir, INSTANCES);
    this.#log = options.log ?? (() => undefined);
    this.#health = options.health ?? HEALTH;
  }

  get bounds(): VmBounds {
    return this.#backend.bounds;
  }

  probe(): Promise<Probe> {
    return this.#backend.probe();
  }

  async create(spec: InstanceSpec): Promise<void> {
    checkSpec(spec);
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    await this.#instance(spec.vmId).create(spec);
  }

  async start(vmId: VmId, run: RunOptions): Promise<void> {
    await this.#instance(vmId).start(run);
  }

  async stop(vmId: VmId, options: { graceMs: number }): Promise<void> {
    await this.#instance(vmId).stop(options.graceMs);
  }

  async kill(vmId: VmId): Promise<void> {
    await this.#instance(vmId).kill();
  }

  async delete(vmId: VmId): Promise<void> {
    await this.#instance(vmId).delete();
    this.#instances.get(vmId)?.close();
    this.#instances.delete(vmId);
    this.#wake(vmId);
  }

  async inspect(vmId: VmId): Promise<InstanceStatus | undefined> {
    return await this.#instance(vmId).status();
  }

  async readopt(): Promise<readonly InstanceStatus[]> {
    let names: string[];
    try {
      names = await readdir(this.#folder);
    } catch (caught) {
      if (isMissing(caught)) return [];
      throw caught;
    }
    const found = await Promise.all(names.map((name) => this.#readoptOne(name)));
    return found.filter((status) => status !== undefined);
  }

  renew(deadlineMonotonicMs: number): void {
    if (deadlineMonotonicMs <= this.#deadlineMs) return;
    this.#deadlineMs = deadlineMonotonicMs;
    for (const instance of this.#instances.values()) instance.renew(deadlineMonotonicMs);
  }

  subscribe(listener: (status: InstanceStatus) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async *console(
    vmId: VmId,
    options: { offset: number; follow: boolean; signal: AbortSignal },
  ): AsyncGenerator<Uint8Array> {
    const folder = this.#folderOf(vmId);
    if ((await loadState(folder)) === undefined) {
      fail("NotFound", { kind: "instance", name: vmId }, `No instance of VM ${vmId} is here`);
    }
    const cursor = new ConsoleCursor(folder, options.offset);
    let wanted = options.offset;
    while (!options.signal.aborted && !this.#closed) {
      // Listening begins before reading: what is written meanwhile wakes this again.
      const woken = this.#nextConsole(vmId, options.signal);
      try {
        for await (const record of cursor.read()) {
          const skip = Math.max(0, wanted - record.offset);
          wanted = record.offset + record.payload.length;
          yield record.payload.subarray(skip);
          if (options.signal.aborted) return;
        }
        if (!options.follow) return;
        await woken.promise;
      } finally {
        woken.cancel();
      }
      if ((await loadState(folder)) === undefined) return;
    }
  }

  async exec(vmId: VmId, request: ExecRequest): Promise<ExecSession> {
    return await (await this.#instance(vmId).agent()).exec(request);
  }

  async stats(vmId: VmId): Promise<VmStats> {
    return await this.#instance(vmId).stats();
  }

  async writeFile(vmId: VmId, path: string, mode: number, data: Uint8Array): Promise<void> {
    await (await this.#instance(vmId).agent()).writeFile(path, mode, data);
  }

  async readFile(vmId: VmId, path: string): Promise<Uint8Array> {
    return await (await this.#instance(vmId).agent()).readFile(path);
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const [vmId, instance] of this.#instances) {
      instance.close();
      this.#wake(vmId);
    }
    this.#instances.clear();
    this.#listeners.clear();
    await Promise.resolve();
  }

  #folderOf(vmId: VmId): string {
    if (!/^[0-9a-f]{16}$/.test(vmId)) {
      const reason = "it is not 16 lower-case hex digits";
      fail("InvalidArgument", { field: "vmId", reason }, `Invalid VM id "${vmId}": ${reason}`);
    }
    return join(this.#folder, vmId);
  }

  #instance(vmId: VmId): Instance {
    if (this.#closed) fail("Unavailable", { reason: "closed" }, "The driver is closed");
    const found = this.#instances.get(vmId);
    if (found !== undefined) return found;
    const made = new Instance({
      folder: this.#folderOf(vmId),
      backend: this.#backend,
      log: this.#log,
      emit: (status) => this.#emit(status),
      onConsole: () => this.#wake(vmId),
      deadlineMs: () => this.#deadlineMs,
      health: this.#health,
    });
    this.#instances.set(vmId, made);
    return made;
  }

  async #readoptOne(name: string): Promise<InstanceStatus | undefined> {
    const folder = join(this.#folder, name);
    try {
      if (name.startsWith(DELETED_PREFIX)) {
        await rm(folder, { recursive: true, force: true });
        return undefined;
      }
      const state = await loadState(folder);
      if (state?.spec.vmId !== name || state.driver !== this.name) return undefined;
      return await this.#instance(state.spec.vmId).status();
    } catch (caught) {
      // One broken folder must not keep the others from being adopted.
      this.#log(`${folder}: ${toBlixardError(caught).message}`);
      return undefined;
    }
  }

  #emit(status: InstanceStatus): void {
    for (const listener of this.#listeners) listener(status);
    this.#wake(status.vmId);
  }

  #wake(vmId: VmId): void {
    for (const waker of this.#wakers.get(vmId) ?? []) waker();
  }

  /** Resolves at the next sign of console output, on abort, or after a while. */
  #nextConsole(vmId: VmId, signal: AbortSignal): { promise: Promise<void>; cancel: () => void } {
    const { promise, resolve } = Promise.withResolvers<void>();
    const wakers = this.#wakers.get(vmId) ?? new Set();
    this.#wakers.set(vmId, wakers);
    const timer = setTimeout(resolve, LIMITS.followPollMs);
    wakers.add(resolve);
    const onAbort = (): void => resolve();
    signal.addEventListener("abort", onAbort, { once: true });
    const cancel = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", onAbort);
      wakers.delete(resolve);
      if (wakers.size === 0) this.#wakers.delete(vmId);
    };
    return { promise, cancel };
  }
}

function checkSpec(spec: InstanceSpec): void {
  const refuse = (field: string, reason: string, hint?: string): never =>
    fail(
      "InvalidArgument",
      { field, reason },
      `Invalid ${field} of VM "${spec.name}": ${reason}`,
      hint,
    );
  if (!/^[0-9a-f]{16}$/.test(spec.vmId)) refuse("vmId", "it is not 16 lower-case hex digits");
  if (!Number.isInteger(spec.vcpus) || spec.vcpus < 1 || spec.vcpus > LIMITS.vcpus) {
    refuse("vcpus", `${spec.vcpus} is not between 1 and ${LIMITS.vcpus}`);
  }
  if (!Number.isSafeInteger(spec.memoryBytes) || spec.memoryBytes < LIMITS.memoryBytesMin) {
    refuse(
      "memoryBytes",
      `${spec.memoryBytes} is below ${LIMITS.memoryBytesMin}`,
      "make it anew with --memory 64M or more",
    );
  }
  if (!Number.isSafeInteger(spec.diskBytes) || spec.diskBytes < 0) {
    refuse("diskBytes", `${spec.diskBytes} is not a size in bytes`);
  }
}
