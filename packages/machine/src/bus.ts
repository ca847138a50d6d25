/** The physical address space outside RAM: which device answers, and which wire its interrupt is. */

import { assert, err, failure, fail, ok, type FailureOf, type Result } from "@blixard/std";
import { openSaved } from "./devices/saved.ts";
import type {
  AccessSize,
  Bus,
  Device,
  DeviceContext,
  DeviceEffect,
  DeviceInput,
  GuestMemory,
} from "./types.ts";

/** A device that gathers output can be asked to give it out. */
interface Flushable extends Device {
  flush(context: DeviceContext): void;
}

/** The interrupt controller as the bus needs it: a device with wires in and one wire out for each hart. */
export interface InterruptController extends Device {
  setLevel(source: number, level: boolean): void;
  externalInterrupt(hart: number): boolean;
}

export interface BusSlot {
  readonly device: Device;
  /** Source number at the interrupt controller for each line; lines beyond it are not connected. */
  readonly sources: readonly number[];
}

export interface BusOptions {
  readonly memory: GuestMemory;
  /** Without the interrupt controller, which is added by itself. */
  readonly devices: readonly BusSlot[];
  readonly plic: InterruptController;
  /** Guest time since power-on. */
  nowNs(): bigint;
  /** Collects the effect for later: it must not call back into the bus. */
  onEffect(effect: DeviceEffect): void;
}

/** What the shell of a machine does with the devices, beside what the processor does. */
export interface MachineBus extends Bus {
  /** Hands an input to a device and whatever it causes to `onEffect`. */
  input(device: string, input: DeviceInput): Result<void, FailureOf<"NotFound">>;
  /** Gives out the output that devices still gather; before a pause, a snapshot or the end. */
  flush(): void;
  /** Plain data of all devices. */
  save(): SavedDevices;
  /** Throws `Corrupt`, then the devices are in no state to go on. */
  load(saved: unknown): void;
  contextOf(device: string): DeviceContext | undefined;
}

export interface SavedDevices {
  readonly device: "bus";
  readonly version: 1;
  readonly devices: readonly { readonly name: string; readonly state: unknown }[];
}

interface Attached {
  readonly device: Device;
  readonly base: number;
  readonly end: number;
  readonly context: DeviceContext;
}

const KIND = "bus";
const VERSION = 1;
const DEVICES_MAX = 64;
const NOTHING = { ok: false, value: 0n } as const;

/** Throws AssertionError when devices overlap each other or RAM, or share a name. */
export function createBus(options: BusOptions): MachineBus {
  return new DeviceBus(options);
}

class DeviceBus implements MachineBus {
  readonly #plic: InterruptController;
  /** By base address. */
  readonly #attached: readonly Attached[];
  readonly #nowNs: () => bigint;
  readonly #onEffect: (effect: DeviceEffect) => void;
  /** The device of the last access: drivers talk to one device at a time. */
  #last: Attached | undefined;

