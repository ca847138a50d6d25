/**
 * Words in registers. RISC-V keeps 32-bit results sign-extended, and most of the extensions are for nothing:
 * the next instruction only looks at the low half. So a result of 32 bits stays in an i32 local, and the
 * register's own local is brought up to date where paths meet, at exits, and nowhere else. What is known
 * holds from a block into those that only it leads to.
 */

import type { RegionContext } from "./context.ts";

/** narrow: the value is in the i32 local alone; fits: in the register's local, and equal to its low half. */
type Form = "narrow" | "fits";

export class Forms {
  readonly #c: RegionContext;
  readonly #forms: Map<number, Form>;

  constructor(c: RegionContext, forms?: ReadonlyMap<number, Form>) {
    this.#c = c;
    this.#forms = new Map(forms);
  }

  copy(): Forms {
    return new Forms(this.#c, this.#forms);
  }
  of(register: number): Form | undefined {
    return this.#forms.get(register);
  }
  set(register: number, form: Form | undefined): void {
    if (form === undefined) this.#forms.delete(register);
    else this.#forms.set(register, form);
  }

  /** Brings the registers' own locals up to date, as code; what is known here does not change. */
  settle(): void {
    const { code } = this.#c;
    for (const [register, form] of this.#forms) {
      if (form !== "narrow") continue;
      code.get(this.#c.word(register)).op("i64.extend_i32_s");
      code.set(this.#c.register(register));
    }
  }
}
