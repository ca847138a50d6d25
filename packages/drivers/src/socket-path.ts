/** Where a supervisor's socket lives: in the instance's folder when the kernel's limit allows it. */

import { createHash } from "node:crypto";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fail } from "@blixard/std";
import { LIMITS } from "./limits.ts";

/** Errors: TooLarge when even the short path under the temporary folder does not fit. */
export function socketPath(folder: string, temporary = tmpdir()): string {
  const inside = join(resolve(folder), "sup.sock");
  if (Buffer.byteLength(inside) <= LIMITS.socketPathBytes) return inside;
  const digest = createHash("sha256").update(resolve(folder)).digest("hex").slice(0, 16);
  const short = join(temporary, `blx-${digest}.sock`);
  const actual = Buffer.byteLength(short);
  if (actual > LIMITS.socketPathBytes) {
    fail(
      "TooLarge",
      { what: `socket path ${short}`, limit: LIMITS.socketPathBytes, actual },
      `The socket path ${short} has ${actual} bytes; unix sockets allow ${LIMITS.socketPathBytes}`,
      "choose a shorter data folder, or set TMPDIR to a shorter one",
    );
  }
  return short;
}
