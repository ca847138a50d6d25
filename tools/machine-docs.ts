/**
 * The blocks of docs/machine.md that show what the machine does, computed from the code that runs.
 * `node --conditions=source tools/machine-docs.ts` prints them; with `--write` it puts them into the
 * document, where a block follows a line `<!-- shown: NAME -->`.
 */

import { assert } from "@blixard/std";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createBoard } from "../packages/machine/src/boot/board.ts";
import { CodePages } from "../packages/machine/src/interp/code-pages.ts";
import { OPERATION, SLOW } from "../packages/machine/src/interp/context.ts";
import { HANDLER_COUNT, handlerOf, HANDLERS } from "../packages/machine/src/interp/handlers.ts";
import { Interpreter } from "../packages/machine/src/interp/interpreter.ts";
import { interpreterModule } from "../packages/machine/src/interp/module.ts";
import { resultType } from "../packages/machine/src/ir/shape.ts";
import type { IrBlock, IrOp } from "../packages/machine/src/ir/types.ts";
import { expandCompressed } from "../packages/machine/src/isa/riscv64/compressed.ts";
import { decode, INSTRUCTIONS } from "../packages/machine/src/isa/riscv64/decode.ts";
import { RAM_BASE } from "../packages/machine/src/limits.ts";
import { Frames } from "../packages/machine/src/memory/frames.ts";
import { layoutFor, STATE } from "../packages/machine/src/memory/layout.ts";
import { SoftTlb } from "../packages/machine/src/memory/tlb.ts";
import { ReferenceMachine } from "../packages/machine/src/ref/machine.ts";
import { regionBlocks } from "./region-docs.ts";
import { ROOT } from "./run.ts";
import type { WasmBody, WasmInstruction } from "./wasm-text.ts";
import { behindEntry, dispatchAt, readExported, wasmText } from "./wasm-text.ts";

export const DOCUMENT = "docs/machine.md";
const MIB = 1024 * 1024;
/** The machine whose code is shown. */
const RAM_BYTES = 256 * MIB;
/** lw a0, 8(a1), and its compressed form. */
const LW = 0x0085a503;
const C_LW = 0x4588;
const [A0, A1] = [10, 11];

const hex = (value: number | bigint, digits = 0): string =>
  value.toString(16).padStart(digits, "0");
const address = (value: number): string => `0x${hex(value, 8).replace(/(.{4})$/, "_$1")}`;

// --- an instruction's way ------------------------------------------------------------------------

