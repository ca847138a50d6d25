/** Guest code as a region sees it: by deltas from one virtual page, as far as translations are known. */

import type { CodePages } from "../../interp/code-pages.ts";
import { OPERATION } from "../../interp/context.ts";
import type { Decoded } from "../../isa/riscv64/decode.ts";
import { decode, lengthOf } from "../../isa/riscv64/decode.ts";
import { PAGE_BYTES } from "../../limits.ts";
import type { Frames } from "../../memory/frames.ts";
import { OPERATION_BYTES } from "../../memory/layout.ts";
import type { RegionInstruction, RegionPage } from "./graph.ts";
import { pageDelta } from "./graph.ts";

/** What a conditional branch has done so far. */
export interface BranchProfile {
  readonly taken: boolean;
  readonly notTaken: boolean;
}

export interface ViewParts {
  readonly frames: Frames;
  readonly code: CodePages;
  /** Address of the operations of a page that execution has come to under the present translation; 0 if not. */
  baseAt(pageVa: bigint): number;
  readonly view: DataView;
}

export class CodeView {
  readonly #parts: ViewParts;
  readonly #pageVa: bigint;
  readonly #pagesMax: number;
  readonly #pages = new Map<number, RegionPage>();

  constructor(parts: ViewParts, pageVa: bigint, base: number, pagesMax: number) {
    this.#parts = parts;
    this.#pageVa = pageVa;
    this.#pagesMax = pagesMax;
    this.#pages.set(0, { delta: 0, page: parts.code.pageAt(base), base });
  }

  get pages(): readonly RegionPage[] {
    return [...this.#pages.values()];
  }

  pageOf(delta: number): RegionPage | undefined {
    const start = pageDelta(delta);
    const known = this.#pages.get(start);
    if (known !== undefined || this.#pages.size >= this.#pagesMax) return known;
    const base = this.#parts.baseAt(BigInt.asUintN(64, this.#pageVa + BigInt(start)));
    if (base === 0) return undefined;
    const page = { delta: start, page: this.#parts.code.pageAt(base), base };
    this.#pages.set(start, page);
    return page;
  }

  /** Undefined where nothing is known or nothing is legal. */
  instruction(delta: number): RegionInstruction | undefined {
    const page = this.pageOf(delta);
    if (page === undefined) return undefined;
    const { frames } = this.#parts;
    const offset = delta - page.delta;
    const at = frames.base + page.page * PAGE_BYTES + offset;
    const low = frames.readU16(at);
    let decoded: Decoded | undefined;
    if (lengthOf(low) === 2) decoded = decode(low);
    else if (offset < PAGE_BYTES - 2) decoded = decode(low | (frames.readU16(at + 2) << 16));
    else {
      const next = this.pageOf(delta + 2);
      if (next === undefined) return undefined;
      decoded = decode(low | (frames.readU16(frames.base + next.page * PAGE_BYTES) << 16));
    }
    return decoded && { ...decoded, delta };
  }

  /** Address of the predecoded operation of an instruction; 0 if it is not known. */
  #operationAt(delta: number): number {
    const page = this.pageOf(delta);
    return page === undefined ? 0 : page.base + ((delta - page.delta) / 2) * OPERATION_BYTES;
  }

  /** Where the jump to a register's address went when it was last seen; undefined if it never was. */
  lastTarget(delta: number): number | undefined {
    const at = this.#operationAt(delta);
    const low = at === 0 ? 0 : this.#parts.view.getUint32(at + OPERATION.target, true);
    // The distance from here, which is less than 2^31 or of no use.
    const here = Number(BigInt.asUintN(32, this.#pageVa));
    return low === 0 ? undefined : (low - here) | 0;
  }

  profile(delta: number): BranchProfile {
    const at = this.#operationAt(delta);
    if (at === 0) return { taken: false, notTaken: false };
    const seen = (field: number): boolean => this.#parts.view.getUint8(at + field) !== 0;
    return { taken: seen(OPERATION.taken), notTaken: seen(OPERATION.notTaken) };
  }
}
