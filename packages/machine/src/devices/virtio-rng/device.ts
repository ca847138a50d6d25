/** Entropy source (virtio 1.2, section 5.4). The shell gives random bytes for each request. */

import type { DeviceInput } from "../../types.ts";
import { RNG_IN_FLIGHT_MAX, RNG_QUEUE_SIZE, RNG_REQUEST_BYTES_MAX } from "../limits.ts";
import type { VirtioBackend, VirtioIo } from "../virtio-mmio/backend.ts";
import { scatter, slice } from "../virtio-mmio/chain.ts";
import { VirtioMmio, type VirtioMmioOptions } from "../virtio-mmio/device.ts";
import { freshRng, loadRng, saveRng, type RngState } from "./persist.ts";

const DEVICE_ID = 4;

export function createVirtioRng(options: VirtioMmioOptions): VirtioMmio<RngBackend> {
  return new VirtioMmio(options, new RngBackend());
}

export class RngBackend implements VirtioBackend {
  readonly deviceId = DEVICE_ID;
  readonly features = 0n;
  readonly queueSizes = [RNG_QUEUE_SIZE] as const;
  #state: RngState = freshRng();

  config(): Uint8Array {
    return new Uint8Array(0);
  }

  notify(_queue: number, io: VirtioIo): void {
    const state = this.#state;
    while (state.inFlight.size < RNG_IN_FLIGHT_MAX) {
      const chain = io.pop(0);
      if (chain === undefined) return;
      if (chain.writableBytes === 0) {
        io.broken("entropy request without room");
        return;
      }
      // The device may fill less than the driver offers.
      const bytes = Math.min(chain.writableBytes, RNG_REQUEST_BYTES_MAX);
      const token = state.nextToken;
      state.nextToken++;
      const data = slice(chain.writable, 0, bytes);
      state.inFlight.set(token, { token, head: chain.head, bytes, data });
      io.emit({ kind: "randomNeeded", device: io.name, token, bytes });
    }
  }

  input(input: DeviceInput, io: VirtioIo): void {
    if (input.kind !== "random") return;
    const request = this.#state.inFlight.get(input.token);
    if (request === undefined) return;
    this.#state.inFlight.delete(input.token);
    if (!io.live) return;
    const data = input.data.subarray(0, request.bytes);
    const stored = scatter(io.memory, request.data, data);
    io.push(0, request.head, stored ? data.length : 0);
    this.notify(0, io);
  }

  reset(): void {
    this.#state.inFlight.clear();
  }

  resume(io: VirtioIo): void {
    for (const { token, bytes } of this.#state.inFlight.values()) {
      io.emit({ kind: "randomNeeded", device: io.name, token, bytes });
    }
  }

  save(): unknown {
    return saveRng(this.#state);
  }

  load(saved: unknown): void {
    this.#state = loadRng(saved);
  }
}
