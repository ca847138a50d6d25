/**
 * The virtio transport over memory-mapped registers (virtio 1.2, section 4.2), version 2: modern drivers only.
 *
 *   reset -> ACKNOWLEDGE -> DRIVER -> features -> FEATURES_OK -> queues -> DRIVER_OK -> at work
 *   at work -> a bad ring -> DEVICE_NEEDS_RESET, silent until status 0 is written
 */

import { assert, present } from "@blixard/std";
import type {
  AccessSize,
  Device,
  DeviceContext,
  DeviceEffect,
  DeviceInput,
  GuestMemory,
} from "../../types.ts";
import { CHAINS_PER_RUN_MAX } from "../limits.ts";
import type { VirtioBackend, VirtioIo } from "./backend.ts";
import type { Chain } from "./chain.ts";
import { freshTransport, loadTransport, saveTransport, type TransportState } from "./persist.ts";
import { queueFault, Virtqueue } from "./queue.ts";

const MAGIC = 0x74726976;
const VERSION = 2;
/** "BLXD": the driver may show it, nothing depends on it. */
const VENDOR = 0x44584c42;

const REG = {
  magic: 0x000,
  version: 0x004,
  deviceId: 0x008,
  vendorId: 0x00c,
  deviceFeatures: 0x010,
  deviceFeaturesSelect: 0x014,
  driverFeatures: 0x020,
  driverFeaturesSelect: 0x024,
  queueSelect: 0x030,
  queueSizeMax: 0x034,
  queueSize: 0x038,
  queueReady: 0x044,
  queueNotify: 0x050,
  interruptStatus: 0x060,
  interruptAck: 0x064,
  status: 0x070,
  descriptorsLow: 0x080,
  descriptorsHigh: 0x084,
  availableLow: 0x090,
  availableHigh: 0x094,
  usedLow: 0x0a0,
  usedHigh: 0x0a4,
  sharedMemoryFirst: 0x0b0,
  sharedMemoryLast: 0x0bc,
  configGeneration: 0x0fc,
  config: 0x100,
} as const;

export const STATUS = {
  acknowledge: 1,
  driver: 2,
  driverOk: 4,
  featuresOk: 8,
  needsReset: 64,
  failed: 128,
} as const;

export const FEATURE = { indirect: 28, eventIndex: 29, version1: 32 } as const;
const TRANSPORT_FEATURES =
  (1n << BigInt(FEATURE.indirect)) |
  (1n << BigInt(FEATURE.eventIndex)) |
  (1n << BigInt(FEATURE.version1));

const INTERRUPT_USED = 1;
const INTERRUPT_CONFIG = 2;

export interface VirtioMmioOptions {
  readonly name: string;
  readonly base: number;
}

/** Interrupt line 0. `Backend` is what the device does behind the transport. */
export class VirtioMmio<Backend extends VirtioBackend = VirtioBackend> implements Device {
  readonly name: string;
  readonly base: number;
  readonly sizeBytes = 0x1000;
  readonly backend: Backend;
  readonly #features: bigint;
  #state: TransportState;
  /** Ready queues at work, by index; they hold nothing that #state does not. */
  #working: (Virtqueue | undefined)[] = [];
  /** Queues whose rest waits for the next tick. */
  #deferred = new Set<number>();
  /** The backend has not spoken to its shell since power-on or load. */
  #resume = true;
  readonly #running: Run;
  /** Why the ring was refused, for people. Not part of the state. */
  #brokenReason: string | undefined;
  /** Since power-on, for people. Not part of the state. */
  #interrupts = 0;
  readonly #notified: number[];
  readonly #returned: number[];

  constructor(options: VirtioMmioOptions, backend: Backend) {
    this.name = options.name;
    this.base = options.base;
    this.backend = backend;
    this.#features = backend.features | TRANSPORT_FEATURES;
    this.#state = freshTransport(backend.queueSizes.length);
    this.#notified = backend.queueSizes.map(() => 0);
    this.#returned = backend.queueSizes.map(() => 0);
    this.#running = this.#makeRun();
  }

