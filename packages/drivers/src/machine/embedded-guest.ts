/**
 * A guest in this process: the pure machine, and around it everything that is not pure. The guest runs in
 * slices; between two of them the event loop brings input, and whoever may stop the guest is asked.
 *
 *   paused --start--> [ slice -> effects -> inputs -> wait while idle ]* --power, deadline, failure--> ended
 */

import { randomFillSync } from "node:crypto";
import type { Readable, Writable } from "node:stream";
import {
  AGENT_PORT,
  type Board,
  bootLinux,
  createBoard,
  type DeviceEffect,
  type DiskOptions,
  type HartDescription,
  Machine,
} from "@blixard/machine";
import { assert, BlixardError, type Counters, failure, type VmMachineStats } from "@blixard/std";
import { PanicWatch } from "../console/panic.ts";
import { LIMITS } from "../limits.ts";
import type { RawDisk } from "./embedded-disk.ts";
import { CpuLimit } from "./embedded-limit.ts";
import { type Doing, GuestMeter, groupsOf } from "./embedded-meter.ts";
import { Inlet, Outlet } from "./embedded-ports.ts";

/** What the interpreter implements, for the guest's device tree. */
const HART: HartDescription = {
  letters: "imafdc",
  extensions: ["zicbom", "zicboz", "zicsr", "zifencei", "zba", "zbb", "zbs", "sstc"],
  mmu: "sv57",
  cacheBlockBytes: 64,
};

type BlockEffect = DeviceEffect & { kind: "blockRead" | "blockWrite" | "blockFlush" };

const SEED_BYTES = 64;
const PAGE_BYTES = 4096;
const UART = "uart0";
const CONSOLE = "console";

export type GuestEnd =
  | { readonly kind: "shutdown" }
  /** `admit` said no. */
  | { readonly kind: "leaseExpired" }
  | { readonly kind: "died"; readonly reason: string };

export interface GuestImage {
  /** An unpacked `Image`. */
  readonly kernel: Uint8Array;
  readonly initrd?: Uint8Array;
  readonly cmdline: string;
}

export interface GuestDisk extends DiskOptions {
  readonly disk: RawDisk;
}

export interface EmbeddedGuestOptions {
  readonly image: GuestImage;
  readonly memoryBytes: number;
  readonly disks: readonly GuestDisk[];
  /** 1000: a whole core; absent: as much as there is. */
  readonly cpuMillicores?: number;
  /** Whether hot code is compiled; absent: as the machine does by itself. */
  readonly jit?: "off" | "on";
  /** Compiled regions of other runs; with it, those of this one can be had. */
  readonly kept?: { readonly bytes?: Uint8Array };
  readonly consoleOut: Writable;
  readonly consoleIn?: Readable;
  /** The stream of the guest's agent, both ways. */
  readonly agent?: Readable & Writable;
  /** Asked before every slice: may the guest run on? */
  readonly admit: () => boolean;
  /** Called once, outside of any slice. Nothing runs any more. */
  readonly onEnd: (end: GuestEnd) => void;
}

export class EmbeddedGuest {
  readonly #options: Omit<EmbeddedGuestOptions, "image" | "kept">;
  readonly #machine: Machine;
  readonly #board: Board;
  readonly #outlets: Outlet[] = [];
  readonly #inlets = new Map<string, Inlet>();
  readonly #console: Outlet;
  readonly #agent: Outlet | undefined;
  readonly #panic = new PanicWatch();
  readonly #meter = new GuestMeter();
  readonly #limit: CpuLimit | undefined;
  /** Effects that feed the guest: they wait for the end of the slice. */
  #effects: DeviceEffect[] = [];
  #started = false;
  #ended = false;
  #startedNs = 0n;
  #turn: NodeJS.Immediate | undefined;
  #timer: NodeJS.Timeout | undefined;
  #power: "off" | "reboot" | "crashed" | undefined;

