/**
 * The interpreter as a WebAssembly module: one function, a loop around one table jump, and a handler for
 * every instruction of the decode table. It runs until the budget is used up or the machine is needed; all
 * state is in the memory, at STATE.
 */

import { present } from "@blixard/std";
import { INSTRUCTIONS } from "../isa/riscv64/decode.ts";
import type { Layout } from "../memory/layout.ts";
import { JUMP_ENTRIES, STATE } from "../memory/layout.ts";
import type { Code, Label } from "../wasm/code.ts";
import { ModuleBuilder } from "../wasm/module.ts";
import type { Context, Counting, Functions, Labels, Locals } from "./context.ts";
import { COUNTED, EXIT, LocalPool, OPERATION } from "./context.ts";
import { REGION_TYPE } from "../jit/emit/context.ts";
import { emitHandler } from "./emit.ts";
import { defineFma32, defineFma64 } from "./fma.ts";
import { emitMulhu } from "./pure.ts";
import { HANDLER_COUNT, handlerNumber, HANDLERS, SPECIAL } from "./handlers.ts";

function defineMulhu(module: ModuleBuilder): number {
  const type = { parameters: ["i64", "i64"], results: ["i64"] } as const;
  return module.define(type, (code) => emitMulhu(code, 0, 1, () => code.local("i64")));
}

const LOADED = ["ip", "left", "pageBase", "span", "tlb"] as const;

/** Of a local that only the compiler's interpreter has. */
const NO_LOCAL = -1;

function makeLocals(code: Code, counting: boolean): Locals {
  return {
    ip: code.local("i32"),
    left: code.local("i32"),
    pageVa: code.local("i64"),
    pageBase: code.local("i32"),
    span: code.local("i32"),
    tlb: code.local("i32"),
    target: code.local("i64"),
    handler: counting ? code.local("i32") : NO_LOCAL,
    skip: counting ? code.local("i64") : NO_LOCAL,
  };
}

/** Goes on at `target`: in this page, through the jump table, or by way of the machine. */
function emitJump(c: Context, next: Label): void {
  const { code, locals, pool } = c;
  pool.reset();
  const distance = pool.take("i64");
  const entry = pool.take("i32");
  const page = pool.take("i64");
  const setIp = (offset: () => void): void => {
    code.get(locals.pageBase);
    offset();
    code.op("i32.wrap_i64").i32(3).op("i32.shl", "i32.add").set(locals.ip);
    if (c.counting === undefined) return;
    // Where a jump by address leads, a function or its caller goes on: executions are counted from now on.
    code.get(locals.ip).get(locals.ip).memory("i32.load16_u", OPERATION.handler);
    code.i32(COUNTED).op("i32.or").memory("i32.store16", OPERATION.handler);
  };
  code.get(locals.target).get(locals.pageVa).op("i64.sub").tee(distance);
  code.get(locals.span).op("i64.extend_i32_u", "i64.lt_u");
  code.if(() => {
    setIp(() => code.get(distance));
    code.br(next);
  });
  code.get(locals.target).op("i32.wrap_i64").i32(8).op("i32.shr_u");
  code
    .i32((JUMP_ENTRIES - 1) * 16)
    .op("i32.and")
    .i32(0)
    .memory("i32.load", STATE.jumps);
  code.op("i32.add").set(entry);
  code.get(locals.target).i64(-4096).op("i64.and").tee(page);
  code.get(entry).memory("i64.load").op("i64.eq");
  code.if(() => {
    code.get(page).set(locals.pageVa);
    code.get(entry).memory("i32.load", 8).set(locals.pageBase);
    code.i32(4096).set(locals.span);
    setIp(() => code.get(locals.target).i64(4095).op("i64.and"));
    code.i32(0).get(page).memory("i64.store", STATE.pageVa);
    code.i32(0).get(locals.pageBase).memory("i32.store", STATE.pageBase);
    code.i32(0).get(locals.span).memory("i32.store", STATE.span);
    code.br(next);
  });
}