  /** What it has done since power-on: `queue0Notifications`, `queue0Requests` (returned), `interrupts`. */
  stats(): Readonly<Record<string, number>> {
    const out: Record<string, number> = { interrupts: this.#interrupts };
    this.#notified.forEach((count, queue) => (out[`queue${queue}Notifications`] = count));
    this.#returned.forEach((count, queue) => (out[`queue${queue}Requests`] = count));
    return out;
  }

  /** Why the device asked to be reset, if it does. */
  get brokenReason(): string | undefined {
    return this.#brokenReason;
  }

  read(offset: number, size: AccessSize): bigint {
    if (offset >= REG.config) return this.#readConfig(offset - REG.config, size);
    if (size !== 4) return 0n;
    const state = this.#state;
    switch (offset) {
      case REG.magic:
        return BigInt(MAGIC);
      case REG.version:
        return BigInt(VERSION);
      case REG.deviceId:
        return BigInt(this.backend.deviceId);
      case REG.vendorId:
        return BigInt(VENDOR);
      case REG.deviceFeatures: {
        if (state.deviceFeaturesSelect > 1) return 0n;
        return (this.#features >> BigInt(32 * state.deviceFeaturesSelect)) & 0xffff_ffffn;
      }
      case REG.queueSizeMax:
        return BigInt(this.backend.queueSizes[state.queueSelect] ?? 0);
      case REG.queueReady:
        return state.queues[state.queueSelect]?.ready === true ? 1n : 0n;
      case REG.interruptStatus:
        return BigInt(state.interruptStatus);
      case REG.status:
        return BigInt(state.status);
      case REG.configGeneration:
        return BigInt(state.configGeneration);
      default: {
        // A shared memory region that does not exist has length and base -1.
        const shared = offset >= REG.sharedMemoryFirst && offset <= REG.sharedMemoryLast;
        return shared ? 0xffff_ffffn : 0n;
      }
    }
  }

  write(offset: number, size: AccessSize, value: bigint, context: DeviceContext): void {
    // The configuration spaces of these devices have no field that a driver may write.
    if (size !== 4 || offset >= REG.config) return;
    const word = Number(value & 0xffff_ffffn);
    const state = this.#state;
    switch (offset) {
      case REG.deviceFeaturesSelect:
        state.deviceFeaturesSelect = word;
        return;
      case REG.driverFeaturesSelect:
        state.driverFeaturesSelect = word;
        return;
      case REG.driverFeatures:
        this.#writeDriverFeatures(BigInt(word));
        return;
      case REG.queueSelect:
        state.queueSelect = word;
        return;
      case REG.queueNotify:
        if (word < this.#notified.length) this.#notified[word] = (this.#notified[word] ?? 0) + 1;
        this.#run(context, (io) => this.#notify(word, io));
        return;
      case REG.interruptAck:
        state.interruptStatus &= ~word;
        context.setIrq(0, state.interruptStatus !== 0);
        return;
      case REG.status:
        this.#writeStatus(word, context);
        return;
      default:
        this.#writeQueue(offset, word, context);
        return;
    }
  }

  input(input: DeviceInput, context: DeviceContext): void {
    this.#run(context, (io) => this.backend.input(input, io));
  }

  nextTimerNs(): bigint | undefined {
    return this.#resume || this.#deferred.size > 0 ? 0n : undefined;
  }

  tick(context: DeviceContext): void {
    const queues = [...this.#deferred];
    this.#deferred.clear();
    this.#run(context, (io) => {
      if (this.#resume) {
        this.#resume = false;
        this.backend.resume(io);
      }
      for (const queue of queues) this.#notify(queue, io);
    });
  }

  save(): unknown {
    return saveTransport(this.#state, this.backend.save());
  }

  load(saved: unknown): void {
    const { state, backend } = loadTransport(saved, this.backend.queueSizes.length);
    this.backend.load(backend);
    this.#state = state;
    this.#working = [];
    this.#brokenReason = undefined;
    this.#resume = true;
    // What was deferred was not saved: looking once into every queue covers it.
    this.#deferred = new Set(state.queues.keys());
  }

  #readConfig(offset: number, size: AccessSize): bigint {
    const config = this.backend.config();
    let value = 0n;
    for (let i = size - 1; i >= 0; i--) value = (value << 8n) | BigInt(config[offset + i] ?? 0);
    return value;
  }

  #writeDriverFeatures(word: bigint): void {
    const state = this.#state;
    if ((state.status & STATUS.featuresOk) !== 0 || state.driverFeaturesSelect > 1) return;
    const shift = BigInt(32 * state.driverFeaturesSelect);
    state.driverFeatures = (state.driverFeatures & ~(0xffff_ffffn << shift)) | (word << shift);
  }

  #writeStatus(word: number, context: DeviceContext): void {
    if (word === 0) {
      this.#reset(context);
      return;
    }
    const state = this.#state;
    let wanted = word & 0xff & ~STATUS.needsReset;
    const acceptable =
      (state.driverFeatures & ~this.#features) === 0n && this.#negotiated(FEATURE.version1);
    if ((state.status & STATUS.featuresOk) === 0 && !acceptable) wanted &= ~STATUS.featuresOk;
    const started = (wanted & ~state.status & STATUS.driverOk) !== 0;
    // Bits only ever get added: a driver takes them back by a reset.
    state.status |= wanted;
    if (!started) return;
    this.#run(context, (io) => {
      for (const queue of state.queues.keys()) this.#notify(queue, io);
    });
  }

  #reset(context: DeviceContext): void {
    this.#state = freshTransport(this.backend.queueSizes.length);
    this.#working = [];
    this.#deferred.clear();
    this.#brokenReason = undefined;
    context.setIrq(0, false);
    this.#run(context, (io) => this.backend.reset(io));
  }

  #writeQueue(offset: number, word: number, context: DeviceContext): void {
    const queue = this.#state.queues[this.#state.queueSelect];
    if (queue === undefined) return;
    if (offset === REG.queueReady) {
      this.#setReady(this.#state.queueSelect, (word & 1) === 1, context);
      return;
    }
    // A driver must not move a queue that is in use; one that tries changes nothing.
    if (queue.ready) return;
    if (offset === REG.queueSize) queue.size = word & 0xffff;
    else if (offset === REG.descriptorsLow) queue.descriptors = withLow(queue.descriptors, word);
    else if (offset === REG.descriptorsHigh) queue.descriptors = withHigh(queue.descriptors, word);
    else if (offset === REG.availableLow) queue.available = withLow(queue.available, word);
    else if (offset === REG.availableHigh) queue.available = withHigh(queue.available, word);
    else if (offset === REG.usedLow) queue.used = withLow(queue.used, word);
    else if (offset === REG.usedHigh) queue.used = withHigh(queue.used, word);
  }

  #setReady(index: number, ready: boolean, context: DeviceContext): void {
    const queue = this.#state.queues[index];
    if (queue === undefined || queue.ready === ready) return;
    if (!ready) {
      queue.ready = false;
      this.#working[index] = undefined;
      return;
    }
    const fault = queueFault(context.memory, queue, this.backend.queueSizes[index] ?? 0);
    if (fault !== undefined) {
      this.#break(fault, context);
      return;
    }
    queue.ready = true;
    queue.nextAvailable = 0;
    queue.nextUsed = 0;
    queue.signalledUsed = 0;
  }

  #negotiated(bit: number): boolean {
    return ((this.#state.driverFeatures >> BigInt(bit)) & 1n) === 1n;
  }

  #isLive(): boolean {
    const { status } = this.#state;
    const wanted = STATUS.driverOk | STATUS.featuresOk;
    return (status & wanted) === wanted && (status & STATUS.needsReset) === 0;
  }

  #break(reason: string, context: DeviceContext): void {
    if ((this.#state.status & STATUS.needsReset) !== 0) return;
    this.#brokenReason = reason;
    this.#state.status |= STATUS.needsReset;
    if ((this.#state.status & STATUS.driverOk) === 0) return;
    this.#state.configGeneration = (this.#state.configGeneration + 1) >>> 0;
    this.#interrupt(INTERRUPT_CONFIG, context);
  }

  #interrupt(bit: number, context: DeviceContext): void {
    this.#interrupts++;
    this.#state.interruptStatus |= bit;
    context.setIrq(0, true);
  }

  #queue(index: number, memory: GuestMemory): Virtqueue | undefined {
    const queue = this.#state.queues[index];
    if (queue === undefined || !queue.ready) return undefined;
    let working = this.#working[index];
    if (working === undefined) {
      // Again after a load: the saved rings must lie in this machine's RAM too.
      const sizeMax = this.backend.queueSizes[index] ?? 0;
      if (queueFault(memory, queue, sizeMax) !== undefined) return undefined;
      working = new Virtqueue(memory, queue, {
        eventIndex: this.#negotiated(FEATURE.eventIndex),
        indirect: this.#negotiated(FEATURE.indirect),
      });
      this.#working[index] = working;
    }
    return working;
  }

  #notify(index: number, io: VirtioIo): void {
    if (io.live && this.#queue(index, io.memory) !== undefined) this.backend.notify(index, io);
  }

  /** Runs the backend, then interrupts the driver once for all that was pushed. */
  #run(context: DeviceContext, work: (io: VirtioIo) => void): void {
    const run = this.#running;
    run.begin(context);
    work(run);
    run.end();
    let wanted = false;
    for (const queue of run.touched) if (queue.wantsInterrupt()) wanted = true;
    if (wanted) this.#interrupt(INTERRUPT_USED, context);
  }

  /** What a run may do to this transport. One object for all runs: devices are never re-entered. */
  #makeRun(): Run {
    return new Run(this.name, {
      isLive: () => this.#isLive(),
      negotiated: (bit) => this.#negotiated(bit),
      queue: (index, memory) => (this.#isLive() ? this.#queue(index, memory) : undefined),
      defer: (index) => void this.#deferred.add(index),
      returned: (index) => void (this.#returned[index] = (this.#returned[index] ?? 0) + 1),
      broken: (reason, context) => this.#break(reason, context),
    });
  }
}

