/**
 * The standard riscv64 board. Devices lie where QEMU's virt machine has them, so that software which knows
 * that machine by heart runs too.
 *
 *   0x0010_0000 finisher   0x0200_0000 aclint   0x1000_0000 uart0, source 10
 *   0x0010_1000 rtc0, 11   0x0c00_0000 plic     0x1000_1000 + n * 0x1000 virtio n, source 1 + n
 */

import { assert } from "@blixard/std";
import { createBus, type BusSlot, type MachineBus } from "../bus.ts";
import { Aclint } from "../devices/aclint/device.ts";
import { Finisher } from "../devices/finisher/device.ts";
import { GoldfishRtc } from "../devices/goldfish-rtc/device.ts";
import { Plic } from "../devices/plic/device.ts";
import { Uart16550 } from "../devices/uart16550/device.ts";
import {
  createVirtioBlk,
  type BlockBackend,
  type DiskOptions,
} from "../devices/virtio-blk/device.ts";
import {
  createVirtioConsole,
  type ConsoleBackend,
  type ConsolePortOptions,
} from "../devices/virtio-console/device.ts";
import type { VirtioMmio } from "../devices/virtio-mmio/device.ts";
import { createVirtioRng, type RngBackend } from "../devices/virtio-rng/device.ts";
import { TIMEBASE_HZ } from "../limits.ts";
import type { DeviceEffect, GuestMemory } from "../types.ts";
import type { DeviceDescription } from "./tree.ts";

/** Name of the console port of the guest's agent, and its number. */
export const AGENT_PORT = { name: "blixard.agent.0", port: 1 } as const;

const FINISHER_BASE = 0x10_0000;
const RTC_BASE = 0x10_1000;
const ACLINT_BASE = 0x200_0000;
const PLIC_BASE = 0xc00_0000;
const UART_BASE = 0x1000_0000;
const VIRTIO_BASE = 0x1000_1000;
const VIRTIO_STRIDE = 0x1000;
const VIRTIO_SLOTS = 8;
const UART_SOURCE = 10;
const RTC_SOURCE = 11;
const PLIC_SOURCES = 95;

export interface BoardOptions {
  readonly memory: GuestMemory;
  readonly harts: number;
  /** Disks vda, vdb ...; at most six. */
  readonly disks: readonly DiskOptions[];
  /** Default: port 0 a terminal (hvc0), port 1 the agent's. */
  readonly consolePorts?: readonly ConsolePortOptions[];
  /** Wall-clock nanoseconds since 1970 at guest time zero. */
  readonly epochNs: bigint;
  nowNs(): bigint;
  /** Collects the effect for later: it must not call back into the bus. */
  onEffect(effect: DeviceEffect): void;
}

export interface Board {
  readonly bus: MachineBus;
  readonly uart: Uart16550;
  readonly plic: Plic;
  readonly aclint: Aclint;
  readonly rtc: GoldfishRtc;
  readonly finisher: Finisher;
  /** Named disk0, disk1 ... in effects and inputs. */
  readonly disks: readonly VirtioMmio<BlockBackend>[];
  readonly console: VirtioMmio<ConsoleBackend>;
  readonly rng: VirtioMmio<RngBackend>;
  /** For the device tree: pass it and `timebaseHz` to bootLinux. */
  readonly descriptions: readonly DeviceDescription[];
  readonly timebaseHz: number;
}

const DEFAULT_PORTS: readonly ConsolePortOptions[] = [
  { console: true },
  { console: false, name: AGENT_PORT.name },
];

/** Device names: uart0, plic, aclint, rtc0, finisher, disk0..., console, rng. */
export function createBoard(options: BoardOptions): Board {
  const { memory, harts } = options;
  assert(options.disks.length <= VIRTIO_SLOTS - 2, "a board has room for six disks");
  const uart = new Uart16550({ name: "uart0", base: UART_BASE });
  const plic = new Plic({ name: "plic", base: PLIC_BASE, harts, sources: PLIC_SOURCES });
  const aclint = new Aclint({ name: "aclint", base: ACLINT_BASE, harts, timebaseHz: TIMEBASE_HZ });
  const rtc = new GoldfishRtc({ name: "rtc0", base: RTC_BASE, epochNs: options.epochNs });
  const finisher = new Finisher({ name: "finisher", base: FINISHER_BASE });
  const disks = options.disks.map((disk, slot) =>
    createVirtioBlk({ ...slotOptions(`disk${slot}`, slot), disk }),
  );
  const console = createVirtioConsole({
    ...slotOptions("console", disks.length),
    ports: options.consolePorts ?? DEFAULT_PORTS,
  });
  const rng = createVirtioRng(slotOptions("rng", disks.length + 1));
  const virtio = [...disks, console, rng];
  const devices: BusSlot[] = [
    { device: uart, sources: [UART_SOURCE] },
    // The M-mode interrupts of the ACLINT end here: the SBI lives in the processor.
    { device: aclint, sources: [] },
    { device: rtc, sources: [RTC_SOURCE] },
    { device: finisher, sources: [] },
    ...virtio.map((device, slot) => ({ device, sources: [1 + slot] })),
  ];
  const bus = createBus({
    memory,
    devices,
    plic,
    nowNs: () => options.nowNs(),
    onEffect: (effect) => options.onEffect(effect),
  });
  return {
    bus,
    uart,
    plic,
    aclint,
    rtc,
    finisher,
    disks,
    console,
    rng,
    timebaseHz: TIMEBASE_HZ,
    descriptions: [
      { kind: "finisher", ...placed(finisher) },
      { kind: "rtc", ...placed(rtc), irq: RTC_SOURCE },
      { kind: "aclint", ...placed(aclint) },
      { kind: "plic", ...placed(plic), sources: PLIC_SOURCES },
      { kind: "uart", ...placed(uart), irq: UART_SOURCE },
      ...virtio.map(
        (device, slot) => ({ kind: "virtio", ...placed(device), irq: 1 + slot }) as const,
      ),
    ],
  };
}

function slotOptions(name: string, slot: number): { readonly name: string; readonly base: number } {
  return { name, base: VIRTIO_BASE + slot * VIRTIO_STRIDE };
}

function placed(device: { readonly base: number; readonly sizeBytes: number }): {
  readonly base: number;
  readonly sizeBytes: number;
} {
  return { base: device.base, sizeBytes: device.sizeBytes };
}
