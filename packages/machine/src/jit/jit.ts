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
import { CODE_PAGE_BYTES, STATE } from "../memory/layout.ts";
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
import type { RegionFunctions, RegionPlan } from "./emit/region.ts";
import { defineRegion } from "./emit/region.ts";
import type { JitLimits, RegionSize } from "./limits.ts";
import { checkLimits, FIRST_SLOT } from "./limits.ts";

export interface JitParts {
  readonly layout: Layout;
  readonly memory: WasmMemory;
  readonly frames: Frames;
  readonly code: CodePages;
  readonly limits: JitLimits;
  /** Relaxed multiply-adds round once (wasm/probe.ts). */
  readonly fused: boolean;
  privilege(): number;
  /** Instructions begun since power-on. */
  ticks(): number;
  /** Operations of the page that execution last reached at this virtual page; 0 if it is not known. */
  baseAt(pageVa: bigint): number;
  /** Told of every region that is made. */
  readonly onRegion?: (region: RegionReport) => void;
}

export interface RegionReport {
  readonly pageVa: bigint;
  readonly plan: RegionPlan;
}

export interface JitStats {
  readonly regions: number;
  readonly made: number;
  /** Of those, for the second time and larger. */
  readonly again: number;
  readonly refused: number;
  readonly invalidated: number;
  readonly flushes: number;
  readonly modules: number;
  readonly wasmBytes: number;
  readonly instructions: number;
  readonly dispatches: number;
}

/** Regions on their way into one module, by position. */
interface Batch {
  readonly module: ModuleBuilder;
  readonly functions: RegionFunctions;
  readonly regions: Region[];
  /** When the first of them was made, in instructions. */
  readonly since: number;
}
/** Not by number: that of a region that is given up goes to another one. */
const exportName = (position: number): string => `r${position}`;

export class Jit {
  readonly table: WasmTable;
  readonly #parts: JitParts;
  readonly #view: DataView;
  readonly #regions: Regions;
  #batch: Batch | undefined;
  #made = 0;
  #again = 0;
  #refused = 0;
  #invalidated = 0;
  #flushes = 0;
  #modules = 0;
  #wasmBytes = 0;
  #heldBytes = 0;
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
      again: this.#again,
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
    // A module lives as long as one of its regions, so what counts is all that was made.
    if (this.#regions.count >= limits.regionsMax || this.#heldBytes >= limits.bytesMax) {
      this.#regions.clear();
      this.#heldBytes = 0;
      this.#flushes++;
    }
    const pageVa = this.#view.getBigUint64(STATE.pageVa, true);
    const base = this.#view.getUint32(STATE.pageBase, true);
    const made = this.#make(pageVa, base, ip, limits.first);
    if (!made) {
      this.#refused++;
      this.#regions.refuse(ip);
    }
  }

  /** A budget has ended: if it was in a region, and not for the first time, that is worth a larger one. */
  sample(): void {
    const region = this.#regions.byNumber(this.#view.getUint32(STATE.region, true));
    this.#view.setUint32(STATE.region, 0, true);
    if (region === undefined || region.again) return;
    region.samples++;
    if (region.samples < this.#parts.limits.samples) return;
    const base = this.#parts.baseAt(region.pageVa);
    // Another address space, or privilege: perhaps the next time.
    if (base === 0 || region.ip - base < 0 || region.ip - base >= CODE_PAGE_BYTES) return;
    this.#regions.remove(region);
    this.#again++;
    this.#make(region.pageVa, base, region.ip, this.#parts.limits.again);
  }

  #make(pageVa: bigint, base: number, ip: number, size: RegionSize): boolean {
    const plan = this.#plan(pageVa, base, (ip - base) >>> 3, size);
    if (plan === undefined) return false;
    const instructions = plan.blocks.reduce((sum, block) => sum + block.instructions.length, 0);
    const extents = extentsOf(plan.blocks, plan.pages);
    // One with a loop spends its time there: what is added around the loop only makes that slower.
    const loops = plan.blocks.some(({ check }) => check);
    const again = loops || size === this.#parts.limits.again;
    const region = this.#regions.add({ ip, extents, instructions, pageVa, again });
    this.#made++;
    this.#instructions += instructions;
    this.#parts.onRegion?.({ pageVa, plan });
    const batch = (this.#batch ??= this.#openBatch());
    const name = exportName(batch.regions.length);
    defineRegion(batch.module, this.#parts.layout, batch.functions, plan, name);
    batch.regions.push(region);
    if (batch.regions.length >= this.#parts.limits.batch) this.#flush();
    return true;
  }

  #plan(pageVa: bigint, base: number, entry: number, size: RegionSize): RegionPlan | undefined {
    const { frames, code } = this.#parts;
    const baseAt = (va: bigint): number => this.#parts.baseAt(va);
    const parts = { frames, code, baseAt, view: this.#view };
    const view = new CodeView(parts, pageVa, base, size.pagesMax);
    const first = discover(view, entry, size);
    if (first === undefined) return undefined;
    this.#dispatches += makeReducible(first);
    const blocks = orderBlocks(first);
    placeChecks(blocks);
    return {
      number: this.#regions.nextNumber,
      blocks,
      registers: registerUse(blocks),
      pages: view.pages,
      privilege: this.#parts.privilege(),
      fused: this.#parts.fused,
      inexactSet: (this.#view.getUint32(STATE.fflags, true) & 1) !== 0,
    };
  }

  /** Execution is in TypeScript: compiles what has waited long enough for more to share a module with. */
  attend(): void {
    if (this.#batch === undefined) return;
    const waited = this.#parts.ticks() - this.#batch.since;
    if (waited >= this.#parts.limits.batchInstructions) this.#flush();
  }

  /** The module that is being filled: its regions are emitted one by one, so that none of it takes long. */
  #openBatch(): Batch {
    const { layout, fused } = this.#parts;
    const module = new ModuleBuilder({ minimum: layout.wasmPages, maximum: layout.wasmPages });
    module.importTable("regions");
    const functions = { fma32: defineFma32(module, fused), fma64: defineFma64(module, fused) };
    return { module, functions, regions: [], since: this.#parts.ticks() };
  }

  #flush(): void {
    const batch = this.#batch;
    this.#batch = undefined;
    if (batch === undefined || batch.regions.every(({ dead }) => dead)) return;
    const bytes = batch.module.encode();
    this.#modules++;
    this.#wasmBytes += bytes.length;
    this.#heldBytes += bytes.length;
    const exported = instantiate(compile(bytes), this.#parts.memory, { regions: this.table });
    for (const [position, region] of batch.regions.entries()) {
      const compiled = present(exported[exportName(position)], "a region's function");
      if (!region.dead) this.#regions.install(region, compiled);
    }
  }
}
