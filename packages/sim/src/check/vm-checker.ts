/**
 * What must hold for VMs, in true time, whatever the machines' clocks say: a VM executes on one
 * machine at most, each start has a higher epoch than all before, and no machine runs more than it
 * has room for.
 */

import type { Capacity } from "@blixard/control";
import { violated, type World } from "../world/world.ts";

interface Running {
  readonly host: number;
  readonly epoch: number;
  readonly spec: Capacity;
  /** On a machine that sleeps: it exists and does not execute. */
  isFrozen: boolean;
}

export class VmChecker {
  starts = 0;
  readonly #world: World;
  readonly #capacities: ReadonlyMap<number, Capacity>;
  readonly #running = new Map<string, Running[]>();
  readonly #epochs = new Map<string, number>();

  constructor(world: World, capacities: ReadonlyMap<number, Capacity>) {
    this.#world = world;
    this.#capacities = capacities;
  }

  started(host: number, vmId: string, epoch: number, spec: Capacity): void {
    this.#world.note(host, `vm ${vmId.slice(-4)} starts, epoch ${epoch}`);
    this.starts++;
    const last = this.#epochs.get(vmId) ?? 0;
    if (epoch <= last)
      violated("epochs rise", `vm ${vmId} started with epoch ${epoch} after ${last}`);
    this.#epochs.set(vmId, epoch);
    const list = this.#running.get(vmId) ?? [];
    list.push({ host, epoch, spec, isFrozen: false });
    this.#running.set(vmId, list);
    this.#checkOnce(vmId);
    this.#checkCapacity(host);
  }

  ended(host: number, vmId: string, why: string): void {
    const list = this.#running.get(vmId) ?? [];
    const left = list.filter((running) => running.host !== host);
    if (left.length === list.length) return;
    this.#world.note(host, `vm ${vmId.slice(-4)} ends: ${why}`);
    if (left.length === 0) this.#running.delete(vmId);
    else this.#running.set(vmId, left);
  }

  freeze(host: number, isFrozen: boolean): void {
    for (const [vmId, list] of this.#running) {
      for (const running of list) if (running.host === host) running.isFrozen = isFrozen;
      this.#checkOnce(vmId);
    }
  }

  /** Where the VM executes now. */
  where(vmId: string): number | undefined {
    return this.#running.get(vmId)?.find(({ isFrozen }) => !isFrozen)?.host;
  }

  /** What runs on that machine, apart by whether it sleeps. */
  on(host: number): { readonly executing: string[]; readonly frozen: string[] } {
    const executing: string[] = [];
    const frozen: string[] = [];
    for (const [vmId, list] of this.#running) {
      for (const running of list) {
        if (running.host === host) (running.isFrozen ? frozen : executing).push(vmId);
      }
    }
    return { executing, frozen };
  }

  #checkOnce(vmId: string): void {
    const list = (this.#running.get(vmId) ?? []).filter(({ isFrozen }) => !isFrozen);
    if (list.length < 2) return;
    const where = list.map(({ host, epoch }) => `n${host} (epoch ${epoch})`).join(" and ");
    violated("a VM runs at most once", `vm ${vmId} runs twice: on ${where}`);
  }

  #checkCapacity(host: number): void {
    const capacity = this.#capacities.get(host);
    if (capacity === undefined) return;
    const used = { vcpus: 0, memoryBytes: 0, diskBytes: 0 };
    for (const list of this.#running.values()) {
      for (const running of list) {
        if (running.host !== host) continue;
        used.vcpus += running.spec.vcpus;
        used.memoryBytes += running.spec.memoryBytes;
        used.diskBytes += running.spec.diskBytes;
      }
    }
    for (const key of ["vcpus", "memoryBytes", "diskBytes"] as const) {
      if (used[key] > capacity[key]) {
        violated("capacity", `n${host} runs ${used[key]} ${key} and has ${capacity[key]}`);
      }
    }
  }
}
