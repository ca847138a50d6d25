/** The guest's side of virtio-mmio, done as Linux' virtio_mmio and virtio_ring do it. */

import { present } from "@blixard/std";
import type { Device } from "../../types.ts";
import type { Rig } from "./rig.ts";

interface DriverQueue {
  readonly index: number;
  readonly size: number;
  readonly descriptors: number;
  readonly available: number;
  readonly used: number;
  free: number[];
  nextAvailable: number;
  seenUsed: number;
  readonly requests: Map<number, { readonly ids: number[]; readonly parts: readonly Part[] }>;
}

interface Part {
  readonly address: number;
  readonly length: number;
  readonly writable: boolean;
}

/** A returned request: what the device wrote into the writable parts, `written` bytes by its word. */
export interface Completed {
  readonly head: number;
  readonly written: number;
  readonly data: Uint8Array;
}

export interface DriverOptions {
  readonly indirect?: boolean;
  readonly eventIndex?: boolean;
  /** Feature bits of the device type to take. */
  readonly features?: bigint;
}

const REG_STATUS = 0x70;

export class VirtioDriver {
  readonly device: Device;
  readonly rig: Rig;
  readonly #options: DriverOptions;
  #heap: number;
  readonly queues: DriverQueue[] = [];

  constructor(device: Device, rig: Rig, options: DriverOptions = {}) {
    this.device = device;
    this.rig = rig;
    this.#options = options;
    this.#heap = rig.memory.base + 0x1000;
  }

  read32(offset: number): number {
    return Number(this.device.read(offset, 4, this.rig));
  }

  write32(offset: number, value: number): void {
    this.device.write(offset, 4, BigInt(value >>> 0), this.rig);
  }

  get status(): number {
    return this.read32(REG_STATUS);
  }

