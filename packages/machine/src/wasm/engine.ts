/**
 * The part of the WebAssembly JavaScript interface that the machine uses. The language's own type library
 * does not describe it outside the DOM, and the machine must not depend on the DOM.
 */

import { assert } from "@blixard/std";
import { IMPORT_MODULE } from "./module.ts";

export interface WasmMemory {
  readonly buffer: ArrayBuffer;
}
export type WasmFunction = (...args: number[]) => number;
/** An imported function: takes i32 arguments, returns an i32 or nothing. */
export type WasmImport = (...args: number[]) => number | void;

/** A table of functions; an empty entry traps when it is called. */
export interface WasmTable {
  readonly length: number;
  grow(entries: number): number;
  set(index: number, value: WasmFunction | null): void;
}

interface Engine {
  readonly Table: new (descriptor: { initial: number; element: "anyfunc" }) => WasmTable;
  readonly Memory: new (descriptor: { initial: number; maximum: number }) => WasmMemory;
  readonly Module: new (bytes: Uint8Array<ArrayBuffer>) => object;
  readonly Instance: new (
    module: object,
    imports: Record<string, Record<string, unknown>>,
  ) => { readonly exports: Readonly<Record<string, unknown>> };
}

function engine(): Engine {
  // Every supported runtime has the global; the interface above is a subset of its specification.
  const found = (globalThis as { readonly WebAssembly?: Engine }).WebAssembly;
  assert(found !== undefined, "the runtime has WebAssembly");
  return found;
}

/** Memory of a fixed size in pages of 64 KiB. Untouched pages cost nothing. */
export function createMemory(pages: number): WasmMemory {
  return new (engine().Memory)({ initial: pages, maximum: pages });
}

export function createTable(entries: number): WasmTable {
  return new (engine().Table)({ initial: entries, element: "anyfunc" });
}

/** A compiled module. Throws the engine's CompileError, which means a bug in the emitter. */
export function compile(bytes: Uint8Array<ArrayBuffer>): object {
  return new (engine().Module)(bytes);
}

export function instantiate(
  module: object,
  memory: WasmMemory,
  imports: Readonly<Record<string, WasmImport | WasmTable>>,
): Readonly<Record<string, WasmFunction>> {
  const instance = new (engine().Instance)(module, { [IMPORT_MODULE]: { memory, ...imports } });
  // Modules made here export functions of i32 arguments and results only.
  return instance.exports as Readonly<Record<string, WasmFunction>>;
}
