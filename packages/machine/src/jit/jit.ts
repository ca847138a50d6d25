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
import { type FunctionBody, writePadded } from "../wasm/code.ts";
import { compile, createTable, instantiate } from "../wasm/engine.ts";
import { ModuleBuilder } from "../wasm/module.ts";
import { placeChecks } from "./analyse/budget.ts";
import { CodeView } from "./analyse/code-view.ts";
import { discover } from "./analyse/discover.ts";
import { orderBlocks } from "./analyse/order.ts";
import { makeReducible } from "./analyse/reducible.ts";
import { registerUse } from "./analyse/registers.ts";
import type { RegionPage } from "./analyse/graph.ts";
import { decodeRegions, encodeRegions, type RegionsKey } from "./cache/format.ts";
import { GENERATOR } from "./cache/generator.ts";
import { codeOf, isMadeFrom, Keeper, type Known } from "./cache/keeper.ts";
import type { Extent, Region } from "./cache/regions.ts";
import { extentsOf, Regions } from "./cache/regions.ts";
import { REGION_TYPE } from "./emit/context.ts";
import type { RegionFunctions, RegionPlan } from "./emit/region.ts";
import { defineRegion, numberAt } from "./emit/region.ts";
import type { JitLimits, RegionSize } from "./limits.ts";
import { checkLimits, FIRST_SLOT, HINT_EXECUTIONS, HINT_TRIES } from "./limits.ts";

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
  /** For statistics only; without it they say that compiling takes no time. */
  readonly nowMs?: () => number;
  /** Regions of another run, and whether to keep those of this one. */
  readonly kept?: KeptRegions;
  /** Told of every region that is made. */
  readonly onRegion?: (region: RegionReport) => void;
}

/** Regions that outlive their machine. */
export interface KeptRegions {
  /** What `Jit.keep` returned in a machine with as much RAM. */
  readonly bytes?: Uint8Array;
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
  /** Of those that another run has made: known, and used. */
  readonly stored: number;
  readonly reused: number;
  readonly refused: number;
  readonly invalidated: number;
  readonly flushes: number;
  readonly modules: number;
  readonly wasmBytes: number;
  readonly instructions: number;
  readonly dispatches: number;
  /** Time spent on finding regions, on emitting them, and in the engine before the first call. */
  readonly analysisMs: number;
  readonly emissionMs: number;
  readonly wasmMs: number;
}

/** Regions on their way into one module, by position. */
interface Batch {
  readonly module: ModuleBuilder;
  readonly functions: RegionFunctions;
  readonly regions: Region[];
  /** When the first of them was made, in instructions. */
  readonly since: number;
}
const operationAt = (base: number, offset: number): number => base + offset * 8;
/** Extents in guest pages, from such in distances. */
const placed = (extents: readonly Extent[], pages: readonly RegionPage[]): Extent[] =>
  extents.map((extent) => {
    const page = pages.find(({ delta }) => delta === extent.page);
    return { ...extent, page: present(page, "a page of the region").page };
  });
/** Not by number: that of a region that is given up goes to another one. */
const exportName = (position: number): string => `r${position}`;

export class Jit {
  readonly table: WasmTable;
  readonly #parts: JitParts;
  readonly #view: DataView;
  readonly #regions: Regions;
  #batch: Batch | undefined;
  readonly #keeper: Keeper | undefined;
  readonly #stored: number;
  #reused = 0;
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
  readonly #spentMs = { analysis: 0, emission: 0, wasm: 0 };

