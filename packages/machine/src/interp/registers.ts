/** The hart's registers where the interpreter has them: in the WebAssembly memory. */

import type { HartRegisters } from "../isa/riscv64/hart.ts";
import { STATE } from "../memory/layout.ts";

export class MemoryRegisters implements HartRegisters {
  readonly #view: DataView;
  constructor(buffer: ArrayBuffer) {
    this.#view = new DataView(buffer);
  }
  get pc(): bigint {
    return this.#view.getBigUint64(STATE.pc, true);
  }
  set pc(value: bigint) {
    this.#view.setBigUint64(STATE.pc, value, true);
  }
  get fflags(): number {
    return this.#view.getUint32(STATE.fflags, true);
  }
  set fflags(value: number) {
    this.#view.setUint32(STATE.fflags, value, true);
  }
  get frm(): number {
    return this.#view.getUint32(STATE.frm, true);
  }
  set frm(value: number) {
    this.#view.setUint32(STATE.frm, value, true);
  }
  get status(): number {
    return this.#view.getUint32(STATE.status, true);
  }
  set status(value: number) {
    this.#view.setUint32(STATE.status, value, true);
  }
  get fs(): number {
    const dirty = this.#view.getUint32(STATE.fpDirty, true) !== 0;
    return dirty ? 3 : this.#view.getUint32(STATE.fs, true);
  }
  set fs(value: number) {
    this.#view.setUint32(STATE.fs, value, true);
    this.#view.setUint32(STATE.fpOn, value === 0 ? 0 : 1, true);
    this.#view.setUint32(STATE.fpDirty, value === 3 ? 1 : 0, true);
  }
  getX(index: number): bigint {
    return this.#view.getBigUint64(STATE.x + 8 * index, true);
  }
  setX(index: number, value: bigint): void {
    if (index !== 0) this.#view.setBigUint64(STATE.x + 8 * index, value, true);
  }
  getF(index: number): bigint {
    return this.#view.getBigUint64(STATE.f + 8 * index, true);
  }
  setF(index: number, value: bigint): void {
    this.#view.setBigUint64(STATE.f + 8 * index, value, true);
  }
}
