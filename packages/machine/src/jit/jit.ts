/**
 * The compiler for hot code. The interpreter counts at places where execution arrives by a jump; a place that
 * gets hot is handed over here and becomes the entry of a region:
 *
 *   hot place -> discover -> makeReducible -> orderBlocks -> placeChecks -> registerUse -> defineRegion
 *
 * Several regions go into one module. A region only ever does what the interpreter would do, so it does not
 * matter to the guest when, or whether, it arrives.
 */

import { present } from "@blixard/std";
import type { CodePages } from "../interp/code-pages.ts";
import { defineFma32, defineFma64 } from "../interp/fma.ts";
import type { Frames } from "../memory/frames.ts";
import type { Layout } from "../memory/layout.ts";
import { STATE } from "../memory/layout.ts";
import type { WasmMemory, WasmTable } from "../wasm/engine.ts";
import { compile, createTable, instantiate } from "../wasm/engine.ts";
import { ModuleBuilder } from "../wasm/module.ts";
import { placeChecks } from "./analyse/budget.ts";
import { CodeView } from "./analyse/code-view.ts";
import { discover } from "./analyse/discover.ts";
import { orderBlocks } from "./analyse/order.ts";
import { makeReducible } from "./analyse/reducible.ts";
import { registerUse } from "./analyse/registers.ts";
import type { Region } from "./cache/regions.ts";
import { extentsOf, Regions } from "./cache/regions.ts";
import type { RegionPlan } from "./emit/region.ts";
import { defineRegion } from "./emit/region.ts";
import { FIRST_SLOT, type JitLimits } from "./limits.ts";
import { checkLimits } from "./limits.ts";

export interface JitParts {
  readonly layout: Layout;
  readonly memory: WasmMemory;
  readonly frames: Frames;
  readonly code: CodePages;
  readonly limits: JitLimits;
  privilege(): number;
  /** Operations of the page that execution last reached at this virtual page; 0 if it is not known. */
  baseAt(pageVa: bigint): number;
  /** Told of every region that is made. */
  readonly onRegion?: (region: RegionReport) => void;
}

export interface RegionReport {
  readonly number: number;
  readonly pageVa: bigint;
  readonly plan: RegionPlan;
}

export interface JitStats {
  readonly regions: number;
  readonly made: number;
  readonly refused: number;
  readonly invalidated: number;
  readonly flushes: number;
  readonly modules: number;
  readonly wasmBytes: number;
  readonly instructions: number;
  readonly dispatches: number;
}

interface Pending {
  readonly region: Region;
  readonly plan: RegionPlan;
}

export class Jit {
  readonly table: WasmTable;
  readonly #parts: JitParts;
  readonly #view: DataView;
  readonly #regions: Regions;
  readonly #pending: Pending[] = [];
  #made = 0;
  #refused = 0;
  #invalidated = 0;
  #flushes = 0;
  #modules = 0;
  #wasmBytes = 0;
  #instructions = 0;
  #dispatches = 0;

  constructor(parts: JitParts) {
    checkLimits(parts.limits);
    this.#parts = parts;
    this.#view = new DataView(parts.memory.buffer);
    this.table = createTable(FIRST_SLOT + 64);
    this.#regions = new Regions(parts.layout, parts.memory.buffer, this.table);
    parts.code.onInvalidate = (page, base, offset, length) => {
      this.#invalidated += this.#regions.invalidate(page, base, offset, length);
    };
    parts.code.onDrop = (page, base) => {
      this.#invalidated += this.#regions.drop(page, base);
    };
  }

  stats(): JitStats {
    return {
      regions: this.#regions.count,
      made: this.#made,
      refused: this.#refused,
      invalidated: this.#invalidated,
      flushes: this.#flushes,
      modules: this.#modules,
      wasmBytes: this.#wasmBytes,
      instructions: this.#instructions,
      dispatches: this.#dispatches,
    };
  }

  /** The operation at `ip`, in the page being executed, has become hot. */
  hot(ip: number): void {
    const { limits } = this.#parts;
    if (this.#regions.count >= limits.regionsMax) {
      this.#regions.clear();
      this.#flushes++;
    }
    const pageVa = this.#view.getBigUint64(STATE.pageVa, true);
    const base = this.#view.getUint32(STATE.pageBase, true);
    const plan = this.#plan(pageVa, base, (ip - base) >>> 3);
    if (plan === undefined) {
      this.#refused++;
      this.#regions.refuse(ip);
      return;
    }
    const instructions = plan.blocks.reduce((sum, block) => sum + block.instructions.length, 0);
    const region = this.#regions.add(ip, extentsOf(plan.blocks, plan.pages), instructions);
    this.#made++;
    this.#instructions += instructions;
    this.#parts.onRegion?.({ number: region.number, pageVa, plan });
    this.#pending.push({ region, plan });
    if (this.#pending.length >= limits.batch) this.flushPending();
  }

  #plan(pageVa: bigint, base: number, entry: number): RegionPlan | undefined {
    const { frames, code, limits } = this.#parts;
    const baseAt = (va: bigint): number => this.#parts.baseAt(va);
    const parts = { frames, code, baseAt, view: this.#view };
    const view = new CodeView(parts, pageVa, base, limits.pagesMax);
    const first = discover(view, entry, limits);
    if (first === undefined) return undefined;
    this.#dispatches += makeReducible(first);
    const blocks = orderBlocks(first);
    placeChecks(blocks);
    const registers = registerUse(blocks);
    return { blocks, registers, pages: view.pages, privilege: this.#parts.privilege() };
  }

  /** Compiles what waits for more to share a module with. */
  flushPending(): void {
    const batch = this.#pending.splice(0).filter(({ region }) => !region.dead);
    if (batch.length === 0) return;
    const { layout, memory } = this.#parts;
    const module = new ModuleBuilder({ minimum: layout.wasmPages, maximum: layout.wasmPages });
    module.importTable("regions");
    const functions = { fma32: defineFma32(module), fma64: defineFma64(module) };
    for (const { region, plan } of batch) {
      defineRegion(module, layout, functions, plan, `r${region.number}`);
    }
    const bytes = module.encode();
    this.#modules++;
    this.#wasmBytes += bytes.length;
    const exported = instantiate(compile(bytes), memory, { regions: this.table });
    for (const { region } of batch) {
      this.#regions.install(region, present(exported[`r${region.number}`], "a region's function"));
    }
  }
}
