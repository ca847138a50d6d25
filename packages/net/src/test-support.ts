/** Shared by this room's tests; not exported. */

import assert from "node:assert/strict";
import type { Readable } from "node:stream";
import { BlixardError, type ErrorCode, utf8 } from "@blixard/std";

/** Polls until `condition` holds; fails with `what` at the deadline. */
export async function eventually(
  condition: () => boolean,
  what: string,
  deadlineMs = 60_000,
): Promise<void> {
  const endMs = performance.now() + deadlineMs;
  while (!condition()) {
    assert.ok(performance.now() < endMs, `in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/**
 * Makes an attempt with a short time limit, and when that fails with longer ones: on a busy machine
 * a short one may pass before what it is there for has begun.
 */
export async function withPatience(
  shortMs: number,
  attempt: (limitMs: number) => Promise<void>,
): Promise<void> {
  for (let limitMs = shortMs; ; limitMs *= 4) {
    try {
      return await attempt(limitMs);
    } catch (caught) {
      if (limitMs > 10_000) throw caught;
    }
  }
}

/** For assert.rejects and assert.throws. */
export function failsWith(code: ErrorCode, text?: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof BlixardError, `expected a BlixardError, got ${String(error)}`);
    assert.equal(error.code, code, error.message);
    if (text !== undefined) assert.match(error.message, text);
    return true;
  };
}

/**
 * Until the other side's end. Not `for await`, which destroys the stream and so its open half too.
 */
export function readAll(stream: Readable): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  return new Promise((resolve, reject) => {
    stream.on("data", (part: Uint8Array) => parts.push(part));
    stream.once("end", () => resolve(Buffer.concat(parts)));
    stream.once("error", reject);
  });
}

/** Deterministic content in which a shifted, lost or repeated byte shows. */
export function pattern(length: number): Uint8Array {
  const out = new Uint8Array(length);
  for (let i = 0; i < length; i++) out[i] = (i * 31 + (i >>> 8) * 17 + (i >>> 16)) & 255;
  return out;
}

export const bytes = utf8;
