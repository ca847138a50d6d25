/** SiFive's test finisher: the guest ends itself by a store. The device tree offers it as a syscon. */

import type { AccessSize, Device, DeviceContext } from "../../types.ts";
import { loadFinisher, saveFinisher } from "./persist.ts";

export const FINISHER_FAIL = 0x3333;
export const FINISHER_PASS = 0x5555;
export const FINISHER_RESET = 0x7777;

export interface FinisherOptions {
  readonly name: string;
  readonly base: number;
}

export class Finisher implements Device {
  readonly name: string;
  readonly base: number;
  readonly sizeBytes = 0x1000;

  constructor(options: FinisherOptions) {
    this.name = options.name;
    this.base = options.base;
  }

  read(): bigint {
    return 0n;
  }

  write(offset: number, size: AccessSize, value: bigint, context: DeviceContext): void {
    if (offset !== 0 || size < 2) return;
    const status = Number(value & 0xffffn);
    if (status === FINISHER_PASS) context.emit({ kind: "power", action: "off" });
    else if (status === FINISHER_RESET) context.emit({ kind: "power", action: "reboot" });
    else if (status === FINISHER_FAIL) context.emit({ kind: "power", action: "crashed" });
  }

  input(): void {}

  nextTimerNs(): bigint | undefined {
    return undefined;
  }

  tick(): void {}

  save(): unknown {
    return saveFinisher();
  }

  load(saved: unknown): void {
    loadFinisher(saved);
  }
}
