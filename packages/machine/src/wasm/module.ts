/** Puts function bodies, imports and exports together into the bytes of a WebAssembly module. */

import { assert, present } from "@blixard/std";
import type { FunctionBody, ValueType } from "./code.ts";
import { ByteWriter } from "./bytes.ts";
import { Code, VALUE_TYPE } from "./code.ts";

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
  readonly body: FunctionBody;
  readonly exportName: string | undefined;
}

const SECTION = { custom: 0, type: 1, import: 2, function: 3, export: 7, code: 10 } as const;
const MAGIC_AND_VERSION = [0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
const FUNCTION_TYPE = 0x60;
const FUNCTION_KIND = 0;
const TABLE_KIND = 1;
const FUNCTION_REFERENCE = 0x70;
/** The section of the branch hinting proposal; engines that do not know it skip it. */
const HINTS = "metadata.code.branch_hint";
const MEMORY_KIND = 2;
/** All imports come from one module of this name. */
export const IMPORT_MODULE = "host";

function writeText(into: ByteWriter, value: string): void {
  const bytes = new TextEncoder().encode(value);
  into.unsigned(bytes.length);
  into.append(bytes);
}
function writeTypes(into: ByteWriter, types: readonly ValueType[]): void {
  into.unsigned(types.length);
  for (const type of types) into.u8(VALUE_TYPE[type]);
}
function writeSection(into: ByteWriter, id: number, write: (body: ByteWriter) => void): void {
  const body = new ByteWriter();
  write(body);
  into.u8(id);
  into.unsigned(body.length);
  into.append(body.view());
}
function writeVector<T>(
  into: ByteWriter,
  entries: readonly T[],
  write: (entry: T, position: number) => void,
): void {
  into.unsigned(entries.length);
  for (const [position, entry] of entries.entries()) write(entry, position);
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
    return this.add(type, code.body(), exportName);
  }

  /** Index of the function, which was defined in a module with the same imports, types and functions before it. */
  add(type: FunctionType, body: FunctionBody, exportName?: string): number {
    this.#defined.push({ type: this.type(type), body, exportName });
    return this.#imports.length + this.#defined.length - 1;
  }

  /** Of a function that was defined here. */
  bodyOf(index: number): FunctionBody {
    return present(this.#defined[index - this.#imports.length], "a defined function").body;
  }

  #writeImports(into: ByteWriter): void {
    const { minimum, maximum } = this.#memoryPages;
    const named = (name: string): void => {
      writeText(into, IMPORT_MODULE);
      writeText(into, name);
    };
    into.unsigned(this.#imports.length + (this.#tableName === undefined ? 1 : 2));
    named("memory");
    into.append([MEMORY_KIND, 1]);
    into.unsigned(minimum);
    into.unsigned(maximum);
    if (this.#tableName !== undefined) {
      named(this.#tableName);
      into.append([TABLE_KIND, FUNCTION_REFERENCE, 0, 0]);
    }
    for (const { name, type } of this.#imports) {
      named(name);
      into.u8(FUNCTION_KIND);
      into.unsigned(type);
    }
  }

  #writeExports(into: ByteWriter): void {
    const exported = this.#defined.flatMap(({ exportName }, position) =>
      exportName === undefined ? [] : [{ name: exportName, position }],
    );
    writeVector(into, exported, ({ name, position }) => {
      writeText(into, name);
      into.u8(FUNCTION_KIND);
      into.unsigned(this.#imports.length + position);
    });
  }

  /** The hints of every function that has some, as a custom section. */
  #writeHints(into: ByteWriter): void {
    const hinted = this.#defined.flatMap(({ body: { hints } }, position) => {
      return hints.length === 0 ? [] : [{ hints, position }];
    });
    if (hinted.length === 0) return;
    writeSection(into, SECTION.custom, (body) => {
      writeText(body, HINTS);
      writeVector(body, hinted, ({ hints, position }) => {
        body.unsigned(this.#imports.length + position);
        writeVector(body, hints, ({ offset, likely }) => {
          body.unsigned(offset);
          body.append([1, likely ? 1 : 0]);
        });
      });
    });
  }

  encode(): Uint8Array<ArrayBuffer> {
    const into = new ByteWriter();
    into.append(MAGIC_AND_VERSION);
    writeSection(into, SECTION.type, (body) => {
      writeVector(body, this.#types, ({ parameters, results }) => {
        body.u8(FUNCTION_TYPE);
        writeTypes(body, parameters);
        writeTypes(body, results);
      });
    });
    writeSection(into, SECTION.import, (body) => this.#writeImports(body));
    writeSection(into, SECTION.function, (body) => {
      writeVector(body, this.#defined, ({ type }) => body.unsigned(type));
    });
    writeSection(into, SECTION.export, (body) => this.#writeExports(body));
    this.#writeHints(into);
    writeSection(into, SECTION.code, (body) => {
      writeVector(body, this.#defined, (one) => {
        body.unsigned(one.body.bytes.length);
        body.append(one.body.bytes);
      });
    });
    return into.take();
  }
}