  constructor(options: BusOptions) {
    const { memory, plic } = options;
    this.#plic = plic;
    this.#nowNs = () => options.nowNs();
    this.#onEffect = (effect) => options.onEffect(effect);
    const slots = [...options.devices, { device: plic, sources: [] }];
    assert(slots.length <= DEVICES_MAX, `at most ${DEVICES_MAX} devices`);
    this.#attached = slots
      .map(({ device, sources }) => ({
        device,
        base: device.base,
        end: device.base + device.sizeBytes,
        context: this.#contextFor(memory, sources),
      }))
      .sort((a, b) => a.base - b.base);
    checkLayout(memory, this.#attached);
  }

  read(address: number, size: AccessSize): { readonly ok: boolean; readonly value: bigint } {
    const found = this.#find(address, size);
    if (found === undefined) return NOTHING;
    return { ok: true, value: found.device.read(address - found.base, size, found.context) };
  }

  write(address: number, size: AccessSize, value: bigint): boolean {
    const found = this.#find(address, size);
    if (found === undefined) return false;
    found.device.write(address - found.base, size, value, found.context);
    return true;
  }

  externalInterrupt(hart: number): boolean {
    return this.#plic.externalInterrupt(hart);
  }

  nextTimerNs(): bigint | undefined {
    let next: bigint | undefined;
    for (const { device } of this.#attached) {
      const own = device.nextTimerNs();
      if (own !== undefined && (next === undefined || own < next)) next = own;
    }
    return next;
  }

  tick(): void {
    const now = this.#nowNs();
    for (const { device, context } of this.#attached) {
      const due = device.nextTimerNs();
      if (due !== undefined && due <= now) device.tick(context);
    }
  }

  input(device: string, input: DeviceInput): Result<void, FailureOf<"NotFound">> {
    const found = this.#named(device);
    if (found === undefined) {
      const data = { kind: "device", name: device };
      return err(failure("NotFound", data, `this machine has no device ${device}`));
    }
    found.device.input(input, found.context);
    return ok(undefined);
  }

  flush(): void {
    for (const { device, context } of this.#attached) {
      if (isFlushable(device)) device.flush(context);
    }
  }

  contextOf(device: string): DeviceContext | undefined {
    return this.#named(device)?.context;
  }

  save(): SavedDevices {
    const devices = this.#attached.map(({ device }) => ({
      name: device.name,
      state: device.save(),
    }));
    return { device: KIND, version: VERSION, devices };
  }

  load(saved: unknown): void {
    const states = new Map<string, unknown>();
    openSaved(saved, KIND, VERSION).list("devices", DEVICES_MAX, (item) => {
      states.set(item.text("name"), item.unknown("state"));
    });
    for (const { device } of this.#attached) {
      const { name } = device;
      if (!states.has(name)) {
        const data = { what: "saved devices", where: name };
        fail("Corrupt", data, `the saved machine has no device ${name}`);
      }
      device.load(states.get(name));
      states.delete(name);
    }
    const [extra] = states.keys();
    if (extra !== undefined) {
      const data = { what: "saved devices", where: extra };
      fail("Corrupt", data, `this machine has no device ${extra} as the saved one has`);
    }
  }

  #contextFor(memory: GuestMemory, sources: readonly number[]): DeviceContext {
    return {
      memory,
      nowNs: this.#nowNs,
      setIrq: (line, level) => {
        const source = sources[line];
        if (source !== undefined) this.#plic.setLevel(source, level);
      },
      emit: (effect) => {
        // Nobody collects output after the power is off: the last words come first.
        if (effect.kind === "power") this.flush();
        this.#onEffect(effect);
      },
    };
  }

  #named(name: string): Attached | undefined {
    return this.#attached.find(({ device }) => device.name === name);
  }

  /** The device that holds the whole of an aligned access. */
  #find(address: number, size: number): Attached | undefined {
    if (address % size !== 0) return undefined;
    const last = this.#last;
    if (last !== undefined && address >= last.base && address + size <= last.end) return last;
    let low = 0;
    let high = this.#attached.length - 1;
    while (low <= high) {
      const middle = (low + high) >>> 1;
      const at = this.#attached[middle];
      if (at === undefined) return undefined;
      if (address < at.base) high = middle - 1;
      else if (address >= at.end) low = middle + 1;
      else if (address + size > at.end) return undefined;
      else {
        this.#last = at;
        return at;
      }
    }
    return undefined;
  }
}

function isFlushable(device: Device): device is Flushable {
  return "flush" in device && typeof device.flush === "function";
}

function checkLayout(memory: GuestMemory, attached: readonly Attached[]): void {
  const names = new Set<string>();
  let end = 0;
  for (const { device, base, end: deviceEnd } of attached) {
    assert(Number.isSafeInteger(base) && base >= end, `device ${device.name} overlaps another`);
    assert(
      deviceEnd <= memory.base || base >= memory.base + memory.sizeBytes,
      `device ${device.name} overlaps RAM`,
    );
    assert(!names.has(device.name), `two devices are named ${device.name}`);
    names.add(device.name);
    end = deviceEnd;
  }
}