/** Lines of a source file that contain these texts: an excerpt cannot outlive its source. */
function excerpt(path: string, texts: readonly string[]): string {
  const lines = readFileSync(join(ROOT, path), "utf8").split("\n");
  return texts
    .map((text) => {
      if (text === "}") return text;
      const line = lines.find((each) => each.includes(text));
      assert(line !== undefined, `${path} has "${text}"`);
      return line.replace(/^ {2}(?=load\()/, "");
    })
    .join("\n");
}

function fieldsText(): string {
  const decoded = decode(LW);
  assert(decoded !== undefined, "lw decodes");
  const { instruction, fields } = decoded;
  const { name, mask, match, format } = instruction;
  const bits = hex(LW, 8);
  const binary = LW.toString(2).padStart(32, "0");
  const parts = [
    [binary.slice(0, 12), "imm", `${fields.imm}`],
    [binary.slice(12, 17), "rs1", `x${fields.rs1}, a1`],
    [binary.slice(17, 20), "funct3", "2"],
    [binary.slice(20, 25), "rd", `x${fields.rd}, a0`],
    [binary.slice(25), "opcode", "0x03"],
  ];
  const expanded = expandCompressed(C_LW);
  assert(expanded === LW, "both encodings mean the same");
  return [
    `0x${bits}   lw a0, 8(a1)`,
    ...parts.map(
      ([digits = "", field = "", value = ""]) => `  ${digits.padEnd(13)}${field.padEnd(8)}${value}`,
    ),
    `row      ${name}: bits & 0x${hex(mask >>> 0)} == 0x${hex(match)}, format ${format}`,
    `0x${hex(C_LW, 4)}       c.lw a0, 8(a1) expands to 0x${hex(expanded, 8)}`,
  ].join("\n");
}

function operationText(op: IrOp): string {
  switch (op.op) {
    case "get":
      return op.reg.bank === "state" ? `get ${op.reg.name}` : `get ${op.reg.bank}[${op.reg.field}]`;
    case "set":
      return op.reg.bank === "state"
        ? `set ${op.reg.name} <- %${op.value}`
        : `set ${op.reg.bank}[${op.reg.field}] <- %${op.value}`;
    case "field":
      return `field ${op.name}`;
    case "binary":
      return `${op.fn} %${op.a}, %${op.b}`;
    case "load":
      return `load ${op.size} bytes, ${op.signed ? "sign" : "zero"}-extended, at %${op.address}`;
    default:
      throw new RangeError(`${op.op} is not among the shown`);
  }
}

function blockText(block: IrBlock): string {
  const lines = block.ops.map((op, position) => {
    const type = resultType(op);
    const defined = type === undefined ? "" : `%${position}: ${type} =`;
    return `${defined.padEnd(10)} ${operationText(op)}`;
  });
  return [...lines, `exit: ${block.exit.kind}`].join("\n");
}

function predecodedText(): string {
  const layout = layoutFor(MIB);
  const buffer = new ArrayBuffer(layout.wasmPages * 65536);
  const frames = new Frames(layout, buffer, RAM_BASE, MIB);
  const pages = new CodePages(layout, buffer, frames);
  const at = pages.create(0);
  const view = new DataView(buffer, at, 16);
  const rows = [
    ["handler", OPERATION.handler, 2, () => "number of the handler: lw, 4 bytes long"],
    ["rd", OPERATION.rd, 2, (n: number) => `address of x${(n - STATE.x) / 8}`],
    ["rs1", OPERATION.rs1, 2, (n: number) => `address of x${(n - STATE.x) / 8}`],
    ["rs2", OPERATION.rs2, 2, () => "not used by lw"],
    ["imm", OPERATION.imm, 4, () => "sign-extended when it is read"],
    ["rs3", OPERATION.rs3, 2, () => "not used by lw"],
    ["aux", OPERATION.aux, 1, () => "funct3; rounding mode or CSR immediate elsewhere"],
  ] as const;
  pages.write(at, LW, 0);
  const bytes = [...new Uint8Array(buffer, at, 16)].map((byte) => hex(byte, 2)).join(" ");
  const lines = rows.map(([name, offset, size, meaning]) => {
    const value =
      size === 1
        ? view.getUint8(offset)
        : size === 2
          ? view.getUint16(offset, true)
          : view.getInt32(offset, true);
    const place = `${String(offset).padStart(4)}  ${name.padEnd(9)}`;
    return `${place}${String(value).padEnd(6)}${meaning(value)}`;
  });
  return [bytes, ...lines].join("\n");
}

const LOCALS = ["ip", "left", "pageVa", "pageBase", "span", "tlb", "target"];
/** Around the handlers, from the inside out: see defineRun and emitDispatch in interp/module.ts. */
const TARGETS = ["jump", "next", "leave", "trapped", "guard"];

function stateName(offset: bigint): string | undefined {
  const found = Object.entries(STATE).find(([, at]) => BigInt(at) === offset);
  return offset >= BigInt(STATE.pc) && found !== undefined ? `STATE.${found[0]}` : undefined;
}

function show(body: WasmBody, shown: readonly WasmInstruction[], opened: number): string {
  const layout = layoutFor(RAM_BYTES);
  const compare = BigInt.asIntN(64, -(2n ** BigInt(layout.addressBits)));
  return wasmText(body, shown, {
    local: (index) => LOCALS[index] ?? `t${index - LOCALS.length}`,
    target: (levels) => TARGETS[levels - opened] ?? `outer${levels}`,
    note: (name, value) => {
      if (name === "i64.const" && value < 0n) {
        const below = value - compare;
        return `-(2^${layout.addressBits})${below === 0n ? "" : ` | ${below}`}`;
      }
      if (name === "i32.const" && value === BigInt(layout.tlbTableBytes - 8)) {
        return "bytes of a table - 8";
      }
      if (name === "i32.const" && value === BigInt(4 | SLOW.signed)) return "4 | SLOW.signed";
      return name.includes("const") ? undefined : operationName(name, value);
    },
  }).join("\n");
}

function operationName(name: string, offset: bigint): string | undefined {
  const state = stateName(offset);
  if (state !== undefined) return state;
  if (name === "i32.load16_u" || name === "i64.load32_s") {
    const found = Object.entries(OPERATION).find(([, at]) => BigInt(at) === offset);
    if (found !== undefined && (name === "i32.load16_u" || offset !== 0n)) return found[0];
  }
  return undefined;
}

function handlerText(body: WasmBody, name: string): string {
  const index = INSTRUCTIONS.findIndex((row) => row.name === name);
  const number = handlerOf(index, 4, false);
  // Blocks of the handlers that come after this one are still open around it.
  const opened = HANDLER_COUNT - 1 - number;
  return show(body, behindEntry(body, number), opened);
}

function dispatchText(body: WasmBody): string {
  const at = dispatchAt(body);
  const depth = body.instructions[at]?.depth;
  const from = body.instructions.findLastIndex(
    (each, n) => n < at && each.depth !== depth && each.opcode === 0x02,
  );
  return show(body, body.instructions.slice(from + 1, at + 1), HANDLER_COUNT);
}

/** The instruction in both executions, twice, so that the second time hits the TLB. */
function runText(): string {
  const sbi = {
    consoleWrite: () => {},
    consoleRead: () => new Uint8Array(0),
    readMemory: () => false,
    writeMemory: () => false,
    power: () => {},
  };
  const program = new Uint8Array(Uint32Array.of(LW, LW).buffer);
  const data = Uint8Array.of(0xfe, 0xff, 0xff, 0xff);
  const at = RAM_BASE + 0x2000;
  const interpreter = new Interpreter({
    ramBase: RAM_BASE,
    ramBytes: MIB,
    sbi,
    time: () => 0n,
    tickOf: () => Number.POSITIVE_INFINITY,
  });
  interpreter.frames.write(RAM_BASE, program);
  interpreter.frames.write(at + 8, data);
  const reference = new ReferenceMachine({ ramBase: RAM_BASE, ramBytes: MIB, sbi });
  reference.memory.bytes.set(program, 0);
  reference.memory.bytes.set(data, at + 8 - RAM_BASE);
  const lines: string[] = [];
  for (const { registers } of [interpreter, reference]) {
    registers.pc = BigInt(RAM_BASE);
    registers.setX(A1, BigInt(at));
  }
  for (const time of ["first", "second"]) {
    interpreter.run(1);
    reference.step();
    const [ours, theirs] = [interpreter, reference].map(({ registers }) => hex(registers.getX(A0)));
    const { slowAccesses, tlbEntries } = interpreter.stats();
    lines.push(
      `${time.padEnd(7)} interpreter a0=${ours}  reference a0=${theirs}  ` +
        `slow accesses so far ${slowAccesses}, TLB entries ${tlbEntries}`,
    );
  }
  return lines.join("\n");
}

function countsText(module: Uint8Array): string {
  const extensions = new Map<string, number>();
  for (const { extension } of INSTRUCTIONS) {
    extensions.set(extension, (extensions.get(extension) ?? 0) + 1);
  }
  return [
    `${INSTRUCTIONS.length} rows: ${[...extensions].map(([name, n]) => `${name} ${n}`).join(", ")}`,
    `${HANDLERS.length} handlers for them, ${HANDLER_COUNT - HANDLERS.length} for no instruction`,
    `${module.length} bytes of WebAssembly for a machine of ${RAM_BYTES / MIB} MiB`,
  ].join("\n");
}

// --- memory and devices --------------------------------------------------------------------------

function layoutText(): string {
  const lines = [64, 256, 1024, 1792].map((mib) => {
    const layout = layoutFor(mib * MIB);
    const cells = [
      `${mib} MiB`.padStart(8),
      String(layout.addressBits).padStart(5),
      `${layout.tlbTableBytes / MIB} MiB`.padStart(9),
      `${layout.codeBytes / MIB} MiB`.padStart(8),
      address(layout.codeAt).padStart(13),
      address(layout.ramAt).padStart(13),
      address(layout.ramAt + mib * MIB).padStart(13),
    ];
    return cells.join("");
  });
  return ["     RAM bits  a table    code      code at       RAM at          end", ...lines].join(
    "\n",
  );
}

function tlbText(): string {
  const layout = layoutFor(RAM_BYTES);
  const buffer = new ArrayBuffer(layout.codeAt);
  const tlb = new SoftTlb(layout, buffer);
  const view = new DataView(buffer, layout.tlbAt);
  const bits = layout.addressBits;
  const mask = (size: number): bigint =>
    BigInt.asUintN(64, -(1n << BigInt(bits))) | BigInt(size - 1);
  const line = (va: bigint, size: number): string => {
    const low = Number(va & 0xffffffffn);
    const entry = view.getBigUint64((low >>> 9) & (layout.tlbTableBytes - 8), true);
    const h = va ^ entry;
    const left = h & mask(size);
    const verdict = left === 0n ? `host ${address(Number(h))}` : "miss";
    return [va, entry, h, left].map((n) => hex(n, 16)).join("  ") + `  ${size}  ${verdict}`;
  };
  const [kernel, user] = [0xffffffff80001238n, 0x3ffff238n];
  const host = layout.ramAt + 5 * 4096;
  const empty = [line(kernel, 8), line(user, 8)];
  tlb.fill("userRead", 0xffffffff | 0, 0x80001000 | 0, host, { global: false, user: false });
  const others = [kernel, kernel + 4n, kernel ^ (1n << 40n), 0x80001238n];
  return [
    `address           entry             h = address ^ entry  h & mask      size`.replace(
      "h & mask      ",
      "h & mask        ",
    ),
    ...empty,
    `entry made: page 0xffffffff80001000 -> host page ${address(host)}`,
    ...others.map((va) => line(va, 8)),
  ].join("\n");
}

function boardText(): string {
  const memory = { base: RAM_BASE, sizeBytes: MIB, read: () => false, write: () => false };
  const board = createBoard({
    memory,
    harts: 1,
    disks: [{ sizeBytes: MIB, readOnly: false, serial: "disk" }],
    epochNs: 0n,
    nowNs: () => 0n,
    onEffect: () => {},
  });
  const names = new Map<number, string>();
  const all = [board.uart, board.plic, board.aclint, board.rtc, board.finisher];
  for (const { base, name } of [...all, ...board.disks, board.console, board.rng]) {
    names.set(base, name);
  }
  return board.descriptions
    .map((device) => {
      const source = "irq" in device ? `PLIC source ${device.irq}` : "";
      const name = names.get(device.base) ?? "";
      const size = `${device.sizeBytes / 1024} KiB`;
      const place = `${address(device.base)}  ${size.padStart(9)}`;
      return `${place}  ${name.padEnd(9)} ${device.kind.padEnd(9)} ${source}`;
    })
    .sort()
    .map((text) => text.trimEnd())
    .join("\n");
}

// --- the document --------------------------------------------------------------------------------

/** Every block by its name. */
export function machineBlocks(): ReadonlyMap<string, string> {
  // The same bytes for the same machine, or nothing here could be shown.
  const module = interpreterModule(layoutFor(RAM_BYTES));
  const body = readExported(module, "run");
  const row = INSTRUCTIONS.find(({ name }) => name === "lw");
  assert(row !== undefined, "lw has a row");
  const base = "packages/machine/src/isa/riscv64/base.ts";
  return new Map([
    ["lw bits", fieldsText()],
    [
      "lw row",
      excerpt(base, [
        "const address = (b: Builder)",
        "function load(name: string",
        'return byF3(name, "i", "I", 0x03, f3',
        "}",
        'load("lw", 2, 4, true)',
      ]),
    ],
    ["lw block", blockText(row.block)],
    ["lw operation", predecodedText()],
    ["dispatch", dispatchText(body)],
    ["lw handler", handlerText(body, "lw")],
    ["addi handler", handlerText(body, "addi")],
    ["lw run", runText()],
    ["counts", countsText(module)],
    ["layout", layoutText()],
    ["tlb", tlbText()],
    ["board", boardText()],
    ...regionBlocks(RAM_BYTES),
  ]);
}

const MARKED = /<!-- shown: ([\w ]+) -->\n+```(\w*)\n([\s\S]*?)\n```/g;

/** Blocks that a document shows, by name. */
export function shownBlocks(markdown: string): ReadonlyMap<string, string> {
  return new Map([...markdown.matchAll(MARKED)].map(([, name = "", , text = ""]) => [name, text]));
}

/** The document with every block as it is now. */
export function withBlocks(markdown: string, blocks: ReadonlyMap<string, string>): string {
  return markdown.replace(MARKED, (whole, name: string, language: string) => {
    const text = blocks.get(name);
    return text === undefined
      ? whole
      : `<!-- shown: ${name} -->\n\n\`\`\`${language}\n${text}\n\`\`\``;
  });
}

if (import.meta.main) {
  const blocks = machineBlocks();
  if (process.argv.includes("--write")) {
    const path = join(ROOT, DOCUMENT);
    writeFileSync(path, withBlocks(readFileSync(path, "utf8"), blocks));
  } else for (const [name, text] of blocks) console.log(`## ${name}\n${text}\n`);
}
