/** Zicbom and Zicboz: who may manage cache blocks (senvcfg; machine mode permits everything below it). */

import type { Hart } from "./hart.ts";
import { USER } from "./hart.ts";

export const CACHE_BLOCK_BYTES = 64;

/** `kind` as in the encoding: 0 invalidate, 1 clean, 2 flush, 4 zero. */
export function cacheBlockPermitted(hart: Hart, kind: number): boolean {
  if (hart.privilege !== USER) return true;
  if (kind === 4) return (hart.senvcfg & 0x80) !== 0;
  if (kind === 0) return (hart.senvcfg & 0x30) !== 0;
  return (hart.senvcfg & 0x40) !== 0;
}
