/** What the engine and the processor below it can do, found out by doing it. */

import { present } from "@blixard/std";
import { compile, createMemory, createTable, instantiate } from "./engine.ts";
import { ModuleBuilder } from "./module.ts";

/** Products that need one rounding more than a multiplication gives them; the sums are exact. */
const TELLING = [
  { a: 1 + 2 ** -30, b: 1 - 2 ** -30, c: -1, fused: -(2 ** -60) },
  { a: 2 ** 500 + 2 ** 460, b: 2 ** 20 + 2 ** -20, c: -(2 ** 520), fused: 2 ** 481 + 2 ** 440 },
] as const;

let known: boolean | undefined;
let tailCalls: boolean | undefined;

/** More calls than any stack holds. */
const DEEP = 100_000;

/** Whether calls in tail position, which regions go on by, take no stack. */
export function hasTailCalls(): boolean {
  tailCalls ??= probeTailCalls();
  return tailCalls;
}

function probeTailCalls(): boolean {
  const module = new ModuleBuilder({ minimum: 1, maximum: 1 });
  module.importTable("regions");
  const type = { parameters: ["i32"], results: ["i32"] } as const;
  const number = module.type(type);
  module.define(
    type,
    (code) => {
      code
        .get(0)
        .op("i32.eqz")
        .if(() => void code.i32(1).op("return"));
      code.get(0).i32(1).op("i32.sub").i32(0).returnCallIndirect(number);
    },
    "down",
  );
  const regions = createTable(1);
  try {
    const { down } = instantiate(compile(module.encode()), createMemory(1), { regions });
    regions.set(0, present(down, "the function"));
    return down?.(DEEP) === 1;
  } catch {
    // An engine without them refuses the module; one that needs stack for them runs out of it.
    return false;
  }
}

/**
 * Whether relaxed vector multiply-adds round once. The specification leaves it to the engine, which follows the
 * processor, and it is the same for all code of a process (relaxed SIMD: the choice is fixed).
 */
export function hasFusedMultiplyAdd(): boolean {
  known ??= probe();
  return known;
}

function probe(): boolean {
  const module = new ModuleBuilder({ minimum: 1, maximum: 1 });
  const type = { parameters: ["f64", "f64", "f64"], results: ["f64"] } as const;
  module.define(type, (code) => code.fused("f64", 0, 1, 2), "fused");
  const bytes = module.encode();
  let compiled: object;
  try {
    compiled = compile(bytes);
  } catch {
    // An engine without relaxed vectors refuses the module: that is the answer.
    return false;
  }
  const { fused } = instantiate(compiled, createMemory(1), {});
  return TELLING.every(({ a, b, c, fused: wanted }) => fused?.(a, b, c) === wanted);
}
