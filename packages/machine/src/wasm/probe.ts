/** What the engine and the processor below it can do, found out by doing it. */

import { compile, createMemory, instantiate } from "./engine.ts";
import { ModuleBuilder } from "./module.ts";

/** Products that need one rounding more than a multiplication gives them; the sums are exact. */
const TELLING = [
  { a: 1 + 2 ** -30, b: 1 - 2 ** -30, c: -1, fused: -(2 ** -60) },
  { a: 2 ** 500 + 2 ** 460, b: 2 ** 20 + 2 ** -20, c: -(2 ** 520), fused: 2 ** 481 + 2 ** 440 },
] as const;

let known: boolean | undefined;

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
