/** What a virtio device is behind its transport. */

import type { DeviceEffect, DeviceInput, GuestMemory } from "../../types.ts";
import type { Chain } from "./chain.ts";

/** The transport as a backend sees it, valid during the call it was passed to. */
export interface VirtioIo {
  /** Name of the device, for effects. */
  readonly name: string;
  readonly memory: GuestMemory;
  /** The driver is up, the rings are sound: requests may be taken and returned. */
  readonly live: boolean;
  /** Whether this feature bit was negotiated. */
  negotiated(bit: number): boolean;
  /** Next request of a queue; undefined when there is none or no more may be done in this run. */
  pop(queue: number): Chain | undefined;
  push(queue: number, head: number, written: number): void;
  /** Leaves the rest of a queue to the next tick. */
  defer(queue: number): void;
  /** The driver broke the device's protocol: the device asks for a reset and does nothing else. */
  broken(reason: string): void;
  emit(effect: DeviceEffect): void;
}

export interface VirtioBackend {
  /** Device type (virtio 1.2, section 5). */
  readonly deviceId: number;
  /** Feature bits of the device type; the transport adds its own. */
  readonly features: bigint;
  /** Largest size of each queue. */
  readonly queueSizes: readonly number[];
  /** The device configuration space. */
  config(): Uint8Array;
  /** Buffers may be waiting in this queue. */
  notify(queue: number, io: VirtioIo): void;
  input(input: DeviceInput, io: VirtioIo): void;
  /** The driver has reset the device. */
  reset(io: VirtioIo): void;
  /** First call after power-on or load: repeats to the shell what it must know, such as open requests. */
  resume(io: VirtioIo): void;
  save(): unknown;
  load(saved: unknown): void;
}
