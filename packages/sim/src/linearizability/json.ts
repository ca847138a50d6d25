/** Reading fields of values that came from outside. */

export function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return {};
  // An object that is no array has string keys with values of whatever kind.
  return value as Record<string, unknown>;
}

export function isInteger(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value);
}
