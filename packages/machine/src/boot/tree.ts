/** The device tree of the riscv64 machine, with the bindings that Linux reads. */

import { unreachable } from "@blixard/std";
import type { PropertyValue, TreeNode } from "./fdt.ts";

export interface HartDescription {
  /** Extensions in the order of `riscv,isa`: single letters first, then the multi-letter ones. */
  readonly letters: string;
  readonly extensions: readonly string[];
  readonly mmu: "sv39" | "sv48" | "sv57";
  /** Block sizes of Zicbom and Zicboz; needed when `extensions` names them. */
  readonly cacheBlockBytes: number;
}

/** What the tree says of a device on the bus. */
export type DeviceDescription =
  | {
      readonly kind: "uart";
      readonly base: number;
      readonly sizeBytes: number;
      readonly irq: number;
    }
  | {
      readonly kind: "rtc";
      readonly base: number;
      readonly sizeBytes: number;
      readonly irq: number;
    }
  | {
      readonly kind: "virtio";
      readonly base: number;
      readonly sizeBytes: number;
      readonly irq: number;
    }
  | {
      readonly kind: "plic";
      readonly base: number;
      readonly sizeBytes: number;
      readonly sources: number;
    }
  | { readonly kind: "aclint"; readonly base: number; readonly sizeBytes: number }
  | { readonly kind: "finisher"; readonly base: number; readonly sizeBytes: number };

export interface TreeInputs {
  readonly memory: { readonly base: number; readonly sizeBytes: number };
  readonly harts: number;
  readonly hart: HartDescription;
  readonly timebaseHz: number;
  readonly devices: readonly DeviceDescription[];
  readonly cmdline: string;
  readonly initrd?: { readonly start: number; readonly end: number };
  readonly rngSeed: Uint8Array;
}

const EXTERNAL_M = 11;
const EXTERNAL_S = 9;
const SOFTWARE_M = 3;
const TIMER_M = 7;
/** What the divisor of a 16550 divides; QEMU's number. Output is not really clocked. */
const UART_CLOCK_HZ = 3_686_400;
const PLIC_PHANDLE = 0x100;
const FINISHER_PHANDLE = 0x101;
const POWER_OFF = 0x5555;
const REBOOT = 0x7777;

/** Interrupt controllers of the harts come first. */
function hartPhandle(hart: number): number {
  return 1 + hart;
}

export function machineTree(inputs: TreeInputs): TreeNode {
  const { memory, devices } = inputs;
  const hasFinisher = devices.some(({ kind }) => kind === "finisher");
  return {
    name: "",
    properties: {
      "#address-cells": 2,
      "#size-cells": 2,
      compatible: "riscv-virtio",
      model: "blixard,riscv64",
    },
    children: [
      chosen(inputs),
      {
        name: `memory@${hex(memory.base)}`,
        properties: {
          device_type: "memory",
          reg: [BigInt(memory.base), BigInt(memory.sizeBytes)],
        },
      },
      cpus(inputs),
      {
        name: "soc",
        properties: {
          "#address-cells": 2,
          "#size-cells": 2,
          compatible: "simple-bus",
          ranges: true,
        },
        children: devices.map((device) => deviceNode(device, inputs.harts)),
      },
      ...(hasFinisher ? [syscon("poweroff", POWER_OFF), syscon("reboot", REBOOT)] : []),
    ],
  };
}

function chosen(inputs: TreeInputs): TreeNode {
  const properties: Record<string, PropertyValue> = {};
  if (inputs.cmdline !== "") properties["bootargs"] = inputs.cmdline;
  if (inputs.initrd !== undefined) {
    properties["linux,initrd-start"] = BigInt(inputs.initrd.start);
    properties["linux,initrd-end"] = BigInt(inputs.initrd.end);
  }
  if (inputs.rngSeed.length > 0) properties["rng-seed"] = inputs.rngSeed;
  const uart = inputs.devices.find(({ kind }) => kind === "uart");
  if (uart !== undefined) properties["stdout-path"] = `/soc/serial@${hex(uart.base)}`;
  return { name: "chosen", properties };
}