function emitExit(c: Context, reason: number): void {
  const { code, locals } = c;
  code.i32(0).get(locals.left).memory("i32.store", STATE.left);
  code.i32(reason).op("return");
}
function emitExitAtTarget(c: Context, reason: number): void {
  const { code, locals } = c;
  code.i32(0).get(locals.target).memory("i64.store", STATE.pc);
  emitExit(c, reason);
}
function emitExitAtIp(c: Context, reason: number): void {
  const { code, locals } = c;
  code.i32(0).get(locals.ip).memory("i32.store", STATE.ip);
  emitExit(c, reason);
}

/** The handlers that are no instruction. */
function emitSpecial(c: Context, labels: Labels, number: number): void {
  const { code, locals, functions } = c;
  const uncount = (): void => {
    code.get(locals.left).i32(1).op("i32.add").set(locals.left);
  };
  switch (number) {
    case SPECIAL.undecoded:
      uncount();
      code.i32(0).get(locals.ip).memory("i32.store", STATE.ip);
      code.call(functions.predecode).br(labels.next);
      return;
    case SPECIAL.pageEnd:
      uncount();
      code.get(locals.pageVa).get(locals.ip).get(locals.pageBase).op("i32.sub").i32(3);
      code.op("i32.shr_u", "i64.extend_i32_u", "i64.add").set(locals.target).br(labels.jump);
      return;
    case SPECIAL.illegal:
      code.i32(0).i32(2).memory("i32.store", STATE.trapCause);
      code.i32(0).i32(1).memory("i32.store", STATE.trapValue).br(labels.guard);
      return;
    default:
      emitExitAtIp(c, EXIT.straddle);
  }
}

/**
 * Executions of a marked operation: enters its region if there is one and it is not to be skipped, else counts.
 * Falls through, with `handler` set, if the interpreter is to perform the operation.
 */
function emitCounted(c: Context, labels: Labels, counting: Counting): void {
  const { code, layout, locals, pool } = c;
  pool.reset();
  const [word, count, by] = [pool.take("i32"), pool.take("i32"), pool.take("i32")];
  const at = pool.take("i64");
  code.get(locals.ip).i32(layout.codeAt).op("i32.sub").i32(2).op("i32.shr_u").tee(word);
  code.memory("i32.load", layout.countsAt).tee(count).i32(0).op("i32.lt_s");
  code.if(
    () => {
      code.get(locals.pageVa).get(locals.ip).get(locals.pageBase).op("i32.sub").i32(3);
      code.op("i32.shr_u", "i64.extend_i32_u", "i64.add").tee(at).get(locals.skip).op("i64.ne");
      code.if(() => {
        // The region counts its own instructions.
        code.get(locals.left).i32(1).op("i32.add").get(locals.pageVa);
        code.get(count).i32(0x7fffffff).op("i32.and").callIndirect(counting.regionType).set(by);
        code.i32(0).memory("i32.load", STATE.left).set(locals.left);
        code.i32(0).memory("i64.load", STATE.pc).tee(locals.target);
        code.i64(1).get(by).op("select").set(locals.skip);
        code.get(by).i32(2).op("i32.shl").tee(by);
        code.get(by).memory("i32.load", STATE.leftBy).i32(1).op("i32.add");
        code.memory("i32.store", STATE.leftBy).br(labels.jump);
      });
    },
    () => {
      code.get(count).i32(counting.threshold).op("i32.lt_s");
      code.if(() => {
        code.get(word).get(count).i32(1).op("i32.add").tee(count);
        code.memory("i32.store", layout.countsAt);
        code.get(count).i32(counting.threshold).op("i32.eq");
        code.if(() => {
          code.i32(0).get(locals.ip).memory("i32.store", STATE.ip);
          code.i32(0).get(locals.left).memory("i32.store", STATE.left);
          code.call(counting.hot);
          // Once more: there may be a region now.
          code.i32(0).memory("i32.load", STATE.left).i32(1).op("i32.add").set(locals.left);
          code.br(labels.next);
        });
      });
    },
  );
  code.get(locals.ip).memory("i32.load16_u", OPERATION.handler);
  code
    .i32(0xffff & ~COUNTED)
    .op("i32.and")
    .set(locals.handler);
}