  constructor(parts: JitParts) {
    checkLimits(parts.limits);
    this.#parts = parts;
    this.#view = new DataView(parts.memory.buffer);
    this.table = createTable(FIRST_SLOT + 64);
    const bytes = parts.kept?.bytes;
    const known = bytes === undefined ? [] : this.#timed("wasm", () => this.#load(bytes));
    this.#stored = known.length;
    this.#keeper = parts.kept === undefined ? undefined : new Keeper(known);
    this.#regions = new Regions(parts.layout, parts.memory.buffer, this.table, known.length);
    if (this.#keeper !== undefined) this.#watchPages(this.#keeper);
    parts.code.onInvalidate = (page, base, offset, length) => {
      this.#invalidated += this.#regions.invalidate(page, base, offset, length);
    };
    parts.code.onDrop = (page, base) => {
      for (const offset of this.#keeper?.pageGone(page) ?? []) {
        this.#keeper?.takeHint(operationAt(base, offset));
      }
      this.#invalidated += this.#regions.drop(page, base);
    };
  }

  stats(): JitStats {
    return {
      regions: this.#regions.count,
      made: this.#made,
      again: this.#again,
      stored: this.#stored,
      reused: this.#reused,
      refused: this.#refused,
      invalidated: this.#invalidated,
      flushes: this.#flushes,
      modules: this.#modules,
      wasmBytes: this.#wasmBytes,
      instructions: this.#instructions,
      dispatches: this.#dispatches,
      analysisMs: Math.round(this.#spentMs.analysis),
      emissionMs: Math.round(this.#spentMs.emission),
      wasmMs: Math.round(this.#spentMs.wasm),
    };
  }

  #timed<T>(part: "analysis" | "emission" | "wasm", work: () => T): T {
    const { nowMs } = this.#parts;
    if (nowMs === undefined) return work();
    const before = nowMs();
    try {
      return work();
    } finally {
      this.#spentMs[part] += nowMs() - before;
    }
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
    if (this.#reuse(pageVa, base, ip)) return;
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
    const entry = (ip - base) >>> 3;
    const plan = this.#timed("analysis", () => this.#plan(pageVa, base, entry, size));
    if (plan === undefined) return false;
    const instructions = plan.blocks.reduce((sum, block) => sum + block.instructions.length, 0);
    const extents = extentsOf(plan.blocks);
    // One with a loop spends its time there: what is added around the loop only makes that slower.
    const loops = plan.blocks.some(({ check }) => check);
    const again = loops || size === this.#parts.limits.again;
    const region = this.#regions.add(
      { ip, extents: placed(extents, plan.pages), instructions, pageVa, again },
      plan.pages.map((page) => page.base),
    );
    this.#made++;
    this.#instructions += instructions;
    this.#parts.onRegion?.({ pageVa, plan });
    const batch = (this.#batch ??= this.#openBatch());
    const name = exportName(batch.regions.length);
    const index = this.#timed("emission", () =>
      defineRegion(batch.module, this.#parts.layout, batch.functions, plan, name),
    );
    batch.regions.push(region);
    if (this.#keeper?.keeps === true) this.#put(region, plan, extents, batch.module.bodyOf(index));
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
    // Others were looked at, and led nowhere.
    const used = new Set([0, ...extentsOf(blocks).map(({ page }) => page)]);
    return {
      number: this.#regions.nextNumber,
      blocks,
      registers: registerUse(blocks),
      pages: view.pages.filter(({ delta }) => used.has(delta)),
      privilege: this.#parts.privilege(),
      fused: this.#parts.fused,
      inexactSet: (this.#view.getUint32(STATE.fflags, true) & 1) !== 0,
    };
  }

  // --- regions of other runs ----------------------------------------------------------------------------

  get #key(): RegionsKey {
    const { frames, fused } = this.#parts;
    return { generator: GENERATOR, ramBytes: frames.sizeBytes, fused };
  }

  /** Nothing when the bytes are of no use: then everything is made here. */
  #load(bytes: Uint8Array): Known[] {
    const decoded = decodeRegions(this.#key, bytes);
    if (!decoded.ok) return [];
    const { module } = this.#newModule();
    for (const [position, { body }] of decoded.value.entries()) {
      const own = body.bytes.slice();
      writePadded(own, numberAt(own), FIRST_SLOT + position);
      module.add(REGION_TYPE, { ...body, bytes: own }, exportName(position));
    }
    const wasm = module.encode();
    let compiled: object;
    try {
      compiled = compile(wasm);
    } catch {
      // The sum was right and the code is none: no compiler of ours has made it.
      return [];
    }
    const exported = instantiate(compiled, this.#parts.memory, { regions: this.table });
    this.#modules++;
    this.#wasmBytes += wasm.length;
    return decoded.value.map((stored, position) => ({
      stored,
      number: FIRST_SLOT + position,
      compiled: present(exported[exportName(position)], "a stored region's function"),
      used: false,
    }));
  }

  /** Where a stored region may begin, the first execution is looked at. */
  #watchPages(keeper: Keeper): void {
    const { code, frames, limits } = this.#parts;
    code.onCreate = (page, base) => {
      for (const offset of keeper.pageSeen(page, frames.pageBytes(page))) {
        const ip = operationAt(base, offset);
        keeper.hint(ip, 0);
        this.#regions.recount(ip, limits.threshold - 1);
      }
    };
  }

  #put(region: Region, plan: RegionPlan, extents: readonly Extent[], body: FunctionBody): void {
    const { pages, privilege, inexactSet } = plan;
    const { ip, instructions, again } = region;
    const entry = present(pages[0], "the region's first page");
    const page = this.#keeper?.sumOf(entry.page);
    if (page === undefined) return;
    const deltas = pages.map(({ delta }) => delta);
    const positions = extents.map((extent) => ({ ...extent, page: deltas.indexOf(extent.page) }));
    const code = codeOf(positions, (position) => this.#bytesOf(pages[position]));
    const offset = (ip - entry.base) >>> 3;
    const made = { page, offset, privilege, inexactSet, again, instructions, deltas, code, body };
    this.#keeper?.put({ ...made, extents: positions });
  }
  #bytesOf(page: RegionPage | undefined): Uint8Array {
    return this.#parts.frames.pageBytes(present(page, "a page of the region").page);
  }

  /** Uses a stored region at `ip` if one fits; true if no other is to be made there now. */
  #reuse(pageVa: bigint, base: number, ip: number): boolean {
    const keeper = this.#keeper;
    if (keeper === undefined) return false;
    const tries = keeper.takeHint(ip);
    const page = this.#parts.code.pageAt(base);
    let early = false;
    for (const known of keeper.at(page, (ip - base) >>> 3)) {
      const fits = this.#fits(known, pageVa, base);
      if (fits === "later") early = true;
      if (typeof fits === "string") continue;
      const { stored, number, compiled } = known;
      const extents = stored.extents.map((extent) => {
        return { ...extent, page: present(fits[extent.page], "a page of the region").page };
      });
      const { instructions, again } = stored;
      const bases = fits.map((one) => one.base);
      const region = this.#regions.add({ ip, extents, instructions, pageVa, again }, bases, number);
      this.#regions.install(region, compiled);
      known.used = true;
      this.#reused++;
      return true;
    }
    if (tries === undefined) return false;
    const { threshold } = this.#parts.limits;
    const wait = HINT_EXECUTIONS * 4 ** tries;
    const more = early && tries < HINT_TRIES && wait < threshold;
    if (more) keeper.hint(ip, tries + 1);
    this.#regions.recount(ip, more ? threshold - wait : 0);
    return true;
  }

  /** The pages of a stored region that begins there, if it may be used now. */
  #fits({ stored, number }: Known, pageVa: bigint, base: number): RegionPage[] | "later" | "no" {
    const { code, frames } = this.#parts;
    if (this.#regions.byNumber(number) !== undefined) return "no";
    if (stored.privilege !== this.#parts.privilege()) return "later";
    if (stored.inexactSet && (this.#view.getUint32(STATE.fflags, true) & 1) === 0) return "later";
    const pages: RegionPage[] = [];
    for (const delta of stored.deltas) {
      const at = BigInt.asUintN(64, pageVa + BigInt(delta));
      const found = delta === 0 ? base : this.#parts.baseAt(at);
      if (found === 0) return "later";
      pages.push({ delta, page: code.pageAt(found), base: found });
    }
    const bytesOf = (position: number): Uint8Array =>
      frames.pageBytes(present(pages[position], "a page of the region").page);
    return isMadeFrom(stored, bytesOf) ? pages : "no";
  }

  /** For `KeptRegions.bytes` of later machines; undefined when there is nothing new in it. Asked for once. */
  keep(): Uint8Array | undefined {
    const regions = this.#keeper?.take();
    return regions === undefined ? undefined : encodeRegions(this.#key, regions);
  }

  // --- modules ------------------------------------------------------------------------------------------

  /** Execution is in TypeScript: compiles what has waited long enough for more to share a module with. */
  attend(): void {
    if (this.#batch === undefined) return;
    const waited = this.#parts.ticks() - this.#batch.since;
    if (waited >= this.#parts.limits.batchInstructions) this.#flush();
  }

  /** The module that is being filled: its regions are emitted one by one, so that none of it takes long. */
  #openBatch(): Batch {
    return { ...this.#newModule(), regions: [], since: this.#parts.ticks() };
  }

  /** In every module of regions types and functions have the same numbers. */
  #newModule(): Pick<Batch, "module" | "functions"> {
    const { layout, fused } = this.#parts;
    const module = new ModuleBuilder({ minimum: layout.wasmPages, maximum: layout.wasmPages });
    module.importTable("regions");
    const functions = { fma32: defineFma32(module, fused), fma64: defineFma64(module, fused) };
    return { module, functions };
  }

  #flush(): void {
    const batch = this.#batch;
    this.#batch = undefined;
    if (batch === undefined || batch.regions.every(({ dead }) => dead)) return;
    const bytes = batch.module.encode();
    this.#modules++;
    this.#wasmBytes += bytes.length;
    this.#heldBytes += bytes.length;
    const imports = { regions: this.table };
    const exported = this.#timed("wasm", () =>
      instantiate(compile(bytes), this.#parts.memory, imports),
    );
    for (const [position, region] of batch.regions.entries()) {
      const compiled = present(exported[exportName(position)], "a region's function");
      if (!region.dead) this.#regions.install(region, compiled);
    }
  }
}
