/** RAM, time, wires and an effect log for one device under test. */

import type { Device, DeviceContext, DeviceEffect, GuestMemory } from "../../types.ts";

export class FakeMemory implements GuestMemory {
  readonly base: number;
  readonly sizeBytes: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly view: DataView;
  /** Copies done so far: the measure of work in fuzz tests. */
  accesses = 0;

  constructor(sizeBytes: number, base = 0x8000_0000) {
    this.base = base;
    this.sizeBytes = sizeBytes;
    this.bytes = new Uint8Array(sizeBytes);
    this.view = new DataView(this.bytes.buffer);
  }

  read(address: number, into: Uint8Array): boolean {
    this.accesses++;
    const at = address - this.base;
    if (!(at >= 0) || at + into.length > this.sizeBytes) return false;
    into.set(this.bytes.subarray(at, at + into.length));
    return true;
  }

  write(address: number, from: Uint8Array): boolean {
    this.accesses++;
    const at = address - this.base;
    if (!(at >= 0) || at + from.length > this.sizeBytes) return false;
    this.bytes.set(from, at);
    return true;
  }

  copy(): FakeMemory {
    const copy = new FakeMemory(this.sizeBytes, this.base);
    copy.bytes.set(this.bytes);
    return copy;
  }
}

export class Rig implements DeviceContext {
  readonly memory: FakeMemory;
  now = 0n;
  readonly levels: boolean[] = [];
  effects: DeviceEffect[] = [];

  constructor(memory = new FakeMemory(1 << 20)) {
    this.memory = memory;
  }

  nowNs(): bigint {
    return this.now;
  }

  setIrq(line: number, level: boolean): void {
    this.levels[line] = level;
  }

  emit(effect: DeviceEffect): void {
    this.effects.push(effect);
  }

  irq(line = 0): boolean {
    return this.levels[line] ?? false;
  }

  /** Effects since the last call. */
  take(): DeviceEffect[] {
    const { effects } = this;
    this.effects = [];
    return effects;
  }

  /** Calls `tick` while the device has a timer that is due, as the processor does. */
  settle(device: Device, limit = 10_000): void {
    for (let i = 0; i < limit; i++) {
      const due = device.nextTimerNs();
      if (due === undefined || due > this.now) return;
      device.tick(this);
    }
    throw new Error(`${device.name} wants ticks for ever`);
  }
}
