/** Reads back what a device saved. The bytes lay on a disk in between: every field is checked. */

import { fail } from "@blixard/std";

/** What every saved device state starts with, in place of magic and version. */
export interface SavedHeader {
  readonly device: string;
  readonly version: number;
}

/** Fields of a saved object; each reader throws `Corrupt` naming the field that is not as it must be. */
export class SavedFields {
  readonly #what: string;
  readonly #path: string;
  readonly #fields: Readonly<Record<string, unknown>>;

  constructor(what: string, path: string, value: unknown) {
    this.#what = what;
    this.#path = path;
    if (typeof value !== "object" || value === null) {
      fail("Corrupt", { what, where: path }, `${what} has no object at ${path}`);
    }
    // Safe: any object may be read by string keys; what they hold stays unknown.
    this.#fields = value as Readonly<Record<string, unknown>>;
  }

  #bad(name: string, expected: string): never {
    const where = `${this.#path}.${name}`;
    return fail(
      "Corrupt",
      { what: this.#what, where },
      `${this.#what} has no ${expected} at ${where}`,
    );
  }

  uint(name: string, max: number): number {
    const value = this.#fields[name];
    if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0 || value > max) {
      return this.#bad(name, `integer from 0 to ${max}`);
    }
    return value;
  }

  bool(name: string): boolean {
    const value = this.#fields[name];
    return typeof value === "boolean" ? value : this.#bad(name, "boolean");
  }

  text(name: string): string {
    const value = this.#fields[name];
    return typeof value === "string" ? value : this.#bad(name, "text");
  }

  oneOf<T extends string>(name: string, options: readonly T[]): T {
    const value = this.#fields[name];
    const found = options.find((option) => option === value);
    return found ?? this.#bad(name, `one of ${options.join(", ")}`);
  }

  /** An unsigned 64-bit integer. */
  u64(name: string): bigint {
    const value = this.#fields[name];
    if (typeof value !== "bigint" || BigInt.asUintN(64, value) !== value) {
      return this.#bad(name, "unsigned 64-bit integer");
    }
    return value;
  }

  /** A signed integer of any size that time arithmetic may produce. */
  integer(name: string): bigint {
    const value = this.#fields[name];
    if (typeof value !== "bigint" || BigInt.asIntN(128, value) !== value) {
      return this.#bad(name, "integer");
    }
    return value;
  }

  /** A copy of at most `max` bytes. */
  bytes(name: string, max: number): Uint8Array {
    const value = this.#fields[name];
    if (!(value instanceof Uint8Array) || value.length > max) {
      return this.#bad(name, `byte array of at most ${max}`);
    }
    return value.slice();
  }

  /** Exactly `length` integers from 0 to `max`. */
  uints(name: string, length: number, max: number): number[] {
    const items = this.list(name, length, (item) => item.uint("value", max), true);
    if (items.length !== length) return this.#bad(name, `list of ${length}`);
    return items;
  }

  /** At most `max` items, each read by `parse`; `wrapped` lists hold plain values. */
  list<T>(name: string, max: number, parse: (item: SavedFields) => T, wrapped = false): T[] {
    const value = this.#fields[name];
    if (!Array.isArray(value) || value.length > max) {
      return this.#bad(name, `list of at most ${max}`);
    }
    return value.map((item: unknown, index) =>
      parse(
        new SavedFields(
          this.#what,
          `${this.#path}.${name}[${index}]`,
          wrapped ? { value: item } : item,
        ),
      ),
    );
  }

  /** A field that another reader checks. */
  unknown(name: string): unknown {
    return this.#fields[name];
  }
}

/** Opens a saved state whose header must name this device kind and version. */
export function openSaved(saved: unknown, device: string, version: number): SavedFields {
  const what = `saved state of ${device}`;
  const fields = new SavedFields(what, "saved", saved);
  // Safe: SavedFields has just checked that it is an object; its fields stay unknown.
  const header = saved as { readonly device?: unknown; readonly version?: unknown };
  if (header.device !== device || header.version !== version) {
    fail(
      "Corrupt",
      { what, where: "saved" },
      `${what} must have version ${version}, found ${String(header.device)} ${String(header.version)}`,
    );
  }
  return fields;
}
