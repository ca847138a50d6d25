/** One region as a WebAssembly function: checks at its entry, its blocks, and its two ways out. */

import { present } from "@blixard/std";
import { LocalPool } from "../../interp/context.ts";
import type { Layout } from "../../memory/layout.ts";
import { STATE } from "../../memory/layout.ts";
import type { Code, Label } from "../../wasm/code.ts";
import type { ModuleBuilder } from "../../wasm/module.ts";
import type { Block, RegionPage } from "../analyse/graph.ts";
import { usesFloat } from "../analyse/compilable.ts";
import type { RegisterUse } from "../analyse/registers.ts";
import type { RegionContext, RegionLocals } from "./context.ts";
import { emitSample, LEFT_BY, REGION_TYPE } from "./context.ts";
import { emitJump, emitLoadRegisters, emitRefuse, emitSide } from "./exits.ts";
import { StructureEmitter } from "./structure.ts";

/** A region, analysed: what there is to emit. */
export interface RegionPlan {
  /** Its number in the table. */
  readonly number: number;
  /** In reverse postorder; the first is the entry. */
  readonly blocks: readonly Block[];
  readonly registers: RegisterUse;
  readonly pages: readonly RegionPage[];
  readonly privilege: number;
  /** NX of fflags was set when the region was planned, and has to be whenever it runs. */
  readonly inexactSet: boolean;
  /** Whether relaxed multiply-adds round once (wasm/probe.ts). */
  readonly fused: boolean;
}

export interface RegionFunctions {
  readonly fma32: number;
  readonly fma64: number;
}

const LEFT = 0;
const BASE = 1;

function makeLocals(code: Code): RegionLocals {
  return {
    left: LEFT,
    base: BASE,
    at: code.local("i32"),
    adjust: code.local("i32"),
    target: code.local("i64"),
    selector: code.local("i32"),
    inexact: code.local("i32"),
    number: code.local("i32"),
  };
}

/** Refuses unless what the code takes for granted holds. */
function emitEntryChecks(c: RegionContext, plan: RegionPlan): void {
  const { code, layout, locals } = c;
  const entry = present(plan.blocks[0], "entry");
  const table = layout.tlbAt + 2 * plan.privilege * layout.tlbTableBytes;
  code.i32(0).memory("i32.load", STATE.tlb).i32(table).op("i32.ne");
  const float = plan.blocks.some((block) => block.instructions.some(usesFloat));
  if (float) {
    code.i32(0).memory("i32.load", STATE.fpOn).op("i32.eqz", "i32.or");
    code.i32(0).memory("i32.load", STATE.frm).op("i32.or");
    if (plan.inexactSet) {
      code.i32(0).memory("i32.load", STATE.fflags).i32(1).op("i32.and", "i32.eqz", "i32.or");
    }
  }
  code.unlikely().if(() => emitRefuse(c, entry.start, LEFT_BY.refused));
  code.get(locals.left).i32(entry.longest).op("i32.lt_s");
  code.unlikely().if(() => {
    emitSample(c);
    emitRefuse(c, entry.start, LEFT_BY.budget);
  });
  if (!float || plan.inexactSet) return;
  code.i32(0).memory("i32.load", STATE.fflags).i32(1).op("i32.and").set(locals.inexact);
}

/** Where a region's body has its number, written by `Code.padded`: behind its locals and one opcode. */
export function numberAt(body: Uint8Array): number {
  // At most 2^14 declarations of two bytes each.
  const [low = 0, high = 0] = body;
  const [length, locals] = low < 128 ? [1, low] : [2, (low & 127) | (high << 7)];
  return length + 2 * locals + 1;
}

/** Index of the function, exported as `name`. `names` gets those of its locals, for whoever wants to read it. */
export function defineRegion(
  module: ModuleBuilder,
  layout: Layout,
  functions: RegionFunctions,
  plan: RegionPlan,
  name: string,
  names = new Map<number, string>(),
): number {
  const regionType = module.type(REGION_TYPE);
  const write = (code: Code): void => {
    const registers = new Map<number, number>();
    const register = (number: number): number => {
      const known = registers.get(number);
      if (known !== undefined) return known;
      const local = code.local(number < 32 ? "i64" : "f64");
      names.set(local, number < 32 ? `x${number}` : `f${number - 32}`);
      registers.set(number, local);
      return local;
    };
    const words = new Map<number, number>();
    const word = (number: number): number => {
      const local = words.get(number) ?? code.local("i32");
      words.set(number, local);
      names.set(local, `w${number}`);
      return local;
    };
    const locals = makeLocals(code);
    for (const [key, local] of Object.entries(locals)) names.set(local, key);
    // First of all: see `numberAt`.
    code.padded(plan.number).set(locals.number);
    const pool = new LocalPool(code);
    const { privilege, pages, inexactSet, fused } = plan;
    const context = (labels: { readonly side: Label; readonly jump: Label }): RegionContext => ({
      code,
      layout,
      pool,
      locals,
      register,
      word,
      functions,
      privilege,
      inexactSet,
      fused,
      pages,
      labels,
    });
    let c: RegionContext | undefined;
    code.block((side) => {
      code.block((jump) => {
        c = context({ side, jump });
        emitEntryChecks(c, plan);
        emitLoadRegisters(c, plan.registers);
        new StructureEmitter(c, plan.blocks).emit();
      });
      emitJump(present(c, "context"), plan.registers, regionType);
      code.op("return");
    });
    emitSide(present(c, "context"), plan.registers);
  };
  return module.define(REGION_TYPE, write, name);
}