  allocate(bytes: number, align = 16): number {
    const at = Math.ceil(this.#heap / align) * align;
    this.#heap = at + bytes;
    if (this.#heap > this.rig.memory.base + this.rig.memory.sizeBytes) throw new Error("heap full");
    return at;
  }

  /** Reset, negotiate, set up `queues`, go. Returns false when the device refuses the features. */
  start(queues: readonly number[]): boolean {
    this.write32(REG_STATUS, 0);
    this.queues.length = 0;
    this.write32(REG_STATUS, 1);
    this.write32(REG_STATUS, 3);
    let offered = 0n;
    for (const select of [0, 1]) {
      this.write32(0x14, select);
      offered |= BigInt(this.read32(0x10)) << BigInt(32 * select);
    }
    let wanted = (this.#options.features ?? 0n) | (1n << 32n);
    if (this.#options.indirect === true) wanted |= 1n << 28n;
    if (this.#options.eventIndex === true) wanted |= 1n << 29n;
    for (const select of [0, 1]) {
      this.write32(0x24, select);
      this.write32(0x20, Number(((wanted & offered) >> BigInt(32 * select)) & 0xffff_ffffn));
    }
    this.write32(REG_STATUS, 11);
    if ((this.status & 8) === 0) return false;
    for (const index of queues) this.setUp(index);
    this.write32(REG_STATUS, 15);
    return true;
  }

  setUp(index: number, size?: number): DriverQueue {
    this.write32(0x30, index);
    const count = size ?? this.read32(0x34);
    const queue: DriverQueue = {
      index,
      size: count,
      descriptors: this.allocate(16 * count, 4096),
      available: this.allocate(6 + 2 * count, 2),
      used: this.allocate(6 + 8 * count, 4),
      free: Array.from({ length: count }, (_, id) => count - 1 - id),
      nextAvailable: 0,
      seenUsed: 0,
      requests: new Map(),
    };
    this.write32(0x38, count);
    for (const [offset, address] of [
      [0x80, queue.descriptors],
      [0x90, queue.available],
      [0xa0, queue.used],
    ] as const) {
      this.write32(offset, address % 2 ** 32);
      this.write32(offset + 4, Math.floor(address / 2 ** 32));
    }
    this.write32(0x44, 1);
    this.queues[index] = queue;
    return queue;
  }

  queue(index: number): DriverQueue {
    return present(this.queues[index], `queue ${index}`);
  }

  /** Makes a request available without a kick; the head. */
  add(index: number, out: readonly Uint8Array[], into: readonly number[]): number {
    const queue = this.queue(index);
    const parts: Part[] = [];
    for (const data of out) {
      const address = this.allocate(data.length);
      this.rig.memory.write(address, data);
      parts.push({ address, length: data.length, writable: false });
    }
    for (const length of into) {
      parts.push({ address: this.allocate(length), length, writable: true });
    }
    const { ids, head } = this.#describe(queue, parts);
    queue.requests.set(head, { ids, parts });
    const { view, base } = this.rig.memory;
    const slot = queue.nextAvailable % queue.size;
    view.setUint16(queue.available - base + 4 + 2 * slot, head, true);
    queue.nextAvailable = (queue.nextAvailable + 1) & 0xffff;
    view.setUint16(queue.available - base + 2, queue.nextAvailable, true);
    return head;
  }

  kick(index: number): void {
    this.write32(0x50, index);
  }

  /** Kicks only if the device's avail_event asks for it (vring_need_event). Returns whether it did. */
  kickIfWanted(index: number, before: number): boolean {
    const queue = this.queue(index);
    const { view, base } = this.rig.memory;
    const event = view.getUint16(queue.used - base + 4 + 8 * queue.size, true);
    const after = queue.nextAvailable;
    const wanted = ((after - event - 1) & 0xffff) < ((after - before) & 0xffff);
    if (wanted) this.kick(index);
    return wanted;
  }

  submit(index: number, out: readonly Uint8Array[], into: readonly number[]): number {
    const head = this.add(index, out, into);
    this.kick(index);
    return head;
  }

  /** Takes the interrupt, if there is one, and everything in the used ring. */
  reap(index: number): Completed[] {
    const status = this.read32(0x60);
    if (status !== 0) this.write32(0x64, status);
    const queue = this.queue(index);
    const { view, base } = this.rig.memory;
    const done: Completed[] = [];
    while (queue.seenUsed !== view.getUint16(queue.used - base + 2, true)) {
      const at = queue.used - base + 4 + 8 * (queue.seenUsed % queue.size);
      done.push(this.#complete(queue, view.getUint32(at, true), view.getUint32(at + 4, true)));
      queue.seenUsed = (queue.seenUsed + 1) & 0xffff;
      // used_event: interrupt for the very next buffer.
      view.setUint16(queue.available - base + 4 + 2 * queue.size, queue.seenUsed, true);
    }
    return done;
  }

  #describe(queue: DriverQueue, parts: readonly Part[]): { ids: number[]; head: number } {
    const { view, base } = this.rig.memory;
    const write = (at: number, part: Part, flags: number, next: number): void => {
      view.setBigUint64(at - base, BigInt(part.address), true);
      view.setUint32(at - base + 8, part.length, true);
      view.setUint16(at - base + 12, flags, true);
      view.setUint16(at - base + 14, next, true);
    };
    const flagsOf = (part: Part, last: boolean): number => (last ? 0 : 1) | (part.writable ? 2 : 0);
    if (this.#options.indirect === true) {
      const table = this.allocate(16 * parts.length);
      parts.forEach((part, i) =>
        write(table + 16 * i, part, flagsOf(part, i === parts.length - 1), i + 1),
      );
      const id = present(queue.free.pop(), "a free descriptor");
      const whole = { address: table, length: 16 * parts.length, writable: false };
      write(queue.descriptors + 16 * id, whole, 4, 0);
      return { ids: [id], head: id };
    }
    const ids = parts.map(() => present(queue.free.pop(), "a free descriptor"));
    parts.forEach((part, i) => {
      const last = i === parts.length - 1;
      const at = queue.descriptors + 16 * present(ids[i], "id");
      write(at, part, flagsOf(part, last), last ? 0 : present(ids[i + 1], "id"));
    });
    return { ids, head: present(ids[0], "head") };
  }

  #complete(queue: DriverQueue, head: number, written: number): Completed {
    const request = present(queue.requests.get(head), `request ${head}`);
    queue.requests.delete(head);
    queue.free.push(...request.ids);
    const parts = request.parts.filter((part) => part.writable);
    const data = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) {
      this.rig.memory.read(part.address, data.subarray(at, at + part.length));
      at += part.length;
    }
    return { head, written, data };
  }
}
