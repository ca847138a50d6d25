/**
 * Failures on the wire: JSON {code, data, message, hint}; what cannot be understood becomes
 * Internal.
 */

import { BlixardError, failure, isFailure, utf8, utf8Text } from "@blixard/std";

/**
 * At most `maxBytes`: a failure whose data is too long is sent as Internal with its message cut.
 */
export function encodeFailure(error: BlixardError, maxBytes: number): Uint8Array {
  const bytes = utf8(JSON.stringify(error.failure));
  if (bytes.length <= maxBytes) return bytes;
  const reason = `${error.code}: ${error.message.slice(0, 1024)}`;
  return utf8(JSON.stringify(failure("Internal", { reason }, reason)));
}

function internal(reason: string): BlixardError {
  return new BlixardError(failure("Internal", { reason }, reason));
}

/** Never throws; `peer` names the sender in messages. */
export function decodeFailure(bytes: Uint8Array, peer: string): BlixardError {
  let value: unknown;
  try {
    value = JSON.parse(utf8Text(bytes));
  } catch (caught) {
    const why = caught instanceof Error ? caught.message : String(caught);
    return internal(`${peer} sent a failure that is not JSON: ${why}`);
  }
  if (isFailure(value) && value.data !== null) {
    const hint = "hint" in value && typeof value.hint === "string" ? { hint: value.hint } : {};
    // Rebuilt field by field, so that unknown fields of a newer peer go no further.
    return new BlixardError({
      code: value.code,
      data: value.data,
      message: value.message,
      ...hint,
      // Safe: code and data come from one value that isFailure accepted as a member of the union.
    } as typeof value);
  }
  const code = typeof value === "object" && value !== null && "code" in value ? value.code : "?";
  const text =
    typeof value === "object" && value !== null && "message" in value ? value.message : "";
  return internal(`${peer} sent a failure of unknown code ${String(code)}: ${String(text)}`);
}
