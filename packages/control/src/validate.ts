/**
 * Small decoders for data from outside. Each takes any value and its path and returns the value in
 * canonical form (fresh, frozen, known fields only) or throws `InvalidValue`; `decode` turns that
 * into a Result. Messages are the same on every node: nothing of the engine's own wording enters
 * them.
 */

import { err, failure, ok, utf8, type Failure, type Result } from "@blixard/std";

export type Decoder<T> = (value: unknown, path: string) => T;

class InvalidValue extends Error {
  override readonly name = "InvalidValue";
  readonly field: string;
  readonly reason: string;
  constructor(field: string, reason: string, message: string) {
    super(message);
    this.field = field;
    this.reason = reason;
  }
}

/** At most about 64 characters of a value, for a message. */
function shown(value: unknown): string {
  if (value === undefined) return "nothing";
  if (typeof value === "object" && value !== null)
    return Array.isArray(value) ? "a list" : "an object";
  if (typeof value === "number") return String(value);
  if (typeof value !== "string") return JSON.stringify(value) ?? typeof value;
  const text = value.length > 60 ? `${value.slice(0, 60)}...` : value;
  return JSON.stringify(text);
}

export function invalid(value: unknown, path: string, expected: string): never {
  const message = `Cannot use ${path} ${shown(value)}: expected ${expected}`;
  throw new InvalidValue(path, `expected ${expected}`, message);
}

/** Runs a decoder; a refusal becomes `InvalidArgument` naming the field. */
export function decode<T>(decoder: Decoder<T>, value: unknown, path: string): Result<T, Failure> {
  try {
    return ok(decoder(value, path));
  } catch (caught) {
    if (!(caught instanceof InvalidValue)) throw caught;
    const { field, reason } = caught;
    return err(failure("InvalidArgument", { field, reason }, caught.message));
  }
}

export function integer<T extends number>(min: number, max: number, unit = ""): Decoder<T> {
  const expected = `a whole number from ${min} to ${max}${unit}`;
  return (value, path) => {
    if (typeof value !== "number" || !Number.isSafeInteger(value) || value < min || value > max) {
      return invalid(value, path, expected);
    }
    // Safe: T only adds a brand to the number that was just checked. `+ 0` turns -0 into 0.
    return (value + 0) as T;
  };
}

/** Any integer from 0 that a double holds exactly. */
export function counter<T extends number>(): Decoder<T> {
  return integer<T>(0, Number.MAX_SAFE_INTEGER);
}

export function pattern<T extends string>(regex: RegExp, expected: string): Decoder<T> {
  return (value, path) => {
    if (typeof value !== "string" || !regex.test(value)) return invalid(value, path, expected);
    // Safe: T only adds a brand to the string that was just checked.
    return value as T;
  };
}

/** Well-formed Unicode (no lone surrogates) of at most `bytesMax` bytes of UTF-8. */
export function text(bytesMax: number, without?: RegExp): Decoder<string> {
  const kind = without === undefined ? "text" : "text without control characters";
  const expected = `${kind} of at most ${bytesMax} bytes`;
  return (value, path) => {
    if (typeof value !== "string" || value.length > bytesMax || !value.isWellFormed()) {
      return invalid(value, path, expected);
    }
    if (without?.test(value) === true) return invalid(value, path, expected);
    // UTF-8 takes at most three bytes for each UTF-16 unit: only long texts need the exact count.
    if (value.length * 3 > bytesMax && utf8(value).length > bytesMax) {
      return invalid(value, path, expected);
    }
    return value;
  };
}

export function oneOf<const T extends string>(...options: readonly T[]): Decoder<T> {
  const expected = options.map((option) => JSON.stringify(option)).join(" or ");
  return (value, path) => {
    const found = options.find((option) => option === value);
    return found ?? invalid(value, path, expected);
  };
}

export const boolean: Decoder<boolean> = (value, path) =>
  typeof value === "boolean" ? value : invalid(value, path, "true or false");

export function list<T>(item: Decoder<T>, max: number): Decoder<readonly T[]> {
  return (value, path) => {
    if (!Array.isArray(value) || value.length > max) {
      return invalid(value, path, `a list of at most ${max} items`);
    }
    // Safe: Array.isArray proved it an array; each element is checked by `item`.
    const items = value as readonly unknown[];
    return Object.freeze(items.map((entry, i) => item(entry, `${path}[${i}]`)));
  };
}

/** String to string, in sorted key order; the key's pattern must exclude "__proto__". */
export function dictionary(
  key: Decoder<string>,
  entry: Decoder<string>,
  max: number,
): Decoder<Readonly<Record<string, string>>> {
  return (value, path) => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      return invalid(value, path, "an object of texts");
    }
    const pairs = Object.entries(value);
    if (pairs.length > max) return invalid(value, path, `at most ${max} entries`);
    const out: Record<string, string> = {};
    pairs.sort(([a], [b]) => (a < b ? -1 : 1));
    for (const [name, content] of pairs) {
      const checked = key(name, `${path} key`);
      out[checked] = entry(content, `${path}.${checked}`);
    }
    return Object.freeze(out);
  };
}

type OptionalKeys<T> = { [K in keyof T]-?: object extends Pick<T, K> ? K : never }[keyof T];
type RequiredKeys<T> = Exclude<keyof T, OptionalKeys<T>>;

/** A decoder for each field; optional fields apart. Unknown fields are refused. */
export function record<T extends object>(
  required: { readonly [K in RequiredKeys<T>]: Decoder<T[K]> },
  optional: { readonly [K in OptionalKeys<T>]: Decoder<NonNullable<T[K]>> },
): Decoder<T> {
  const must = Object.entries<Decoder<unknown>>(required);
  const may = Object.entries<Decoder<unknown>>(optional);
  const known = new Set([...must, ...may].map(([name]) => name));
  return (value, path) => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      return invalid(value, path, "an object");
    }
    const at = path === "" ? "" : `${path}.`;
    // Safe: it is a non-null object; each field is checked by its decoder.
    const fields = value as Readonly<Record<string, unknown>>;
    for (const name of Object.keys(fields)) {
      if (!known.has(name)) {
        const near = name.length > 60 ? `${name.slice(0, 60)}...` : name;
        const reason = `there is no such field, expected ${[...known].join(", ")}`;
        throw new InvalidValue(`${at}${near}`, reason, `Cannot use ${at}${near}: ${reason}`);
      }
    }
    const out: Record<string, unknown> = {};
    // hasOwn: a field missing in the bytes must not be found on Object.prototype.
    for (const [name, decoder] of must) {
      out[name] = decoder(Object.hasOwn(fields, name) ? fields[name] : undefined, at + name);
    }
    for (const [name, decoder] of may) {
      if (Object.hasOwn(fields, name) && fields[name] !== undefined) {
        out[name] = decoder(fields[name], at + name);
      }
    }
    // Safe: every field of T was decoded by the decoder that the type of `required` and `optional`
    // asks for.
    return Object.freeze(out) as T;
  };
}