  /** Puts the kernel into memory. Errors: what bootLinux says, as BlixardError. */
  constructor(options: EmbeddedGuestOptions) {
    // The image is in the guest's memory from here on: nobody keeps a second copy of it.
    const { image, kept, ...rest } = options;
    this.#options = rest;
    const { cpuMillicores } = options;
    this.#limit = cpuMillicores === undefined ? undefined : new CpuLimit(cpuMillicores);
    let board: Board | undefined;
    const onEffect = (effect: DeviceEffect): void => this.#effect(effect);
    this.#machine = new Machine({
      ramBytes: options.memoryBytes,
      harts: 1,
      jit:
        options.jit === "off" ? "off" : { nowMs: () => performance.now(), ...(kept && { kept }) },
      timeMode: { kind: "free", nowNs: () => this.#nowNs() },
      createBus: (ports) => {
        board = createBoard({
          memory: ports.memory,
          harts: 1,
          disks: rest.disks,
          epochNs: BigInt(Date.now()) * 1_000_000n,
          nowNs: () => ports.nowNs(),
          onEffect,
        });
        return board.bus;
      },
      onEffect,
    });
    assert(board !== undefined, "the machine made its bus");
    this.#board = board;
    this.#boot(image);
    this.#console = this.#outlet(options.consoleOut);
    this.#agent = options.agent === undefined ? undefined : this.#outlet(options.agent);
    this.#connectInputs();
  }

  /** Lets the guest run its first instruction. */
  start(): void {
    assert(!this.#started, "a guest starts once");
    this.#started = true;
    this.#startedNs = process.hrtime.bigint();
    this.#meter.enter("busy", 0);
    this.#wake();
  }

  /** Ends the guest between two slices, without a word to it. */
  end(end: GuestEnd): void {
    if (this.#ended) return;
    this.#ended = true;
    clearImmediate(this.#turn);
    clearTimeout(this.#timer);
    this.#options.onEnd(end);
  }

  /** Compiled regions for other machines, once; undefined when there are no new ones. */
  keptRegions(): Uint8Array | undefined {
    return this.#machine.keptRegions();
  }

  get instructions(): number {
    return this.#machine.instructions;
  }

  stats(): VmMachineStats {
    const counters: Record<string, Record<string, number>> = groupsOf(this.#machine.stats());
    const add = (group: string, more: Counters): void => {
      counters[group] = { ...counters[group], ...more };
    };
    const { memoryBytes } = this.#options;
    const touchedBytes = (counters["memory"]?.["touchedPages"] ?? 0) * PAGE_BYTES;
    add("memory", { ramBytes: memoryBytes, touchedBytes });
    const { disks, console, rng } = this.#board;
    for (const device of [...disks, console, rng]) add(device.name, device.stats());
    for (const [group, more] of this.#meter.counters) add(group, more);
    return { execution: this.#meter.execution(this.#machine.instructions), counters };
  }

  #nowNs(): bigint {
    return this.#started ? process.hrtime.bigint() - this.#startedNs : 0n;
  }

  #boot(image: GuestImage): void {
    const board = this.#board;
    const booted = bootLinux({
      ...image,
      memory: this.#machine.memory,
      devices: board.descriptions,
      harts: 1,
      hart: HART,
      timebaseHz: board.timebaseHz,
      rngSeed: randomFillSync(new Uint8Array(SEED_BYTES)),
    });
    if (!booted.ok) {
      const failed = booted.error;
      if (failed.code !== "KernelCompressed") throw new BlixardError(failed);
      const what = `a kernel packed with ${failed.data.compression}`;
      const hint = "unpack it first: this host reads Image and Image.gz";
      throw new BlixardError(failure("Unsupported", { what }, `Cannot boot ${what}`, hint));
    }
    this.#machine.setBoot(booted.value);
  }

  #outlet(sink: Writable): Outlet {
    const outlet = new Outlet(sink, () => this.#wake());
    this.#outlets.push(outlet);
    return outlet;
  }

  #connectInputs(): void {
    const { consoleIn, agent } = this.#options;
    if (consoleIn !== undefined) {
      this.#connect(consoleIn, UART, 0, (data) => ({ kind: "serialInput", data }));
    }
    if (agent !== undefined) {
      const { port } = AGENT_PORT;
      this.#connect(agent, CONSOLE, port, (data) => ({ kind: "consoleInput", port, data }));
      this.#input(CONSOLE, { kind: "hostConnected", port, connected: true });
    }
  }

  #connect(
    source: Readable,
    device: string,
    port: number,
    input: (data: Uint8Array) => Parameters<Board["bus"]["input"]>[1],
  ): void {
    const name = device === CONSOLE ? `port${port}BytesIn` : "bytesIn";
    const deliver = (data: Uint8Array): void => {
      this.#meter.count(device, name, data.length);
      this.#input(device, input(data));
    };
    this.#inlets.set(`${device}.${port}`, new Inlet(source, deliver, () => this.#wake()));
  }

  #input(device: string, input: Parameters<Board["bus"]["input"]>[1]): void {
    const given = this.#board.bus.input(device, input);
    assert(given.ok, `the board has a device ${device}`);
  }

  /** Something happened: the guest, if it sleeps, looks at it. */
  #wake(): void {
    if (!this.#started || this.#ended || this.#turn !== undefined) return;
    clearTimeout(this.#timer);
    this.#turn = setImmediate(() => this.#run());
  }

  #run(): void {
    this.#turn = undefined;
    if (!this.#options.admit()) return this.end({ kind: "leaseExpired" });
    if (this.#outlets.some(({ blocked }) => blocked)) return this.#rest("held");
    const waitMs = this.#limit?.waitMs() ?? 0;
    if (waitMs > 0) {
      this.#timer = setTimeout(() => this.#wake(), waitMs);
      return this.#rest("throttled");
    }
    this.#meter.enter("busy", this.#machine.instructions);
    for (const inlet of this.#inlets.values()) inlet.flush();
    const stop = this.#machine.run(LIMITS.embeddedSliceInstructions);
    this.#meter.count("exits", stop.kind);
    this.#settleEffects();
    const power = stop.kind === "power" ? stop.action : this.#power;
    if (power !== undefined) return this.end(this.#endOf(power));
    if (stop.kind !== "idle") return this.#wake();
    for (const inlet of this.#inlets.values()) inlet.flush();
    this.#sleep(stop.untilNs);
  }

  #rest(doing: Doing): void {
    this.#meter.enter(doing, this.#machine.instructions);
  }

  /** Until the guest's next timer; inputs wake it earlier. */
  #sleep(untilNs: bigint | undefined): void {
    if (this.#ended || this.#turn !== undefined) return;
    if (this.#board.bus.externalInterrupt(0)) return this.#wake();
    if (untilNs === undefined) return this.#rest("idle");
    const leftMs = Number(untilNs - this.#nowNs()) / 1e6;
    // Timers count whole milliseconds; what is nearer than one is waited for by looking.
    if (leftMs < 1) return this.#wake();
    this.#rest("idle");
    const delayMs = Math.min(Math.floor(leftMs), LIMITS.embeddedSleepMs);
    this.#timer = setTimeout(() => this.#wake(), delayMs);
  }

  /** Called while the guest runs: nothing here may reach back into the machine. */
  #effect(effect: DeviceEffect): void {
    switch (effect.kind) {
      case "serialOutput":
        this.#panic.push(effect.data);
        this.#meter.count(effect.device, "bytesOut", effect.data.length);
        this.#console.write(effect.data);
        return this.#hold();
      case "consoleOutput":
        this.#meter.count(CONSOLE, `port${effect.port}BytesOut`, effect.data.length);
        if (effect.port === AGENT_PORT.port) this.#agent?.write(effect.data);
        else this.#console.write(effect.data);
        return this.#hold();
      case "consolePort":
        return;
      case "inputRoom":
      case "randomNeeded":
        this.#effects.push(effect);
        return;
      case "power":
        this.#power = effect.action;
        return this.#machine.requestStop();
      case "blockRead":
      case "blockWrite":
      case "blockFlush":
        return this.#block(effect);
    }
  }

  /** A guest that prints faster than anybody reads is stopped in the middle of its slice. */
  #hold(): void {
    if (this.#outlets.some(({ blocked }) => blocked)) this.#machine.requestStop();
  }

  #settleEffects(): void {
    // Answers may cause more of them.
    while (this.#effects.length > 0) {
      const effects = this.#effects;
      this.#effects = [];
      for (const effect of effects) {
        if (effect.kind === "inputRoom") {
          this.#inlets.get(`${effect.device}.${effect.port}`)?.grant(effect.bytes);
        } else if (effect.kind === "randomNeeded") {
          const data = randomFillSync(new Uint8Array(effect.bytes));
          this.#input(effect.device, { kind: "random", token: effect.token, data });
        }
      }
    }
  }

  #block(effect: BlockEffect): void {
    const { device, token } = effect;
    const disk = this.#options.disks[Number(device.slice("disk".length))]?.disk;
    assert(disk !== undefined, `the board has a disk ${device}`);
    const work =
      effect.kind === "blockRead"
        ? disk.read(effect.offset, effect.length)
        : effect.kind === "blockWrite"
          ? disk.write(effect.offset, effect.data)
          : disk.flush();
    void work.then((done) => {
      if (this.#ended) return;
      this.#countBlock(effect, done.error !== undefined);
      this.#input(device, { kind: "blockDone", token, ...done });
      this.#wake();
    });
  }

  #countBlock(effect: BlockEffect, failed: boolean): void {
    const { device, kind } = effect;
    if (failed) return this.#meter.count(device, "errors");
    if (kind === "blockFlush") return this.#meter.count(device, "flushes");
    const bytes = kind === "blockRead" ? effect.length : effect.data.length;
    this.#meter.count(device, kind === "blockRead" ? "reads" : "writes");
    this.#meter.count(device, kind === "blockRead" ? "readBytes" : "writtenBytes", bytes);
  }

  #endOf(power: "off" | "reboot" | "crashed"): GuestEnd {
    if (power === "off") return { kind: "shutdown" };
    const panic = this.#panic.found;
    if (panic !== undefined)
      return { kind: "died", reason: `the guest's kernel panicked: ${panic}` };
    const how = power === "reboot" ? "reset itself" : "ended itself with a failure";
    return { kind: "died", reason: `the guest ${how}` };
  }
}
