/** Checked reading of JSON from disk and sockets: each helper names the field that is wrong. */

import { BlixardError, err, ok, type Result } from "@blixard/std";

export class ShapeError extends Error {
  override readonly name = "ShapeError";
}

export type JsonObject = Readonly<Record<string, unknown>>;

export function asObject(value: unknown, what: string): JsonObject {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new ShapeError(`${what} is not an object`);
  }
  // Safe: a non-null, non-array object is a record of unknown values.
  return value as JsonObject;
}

export function asText(value: unknown, what: string): string {
  if (typeof value !== "string") throw new ShapeError(`${what} is not text`);
  return value;
}

export function asInteger(value: unknown, what: string): number {
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0) {
    throw new ShapeError(`${what} is not a non-negative integer`);
  }
  return value;
}

/** Finite, fractions allowed. */
export function asNumber(value: unknown, what: string): number {
  if (typeof value !== "number" || !Number.isFinite(value)) {
    throw new ShapeError(`${what} is not a number`);
  }
  return value;
}

export function asTexts(value: unknown, what: string): readonly string[] {
  if (!Array.isArray(value)) throw new ShapeError(`${what} is not a list`);
  return value.map((item: unknown, at) => asText(item, `${what}[${at}]`));
}

export function asOneOf<T extends string>(value: unknown, allowed: readonly T[], what: string): T {
  const found = allowed.find((candidate) => candidate === value);
  if (found === undefined) {
    throw new ShapeError(`${what} is none of ${allowed.join(", ")}`);
  }
  return found;
}

export function optional<T>(
  value: unknown,
  what: string,
  read: (value: unknown, what: string) => T,
): T | undefined {
  return value === undefined ? undefined : read(value, what);
}

/** Refuses fields that nobody reads: a misspelt option must not pass in silence. */
export function onlyFields(object: JsonObject, allowed: readonly string[], what: string): void {
  for (const field of Object.keys(object)) {
    if (!allowed.includes(field)) throw new ShapeError(`${what} has an unknown field "${field}"`);
  }
}

/** Parses and shapes text from outside; whatever is wrong becomes a reason. */
export function parseWith<T>(text: string, read: (value: unknown) => T): Result<T, string> {
  try {
    return ok(read(JSON.parse(text)));
  } catch (caught) {
    if (caught instanceof ShapeError || caught instanceof SyntaxError) return err(caught.message);
    if (caught instanceof BlixardError) return err(caught.message);
    throw caught;
  }
}
