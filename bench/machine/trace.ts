/**
 * `--trace KERNEL`: the regions that one of the benchmark's programs becomes, each with its RISC-V instructions,
 * their operations, and the WebAssembly that is emitted for it.
 */

import { assert, utf8, utf8Text } from "@blixard/std";
import { readFile } from "node:fs/promises";
import { bootLinux } from "../../packages/machine/src/boot/linux.ts";
import { createBoard, type Board } from "../../packages/machine/src/boot/board.ts";
import { HART } from "../../packages/machine/src/boot/testing/boards.ts";
import type { RegionReport } from "../../packages/machine/src/jit/jit.ts";
import { regionWithIr } from "../../packages/machine/src/jit/text.ts";
import { Machine } from "../../packages/machine/src/machine.ts";
import { layoutFor } from "../../packages/machine/src/memory/layout.ts";
import type { DeviceEffect } from "../../packages/machine/src/types.ts";
import { regionWasm } from "../../tools/region-docs.ts";
import { buildFiles, CMDLINE, compile, type KERNELS } from "./kernels.ts";

const RAM_BYTES = 256 * 1024 * 1024;
const SLICE = 1_000_000;
const INSTRUCTIONS_MAX = 4_000_000_000;
const REPETITIONS = 1;

interface Traced {
  readonly machine: Machine;
  readonly board: Board;
  readonly said: () => string;
}

function boot(
  files: { readonly kernel: Uint8Array; readonly initrd: Uint8Array },
  onRegion: (report: RegionReport) => void,
): Traced {
  let text = "";
  let board: Board | undefined;
  const effects: DeviceEffect[] = [];
  const machine = new Machine({
    ramBytes: RAM_BYTES,
    harts: 1,
    timeMode: { kind: "virtual" },
    jit: { onRegion },
    createBus: (ports) => {
      const onEffect = (effect: DeviceEffect): void => {
        if (effect.kind === "serialOutput") text += utf8Text(effect.data);
        else effects.push(effect);
      };
      const { memory } = ports;
      const nowNs = (): bigint => ports.nowNs();
      board = createBoard({ memory, nowNs, harts: 1, disks: [], epochNs: 0n, onEffect });
      return board.bus;
    },
  });
  assert(board !== undefined, "the machine made its bus");
  const { descriptions: devices, timebaseHz, bus } = board;
  const { memory } = machine;
  const rngSeed = new Uint8Array(64).fill(7);
  const parts = { memory, cmdline: CMDLINE, devices, harts: 1, hart: HART, timebaseHz, rngSeed };
  const booted = bootLinux({ ...files, ...parts });
  assert(booted.ok, "the stored image boots");
  machine.setBoot(booted.value);
  const said = (): string => {
    for (const effect of effects.splice(0)) {
      if (effect.kind !== "randomNeeded") continue;
      const data = new Uint8Array(effect.bytes).fill(7);
      bus.input(effect.device, { kind: "random", token: effect.token, data });
    }
    return text;
  };
  return { machine, board, said };
}

/** Until the guest has said it. Throws RangeError when it does not. */
function runUntil({ machine, said }: Traced, word: string): void {
  while (!said().includes(word)) {
    const stop = machine.run(SLICE);
    if (stop.kind === "idle" && stop.untilNs !== undefined) machine.advanceTo(stop.untilNs);
    if (stop.kind === "power" || machine.instructions > INSTRUCTIONS_MAX) {
      throw new RangeError(`the guest has not said "${word}":\n${said().slice(-1000)}`);
    }
  }
}

export interface TraceOptions {
  readonly kernel: (typeof KERNELS)[number]["name"];
  /** Only those with this text, an address or a number, in their names. */
  readonly region?: string;
  readonly folder: string;
  readonly print: (line: string) => void;
}

/** Resolves with how many regions were shown. Errors: those of `compile`. */
export async function trace({ kernel, region, folder, print }: TraceOptions): Promise<number> {
  const files = await buildFiles(folder, await compile(folder, [kernel]));
  const [image, initrd] = await Promise.all([readFile(files.kernel), readFile(files.initrd)]);
  const reports: RegionReport[] = [];
  const traced = boot({ kernel: image, initrd }, (report) => void reports.push(report));
  runUntil(traced, "bench: ready");
  const before = reports.length;
  traced.board.bus.input("uart0", {
    kind: "serialInput",
    data: utf8(`/bench/${kernel} ${REPETITIONS}\n`),
  });
  runUntil(traced, "bench: end");
  const layout = layoutFor(RAM_BYTES);
  let shown = 0;
  for (const report of reports.slice(before)) {
    const { plan, pageVa } = report;
    const entry = pageVa + BigInt(plan.blocks[0]?.start ?? 0);
    const name = `r${plan.number}@${BigInt.asUintN(64, entry).toString(16)}`;
    if (region !== undefined && !name.includes(region)) continue;
    print(`=== ${name}\n${regionWithIr(report)}\n--- WebAssembly`);
    print(`${regionWasm(layout, report)}\n`);
    shown++;
  }
  return shown;
}
