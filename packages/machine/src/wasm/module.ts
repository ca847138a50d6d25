/** Puts function bodies, imports and exports together into the bytes of a WebAssembly module. */

import { assert } from "@blixard/std";
import type { ValueType } from "./code.ts";
import { Code, unsignedLeb, VALUE_TYPE } from "./code.ts";

export interface FunctionType {
  readonly parameters: readonly ValueType[];
  readonly results: readonly ValueType[];
}

interface Import {
  readonly name: string;
  readonly type: number;
}
interface Defined {
  readonly type: number;
  readonly code: Code;
  readonly exportName: string | undefined;
}

const SECTION = { custom: 0, type: 1, import: 2, function: 3, export: 7, code: 10 } as const;
const MAGIC_AND_VERSION = [0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
const FUNCTION_KIND = 0;
const TABLE_KIND = 1;
const FUNCTION_REFERENCE = 0x70;
/** The section of the branch hinting proposal; engines that do not know it skip it. */
const HINTS = "metadata.code.branch_hint";
const MEMORY_KIND = 2;
/** All imports come from one module of this name. */
export const IMPORT_MODULE = "host";

function text(value: string): number[] {
  const bytes = [...new TextEncoder().encode(value)];
  return [...unsignedLeb(bytes.length), ...bytes];
}
function section(id: number, entries: readonly (readonly number[])[]): number[] {
  const body = [...unsignedLeb(entries.length)].concat(...entries.map((entry) => [...entry]));
  return [id, ...unsignedLeb(body.length)].concat(body);
}

/** Declare all imports first, then define functions: both share one numbering. */
export class ModuleBuilder {
  readonly #types: FunctionType[] = [];
  readonly #imports: Import[] = [];
  readonly #defined: Defined[] = [];
  #tableName: string | undefined;
  readonly #memoryPages: { readonly minimum: number; readonly maximum: number };

  /** The memory is imported as `memory`; sizes in pages of 64 KiB. */
  constructor(memoryPages: { readonly minimum: number; readonly maximum: number }) {
    this.#memoryPages = memoryPages;
  }

  /** The one table, of functions, is imported under this name. */
  importTable(name: string): void {
    assert(this.#tableName === undefined, "there is one table");
    this.#tableName = name;
  }

  /** Number of a function type, for calls through the table. */
  type(type: FunctionType): number {
    const same = (other: FunctionType): boolean =>
      other.parameters.join() === type.parameters.join() &&
      other.results.join() === type.results.join();
    const known = this.#types.findIndex(same);
    if (known >= 0) return known;
    this.#types.push(type);
    return this.#types.length - 1;
  }

  /** Index of the imported function. */
  import(name: string, type: FunctionType): number {
    assert(this.#defined.length === 0, "imports come before definitions");
    this.#imports.push({ name, type: this.type(type) });
    return this.#imports.length - 1;
  }

  /** Index of the function, whose body is written by `write`. */
  define(type: FunctionType, write: (code: Code) => void, exportName?: string): number {
    const code = new Code(type.parameters);
    write(code);
    this.#defined.push({ type: this.type(type), code, exportName });
    return this.#imports.length + this.#defined.length - 1;
  }

  /** The hints of every function that has some, as a custom section. */
  #hints(): number[] {
    const functions = this.#defined.flatMap(({ code }, position) => {
      const hints = code.hints();
      if (hints.length === 0) return [];
      const entries = hints.map(({ offset, likely }) => [
        ...unsignedLeb(offset),
        1,
        likely ? 1 : 0,
      ]);
      const index = unsignedLeb(this.#imports.length + position);
      return [[...index, ...unsignedLeb(hints.length)].concat(...entries)];
    });
    if (functions.length === 0) return [];
    const body = [...text(HINTS), ...unsignedLeb(functions.length)].concat(...functions);
    return [SECTION.custom, ...unsignedLeb(body.length)].concat(body);
  }

  encode(): Uint8Array<ArrayBuffer> {
    const { minimum, maximum } = this.#memoryPages;
    const types = this.#types.map(({ parameters, results }) => [
      0x60,
      ...unsignedLeb(parameters.length),
      ...parameters.map((type) => VALUE_TYPE[type]),
      ...unsignedLeb(results.length),
      ...results.map((type) => VALUE_TYPE[type]),
    ]);
    const from = text(IMPORT_MODULE);
    const imports = [
      [
        ...from,
        ...text("memory"),
        MEMORY_KIND,
        1,
        ...unsignedLeb(minimum),
        ...unsignedLeb(maximum),
      ],
      ...(this.#tableName === undefined
        ? []
        : [[...from, ...text(this.#tableName), TABLE_KIND, FUNCTION_REFERENCE, 0, 0]]),
      ...this.#imports.map(({ name, type }) => [
        ...from,
        ...text(name),
        FUNCTION_KIND,
        ...unsignedLeb(type),
      ]),
    ];
    const exports = this.#defined.flatMap(({ exportName }, position) =>
      exportName === undefined
        ? []
        : [[...text(exportName), FUNCTION_KIND, ...unsignedLeb(this.#imports.length + position)]],
    );
    const functions = this.#defined.map(({ type }) => unsignedLeb(type));
    const codes = this.#defined.map(({ code }) => [...code.encode()]);
    return Uint8Array.from(
      MAGIC_AND_VERSION.concat(
        section(SECTION.type, types),
        section(SECTION.import, imports),
        section(SECTION.function, functions),
        section(SECTION.export, exports),
        this.#hints(),
        section(SECTION.code, codes),
      ),
    );
  }
}
