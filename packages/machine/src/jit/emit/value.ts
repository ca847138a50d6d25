/** Values while an instruction is emitted: known, in a local, or code that is still to be pushed. */

import { wasmType } from "../../interp/context.ts";
import type { IrType } from "../../ir/types.ts";
import type { PlainName } from "../../wasm/code.ts";
import type { RegionContext } from "./context.ts";
import { pushAddress } from "./context.ts";

export interface Emitted {
  readonly type: IrType;
  /** The value, if it is known, as an unsigned number of its type. */
  readonly known?: bigint;
  /** Distance from the region's base, if it is known. */
  readonly distance?: number;
  /** May be pushed any number of times at no cost. */
  readonly cheap: boolean;
  /** The local that holds it in its own type. */
  readonly local?: number;
  readonly push: () => void;
  /** For an i64 that is the sign extension of an i32: pushes that. */
  readonly pushWord?: () => void;
  /** `pushWord` is what it is computed as; without it, the word costs nothing more than the whole. */
  readonly computedAsWord?: boolean;
  /** For an i32 that is below 2^31 as an unsigned number. */
  readonly small?: boolean;
  /** For an i64 that is the bits of a double: pushes the double. */
  readonly pushDouble?: () => void;
  readonly doubleLocal?: number;
}

/** Makes values of one region. */
export class Values {
  readonly c: RegionContext;

  constructor(c: RegionContext) {
    this.c = c;
  }

  known(type: "i32" | "i64", value: bigint): Emitted {
    const { code } = this.c;
    const known = BigInt.asUintN(type === "i32" ? 32 : 64, value);
    const push = (): void => {
      if (type === "i32") code.i32(Number(BigInt.asIntN(32, known)));
      else code.i64(known);
    };
    const signed = BigInt.asIntN(64, known);
    if (type === "i32" || BigInt.asIntN(32, signed) !== signed) {
      return { type, known, cheap: true, push };
    }
    const pushWord = (): void => void code.i32(Number(signed));
    return { type, known, cheap: true, push, pushWord };
  }
  /** An address in the region, by its distance from the base. */
  place(distance: number): Emitted {
    return { type: "i64", distance, cheap: true, push: () => pushAddress(this.c, distance) };
  }
  inLocal(type: IrType, local: number): Emitted {
    return { type, local, cheap: true, push: () => void this.c.code.get(local) };
  }
  tree(type: IrType, push: () => void): Emitted {
    return { type, cheap: false, push };
  }
  /** The sign extension of an i32. */
  word(cheap: boolean, pushWord: () => void): Emitted {
    const push = (): void => {
      pushWord();
      this.c.code.op("i64.extend_i32_s");
    };
    return { type: "i64", cheap, push, pushWord, computedAsWord: true };
  }
  /** Some instructions on top of a value. */
  after(type: IrType, a: Emitted, ...names: readonly PlainName[]): Emitted {
    return this.tree(type, () => {
      a.push();
      this.c.code.op(...names);
    });
  }

  /** The local that holds the value, from here on. */
  settle(value: Emitted): number {
    if (value.local !== undefined) return value.local;
    const local = this.c.pool.take(wasmType(value.type));
    value.push();
    this.c.code.set(local);
    return local;
  }
  /** Computed here, to be pushed more than once. */
  keep(value: Emitted): Emitted {
    const { pushWord } = value;
    if (pushWord === undefined) return this.inLocal(value.type, this.settle(value));
    const { code, pool } = this.c;
    const word = pool.take("i32");
    pushWord();
    code.set(word);
    return this.word(true, () => void code.get(word));
  }
}