interface RunHooks {
  isLive(): boolean;
  negotiated(bit: number): boolean;
  /** A ready queue of a live device. */
  queue(index: number, memory: GuestMemory): Virtqueue | undefined;
  defer(index: number): void;
  returned(index: number): void;
  broken(reason: string, context: DeviceContext): void;
}

/** The backend's view of the transport during one access, input or tick. */
class Run implements VirtioIo {
  readonly name: string;
  readonly #hooks: RunHooks;
  #context: DeviceContext | undefined;
  #budget = 0;
  /** Queues that requests were returned to. */
  readonly touched: Virtqueue[] = [];

  constructor(name: string, hooks: RunHooks) {
    this.name = name;
    this.#hooks = hooks;
  }

  begin(context: DeviceContext): void {
    assert(this.#context === undefined, `${this.name} is entered while it is at work`);
    this.#context = context;
    this.#budget = CHAINS_PER_RUN_MAX;
    this.touched.length = 0;
  }

  end(): void {
    this.#context = undefined;
  }

  get #running(): DeviceContext {
    return present(this.#context, "context of a run");
  }

  get memory(): GuestMemory {
    return this.#running.memory;
  }

  get live(): boolean {
    return this.#hooks.isLive();
  }

  negotiated(bit: number): boolean {
    return this.#hooks.negotiated(bit);
  }

  pop(index: number): Chain | undefined {
    const queue = this.#hooks.queue(index, this.memory);
    if (queue === undefined) return undefined;
    if (this.#budget === 0) {
      this.#hooks.defer(index);
      return undefined;
    }
    this.#budget--;
    const popped = queue.pop();
    if (popped === undefined || !("broken" in popped)) return popped;
    this.broken(`queue ${index}: ${popped.broken}`);
    return undefined;
  }

  push(index: number, head: number, written: number): void {
    const queue = this.#hooks.queue(index, this.memory);
    if (queue === undefined) return;
    queue.push(head, written);
    this.#hooks.returned(index);
    if (!this.touched.includes(queue)) this.touched.push(queue);
  }

  defer(index: number): void {
    this.#hooks.defer(index);
  }

  broken(reason: string): void {
    this.#hooks.broken(reason, this.#running);
  }

  emit(effect: DeviceEffect): void {
    this.#running.emit(effect);
  }
}

function withLow(address: bigint, low: number): bigint {
  return (address & 0xffff_ffff_0000_0000n) | BigInt(low);
}

function withHigh(address: bigint, high: number): bigint {
  return (address & 0xffff_ffffn) | (BigInt(high) << 32n);
}
