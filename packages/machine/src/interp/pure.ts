/** Functions of their arguments that WebAssembly has no instruction for; operands in locals, result pushed. */

import type { Code } from "../wasm/code.ts";

/** Upper 64 bits of an unsigned product, by 32-bit halves. */
export function emitMulhu(code: Code, a: number, b: number, temporary: () => number): void {
  const low = 0xffffffffn;
  const [middle, carry] = [temporary(), temporary()];
  const high = (local: number): Code => code.get(local).i64(32).op("i64.shr_u");
  const lower = (local: number): Code => code.get(local).i64(low).op("i64.and");
  // middle = high(a) * low(b) + high(low(a) * low(b)): cannot overflow.
  high(a);
  lower(b).op("i64.mul");
  lower(a);
  lower(b).op("i64.mul").i64(32).op("i64.shr_u", "i64.add").set(middle);
  lower(a);
  high(b).op("i64.mul");
  lower(middle).op("i64.add").i64(32).op("i64.shr_u").set(carry);
  high(a);
  high(b).op("i64.mul");
  high(middle).op("i64.add").get(carry).op("i64.add");
}

/** Corrects an unsigned product on the stack for a factor that is negative: takes off the other one. */
export function emitSubtractIfNegative(code: Code, value: number, sign: number): void {
  code.get(value).get(sign).i64(63).op("i64.shr_s", "i64.and", "i64.sub");
}

/** Swaps neighbours of 1, 2 and 4 bytes. */
export function emitReverseBytes(code: Code, a: number, temporary: () => number): void {
  const t = temporary();
  code.get(a);
  const swaps = [
    [8, 0x00ff00ff00ff00ffn],
    [16, 0x0000ffff0000ffffn],
  ] as const;
  for (const [shift, mask] of swaps) {
    code.set(t).get(t).i64(shift).op("i64.shr_u").i64(mask).op("i64.and");
    code.get(t).i64(mask).op("i64.and").i64(shift).op("i64.shl", "i64.or");
  }
  code.i64(32).op("i64.rotl");
}

/** The top bit of each byte says whether any bit of it is set; 255 times that bit fills it. */
export function emitOrBytes(code: Code, a: number): void {
  code.get(a).i64(0x7f7f7f7f7f7f7f7fn).op("i64.and").i64(0x7f7f7f7f7f7f7f7fn).op("i64.add");
  code.get(a).op("i64.or").i64(7).op("i64.shr_u").i64(0x0101010101010101n).op("i64.and");
  code.i64(255).op("i64.mul");
}