function cpus(inputs: TreeInputs): TreeNode {
  const { hart } = inputs;
  const isa = [`rv64${hart.letters}`, ...hart.extensions].join("_");
  const blocks: Record<string, PropertyValue> = {};
  for (const name of ["zicbom", "zicboz"]) {
    if (hart.extensions.includes(name)) {
      blocks[`riscv,${name.slice(2)}-block-size`] = hart.cacheBlockBytes;
    }
  }
  const numbers = Array.from({ length: inputs.harts }, (_, index) => index);
  return {
    name: "cpus",
    properties: {
      "#address-cells": 1,
      "#size-cells": 0,
      "timebase-frequency": inputs.timebaseHz,
    },
    children: numbers.map((index) => ({
      name: `cpu@${hex(index)}`,
      properties: {
        device_type: "cpu",
        reg: index,
        status: "okay",
        compatible: "riscv",
        "riscv,isa": isa,
        "riscv,isa-base": "rv64i",
        "riscv,isa-extensions": [...hart.letters.split(""), ...hart.extensions],
        "mmu-type": `riscv,${hart.mmu}`,
        ...blocks,
      },
      children: [
        {
          name: "interrupt-controller",
          properties: {
            "#interrupt-cells": 1,
            "#address-cells": 0,
            "interrupt-controller": true,
            compatible: "riscv,cpu-intc",
            phandle: hartPhandle(index),
          },
        },
      ],
    })),
  };
}

function deviceNode(device: DeviceDescription, harts: number): TreeNode {
  const [name, properties] = binding(device, harts);
  return {
    name: `${name}@${hex(device.base)}`,
    properties: { reg: [BigInt(device.base), BigInt(device.sizeBytes)], ...properties },
  };
}

/** Node name and properties of a device, beside where it lies. */
function binding(
  device: DeviceDescription,
  harts: number,
): readonly [string, Readonly<Record<string, PropertyValue>>] {
  switch (device.kind) {
    case "uart": {
      const clock = { "clock-frequency": UART_CLOCK_HZ };
      return ["serial", { compatible: "ns16550a", ...clock, ...wiredTo(device.irq) }];
    }
    case "rtc":
      return ["rtc", { compatible: "google,goldfish-rtc", ...wiredTo(device.irq) }];
    case "virtio": {
      const coherent = { "dma-coherent": true } as const;
      return ["virtio_mmio", { compatible: "virtio,mmio", ...coherent, ...wiredTo(device.irq) }];
    }
    case "plic": {
      const properties = {
        compatible: ["sifive,plic-1.0.0", "riscv,plic0"],
        "#address-cells": 0,
        "#interrupt-cells": 1,
        "interrupt-controller": true,
        "interrupts-extended": perHart(harts, [EXTERNAL_M, EXTERNAL_S]),
        "riscv,ndev": device.sources,
        phandle: PLIC_PHANDLE,
      } as const;
      return ["plic", properties];
    }
    case "aclint": {
      const wires = perHart(harts, [SOFTWARE_M, TIMER_M]);
      const compatible = ["sifive,clint0", "riscv,clint0"];
      return ["clint", { compatible, "interrupts-extended": wires }];
    }
    case "finisher": {
      const compatible = ["sifive,test1", "sifive,test0", "syscon"];
      return ["test", { compatible, phandle: FINISHER_PHANDLE }];
    }
    default:
      return unreachable(device);
  }
}

function wiredTo(irq: number): Record<string, PropertyValue> {
  return { interrupts: irq, "interrupt-parent": PLIC_PHANDLE };
}

function perHart(harts: number, causes: readonly number[]): number[] {
  const out: number[] = [];
  for (let hart = 0; hart < harts; hart++) {
    for (const cause of causes) out.push(hartPhandle(hart), cause);
  }
  return out;
}

function syscon(action: "poweroff" | "reboot", value: number): TreeNode {
  return {
    name: action,
    properties: { compatible: `syscon-${action}`, regmap: FINISHER_PHANDLE, offset: 0, value },
  };
}

function hex(value: number): string {
  return value.toString(16);
}
