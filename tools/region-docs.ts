/** The compiled region that docs/machine.md shows: the loop of a CRC, as it is planned and as it is emitted. */

import { assert } from "@blixard/std";
import type { RegionReport } from "../packages/machine/src/jit/jit.ts";
import { defineRegion } from "../packages/machine/src/jit/emit/region.ts";
import { regionWithIr } from "../packages/machine/src/jit/text.ts";
import { EAGER, machineOf } from "../packages/machine/src/jit/testing/programs.ts";
import { RAM_BASE } from "../packages/machine/src/limits.ts";
import type { Layout } from "../packages/machine/src/memory/layout.ts";
import { layoutFor, STATE } from "../packages/machine/src/memory/layout.ts";
import { ModuleBuilder } from "../packages/machine/src/wasm/module.ts";
import { readExported, type WasmBody, type WasmInstruction, wasmText } from "./wasm-text.ts";

/** crc = table[(crc ^ *p++) & 255] ^ (crc >> 8) until p is end, as GCC has it without compressed instructions. */
const LOOP = [
  0x0007c683, 0x0085571b, 0x00178793, 0x00d54533, 0x0ff57513, 0x00251513, 0x01050533, 0x00052503,
  0x00e54533, 0x0005051b, 0xfcc79ce3,
];
/** a5 = a page of data, a2 = far behind it, a6 = the same page as the table. */
const SETUP = [0x00002797, 0x00010637, 0x00f60633, 0x00078813];
const INSTRUCTIONS = 5000;
const LOOP_OPCODE = 0x03;
const END_OPCODE = 0x0b;

function planned(): RegionReport {
  const reports: RegionReport[] = [];
  const onRegion = (report: RegionReport): void => void reports.push(report);
  const machine = machineOf(
    { at: new Map([[RAM_BASE, [...SETUP, ...LOOP, 0x0000006f]]]) },
    { limits: EAGER, onRegion },
  );
  machine.run(INSTRUCTIONS);
  const [first] = reports;
  assert(first !== undefined, "the loop became a region");
  return first;
}

/** From its loop's start to its end: what runs once a byte, and the ways out. */
function loopOf(body: WasmBody): readonly WasmInstruction[] {
  const start = body.instructions.findIndex(({ opcode }) => opcode === LOOP_OPCODE);
  const depth = body.instructions[start]?.depth ?? 0;
  const length = body.instructions
    .slice(start)
    .findIndex(({ opcode, depth: own }) => opcode === END_OPCODE && own === depth);
  return body.instructions.slice(start, start + length + 1);
}

/** A region's WebAssembly, emitted once more and read back: all of it, or what `part` takes. */
export function regionWasm(
  layout: Layout,
  { plan }: RegionReport,
  part: (body: WasmBody) => readonly WasmInstruction[] = (body) => body.instructions,
): string {
  const module = new ModuleBuilder({ minimum: layout.wasmPages, maximum: layout.wasmPages });
  module.importTable("regions");
  const names = new Map<number, string>();
  const functions = { fma32: 0, fma64: 0 };
  defineRegion(module, layout, functions, plan, "region", names);
  const body = readExported(module.encode(), "region");
  const mask = -(1n << BigInt(layout.addressBits));
  const tables = ["the user's reads", "the user's writes", "the supervisor's reads"];
  const lines = wasmText(body, part(body), {
    local: (index) => ["left", "base"][index] ?? names.get(index) ?? `t${index}`,
    note: (name, value) => {
      if (name === "i32.store" && value === BigInt(STATE.region)) return "STATE.region";
      if (value === BigInt(layout.tlbTableBytes - 8)) return "bytes of a table - 8";
      if (name === "i32.load" && value >= BigInt(layout.basesAt) && value < BigInt(layout.ramAt)) {
        return "its page's operations";
      }
      const table = (Number(value) - layout.tlbAt) / layout.tlbTableBytes;
      if (name === "i64.load" && Number.isInteger(table) && table >= 0 && table < 4) {
        return tables[table] ?? "the supervisor's writes";
      }
      if (value >= mask && value < mask + 8n) return `-(2^${layout.addressBits}) | ${value - mask}`;
      return undefined;
    },
    target: (levels) => (levels === 1 ? "side" : "jump"),
  });
  return lines.join("\n");
}

/** Blocks of the document, by name. */
export function regionBlocks(ramBytes: number): readonly (readonly [string, string])[] {
  const report = planned();
  const unfused = { ...report, plan: { ...report.plan, fused: false } };
  return [
    ["region plan", regionWithIr(report)],
    ["region loop", regionWasm(layoutFor(ramBytes), unfused, loopOf)],
  ];
}