/** Nested blocks, so that each handler's code stands right after the end of its own. */
function emitDispatch(c: Context, labels: Labels): void {
  const { code, locals } = c;
  const targets: Label[] = [];
  const open = (number: number): void => {
    if (number < 0) {
      // One count for every operation begun; the one that finds it at zero does not begin.
      code.get(locals.left).i32(1).op("i32.sub").tee(locals.left).i32(0).op("i32.lt_s");
      code.if(() => {
        code.i32(0).set(locals.left);
        emitExitAtIp(c, EXIT.budget);
      });
      const last = present(targets[0], "target");
      const { counting } = c;
      if (counting !== undefined) {
        // Marked operations have numbers beyond the table.
        code.block((counted) => {
          code.get(locals.ip).memory("i32.load16_u", OPERATION.handler);
          code.brTable(targets.toReversed(), counted);
        });
        emitCounted(c, labels, counting);
        code.get(locals.handler).brTable(targets.toReversed(), last);
        return;
      }
      code.get(locals.ip).memory("i32.load16_u", OPERATION.handler);
      code.brTable(targets.toReversed(), last);
      return;
    }
    code.block((label) => {
      targets.push(label);
      open(number - 1);
    });
    const handler = HANDLERS[number - handlerNumber(0)];
    if (handler === undefined) emitSpecial(c, labels, number);
    else emitHandler(c, labels, present(INSTRUCTIONS[handler.index], "row").block, handler);
  };
  open(HANDLER_COUNT - 1);
}

function defineRun(
  module: ModuleBuilder,
  layout: Layout,
  functions: Functions,
  counting: Counting | undefined,
): void {
  module.define(
    { parameters: [], results: ["i32"] },
    (code) => {
      const locals = makeLocals(code, counting !== undefined);
      const c: Context = { code, counting, layout, functions, locals, pool: new LocalPool(code) };
      if (counting !== undefined) code.i64(1).set(locals.skip);
      for (const name of LOADED) {
        code.i32(0).memory("i32.load", STATE[name]).set(locals[name]);
      }
      code.i32(0).memory("i64.load", STATE.pageVa).set(locals.pageVa);
      code.block((guard) => {
        code.block((trapped) => {
          code.block((leave) => {
            code.loop((next) => {
              code.block((jump) => emitDispatch(c, { next, jump, leave, guard, trapped }));
              emitJump(c, next);
            });
            emitExitAtTarget(c, EXIT.fetch);
          });
          emitExitAtTarget(c, EXIT.leave);
        });
        // The machine has the count already: it took the exception.
        code.i32(EXIT.trapped).op("return");
      });
      emitExitAtIp(c, EXIT.guard);
      code.op("unreachable");
    },
    "run",
  );
}

export interface InterpreterVariant {
  /** Executions after which the compiler is told; without it there is no compiler. */
  readonly threshold?: number | undefined;
  /** Whether relaxed multiply-adds round once (wasm/probe.ts). */
  readonly fused?: boolean;
}

/**
 * Bytes of the module for one layout. Imports: access, predecode, helper, float; exports: run. With a
 * threshold it feeds the compiler, and imports `hot` and the table `regions`.
 */
export function interpreterModule(
  layout: Layout,
  { threshold, fused = false }: InterpreterVariant = {},
): Uint8Array<ArrayBuffer> {
  const module = new ModuleBuilder({ minimum: layout.wasmPages, maximum: layout.wasmPages });
  const answer = { parameters: ["i32"], results: ["i32"] } as const;
  const imports = {
    access: module.import("access", answer),
    predecode: module.import("predecode", { parameters: [], results: [] }),
    helper: module.import("helper", answer),
    float: module.import("float", { parameters: ["i32", "i32", "i32"], results: [] }),
  };
  let counting: Counting | undefined;
  if (threshold !== undefined) {
    module.importTable("regions");
    const hot = module.import("hot", { parameters: [], results: [] });
    counting = { threshold, hot, regionType: module.type(REGION_TYPE) };
  }
  const functions = {
    mulhu: defineMulhu(module),
    fma32: defineFma32(module, fused),
    fma64: defineFma64(module, fused),
  };
  defineRun(module, layout, { ...imports, ...functions }, counting);
  return module.encode();
}
