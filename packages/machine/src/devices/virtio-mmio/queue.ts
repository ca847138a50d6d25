/**
 * The device's side of a split virtqueue (virtio 1.2, section 2.7). Everything in the rings is the guest's
 * word: it is bounded and checked, and what is wrong makes the queue broken, never the machine.
 */

import type { GuestMemory } from "../../types.ts";
import { CHAIN_DESCRIPTORS_MAX } from "../limits.ts";
import type { Chain, Segment } from "./chain.ts";

/** One queue as its registers describe it, and how far it has been worked through. */
export interface QueueState {
  size: number;
  ready: boolean;
  /** Guest-physical addresses, 64 bits as written; checked to lie in RAM before `ready` is set. */
  descriptors: bigint;
  available: bigint;
  used: bigint;
  /** Ring indices, free running modulo 2^16. */
  nextAvailable: number;
  nextUsed: number;
  /** `nextUsed` when the driver was last considered for an interrupt. */
  signalledUsed: number;
}

export type Popped = Chain | { readonly broken: string } | undefined;

const DESCRIPTOR_BYTES = 16;
const NEXT = 1;
const WRITE = 2;
const INDIRECT = 4;
const NO_INTERRUPT = 1;
const HIGH_UNIT = 0x1_0000_0000;

// Reused by every queue: devices are synchronous and never re-entered.
const descriptorBytes = new Uint8Array(CHAIN_DESCRIPTORS_MAX * DESCRIPTOR_BYTES);
const descriptorView = new DataView(descriptorBytes.buffer);
const wordBytes = new Uint8Array(8);
const wordView = new DataView(wordBytes.buffer);
const halfBytes = wordBytes.subarray(0, 2);

export function freshQueue(): QueueState {
  return {
    size: 0,
    ready: false,
    descriptors: 0n,
    available: 0n,
    used: 0n,
    nextAvailable: 0,
    nextUsed: 0,
    signalledUsed: 0,
  };
}

export function insideRam(memory: GuestMemory, address: number, length: number): boolean {
  return address >= memory.base && address + length <= memory.base + memory.sizeBytes;
}

/** Why the queue cannot be used as its registers describe it; undefined when it can. */
export function queueFault(
  memory: GuestMemory,
  queue: QueueState,
  sizeMax: number,
): string | undefined {
  const { size } = queue;
  if (size < 1 || size > sizeMax || (size & (size - 1)) !== 0) return `queue size ${size}`;
  const parts = [
    { name: "descriptor table", at: queue.descriptors, align: 16n, bytes: DESCRIPTOR_BYTES * size },
    { name: "available ring", at: queue.available, align: 2n, bytes: 6 + 2 * size },
    { name: "used ring", at: queue.used, align: 4n, bytes: 6 + 8 * size },
  ];
  for (const { name, at, align, bytes } of parts) {
    if (at % align !== 0n) return `${name} at an unaligned address`;
    // Beyond 2^53 the conversion rounds, yet stays far outside RAM.
    if (!insideRam(memory, Number(at), bytes)) return `${name} outside RAM`;
  }
  return undefined;
}

/** A ready queue at work. Invariant: the three ring areas lie inside RAM. */
export class Virtqueue {
  readonly #memory: GuestMemory;
  readonly #state: QueueState;
  readonly #descriptors: number;
  readonly #available: number;
  readonly #used: number;
  readonly #eventIndex: boolean;
  readonly #indirect: boolean;

  constructor(
    memory: GuestMemory,
    state: QueueState,
    features: { readonly eventIndex: boolean; readonly indirect: boolean },
  ) {
    this.#memory = memory;
    this.#state = state;
    this.#descriptors = Number(state.descriptors);
    this.#available = Number(state.available);
    this.#used = Number(state.used);
    this.#eventIndex = features.eventIndex;
    this.#indirect = features.indirect;
  }

  /** Next request of the driver; undefined when there is none, which also asks for a kick. */
  pop(): Popped {
    const state = this.#state;
    let waiting = this.#waiting();
    if (waiting === 0 && this.#eventIndex) {
      this.#writeHalf(this.#used + 4 + 8 * state.size, state.nextAvailable);
      waiting = this.#waiting();
    }
    if (waiting === 0) return undefined;
    if (waiting > state.size) return { broken: `${waiting} buffers in a ring of ${state.size}` };
    const slot = state.nextAvailable & (state.size - 1);
    const head = this.#readHalf(this.#available + 4 + 2 * slot);
    if (head >= state.size) return { broken: `descriptor ${head} of ${state.size}` };
    const chain = this.#walk(head);
    if (!("broken" in chain)) state.nextAvailable = (state.nextAvailable + 1) & 0xffff;
    return chain;
  }

  /** Returns a request, `written` bytes of its writable part filled. */
  push(head: number, written: number): void {
    const state = this.#state;
    const slot = state.nextUsed & (state.size - 1);
    wordView.setUint32(0, head, true);
    wordView.setUint32(4, written, true);
    this.#memory.write(this.#used + 4 + 8 * slot, wordBytes);
    state.nextUsed = (state.nextUsed + 1) & 0xffff;
    this.#writeHalf(this.#used + 2, state.nextUsed);
  }

  /** Whether the driver wants an interrupt for what was pushed since the last time it was asked for. */
  wantsInterrupt(): boolean {
    const state = this.#state;
    const pushed = (state.nextUsed - state.signalledUsed) & 0xffff;
    if (pushed === 0) return false;
    state.signalledUsed = state.nextUsed;
    if (!this.#eventIndex) return (this.#readHalf(this.#available) & NO_INTERRUPT) === 0;
    const event = this.#readHalf(this.#available + 4 + 2 * state.size);
    return ((state.nextUsed - event - 1) & 0xffff) < pushed;
  }

  #waiting(): number {
    return (this.#readHalf(this.#available + 2) - this.#state.nextAvailable) & 0xffff;
  }

  #readHalf(address: number): number {
    this.#memory.read(address, halfBytes);
    return wordView.getUint16(0, true);
  }

  #writeHalf(address: number, value: number): void {
    wordView.setUint16(0, value, true);
    this.#memory.write(address, halfBytes);
  }

  /** Follows a chain. The number of its descriptors is bounded, so that a loop ends. */
  #walk(head: number): Chain | { readonly broken: string } {
    const chain = new ChainBuilder(this.#memory, head);
    let index = head;
    for (let count = 0; count < this.#state.size; count++) {
      const bytes = descriptorBytes.subarray(0, DESCRIPTOR_BYTES);
      if (!this.#memory.read(this.#descriptors + DESCRIPTOR_BYTES * index, bytes)) {
        return { broken: "descriptor table outside RAM" };
      }
      const flags = descriptorView.getUint16(12, true);
      const next = descriptorView.getUint16(14, true);
      if ((flags & INDIRECT) !== 0) {
        if (!this.#indirect) return { broken: "indirect descriptor was not negotiated" };
        if ((flags & NEXT) !== 0) return { broken: "indirect descriptor with a next one" };
        return this.#walkIndirect(chain);
      }
      const wrong = chain.add(0);
      if (wrong !== undefined) return { broken: wrong };
      if ((flags & NEXT) === 0) return chain.finish();
      if (next >= this.#state.size) return { broken: `next descriptor ${next}` };
      index = next;
    }
    return { broken: "descriptor chain loops" };
  }

  /** The indirect descriptor stands at offset 0 of the scratch buffer; its table replaces it. */
  #walkIndirect(chain: ChainBuilder): Chain | { readonly broken: string } {
    const address = addressAt(0);
    const length = descriptorView.getUint32(8, true);
    const count = length / DESCRIPTOR_BYTES;
    if (!Number.isInteger(count) || count < 1 || count > CHAIN_DESCRIPTORS_MAX) {
      return { broken: `indirect table of ${length} bytes` };
    }
    if (!this.#memory.read(address, descriptorBytes.subarray(0, length))) {
      return { broken: "indirect table outside RAM" };
    }
    let index = 0;
    for (let steps = 0; steps < count; steps++) {
      const at = DESCRIPTOR_BYTES * index;
      const flags = descriptorView.getUint16(at + 12, true);
      if ((flags & INDIRECT) !== 0)
        return { broken: "indirect descriptor inside an indirect table" };
      const wrong = chain.add(at);
      if (wrong !== undefined) return { broken: wrong };
      if ((flags & NEXT) === 0) return chain.finish();
      index = descriptorView.getUint16(at + 14, true);
      if (index >= count) return { broken: `next descriptor ${index} of an indirect ${count}` };
    }
    return { broken: "indirect chain loops" };
  }
}

/** Address of the descriptor at this offset of the scratch buffer. Imprecise only far outside RAM. */
function addressAt(offset: number): number {
  const high = descriptorView.getUint32(offset + 4, true);
  return high * HIGH_UNIT + descriptorView.getUint32(offset, true);
}

class ChainBuilder {
  readonly #memory: GuestMemory;
  readonly #head: number;
  readonly #readable: Segment[] = [];
  readonly #writable: Segment[] = [];
  #readableBytes = 0;
  #writableBytes = 0;

  constructor(memory: GuestMemory, head: number) {
    this.#memory = memory;
    this.#head = head;
  }

  /** Adds the descriptor at this offset of the scratch buffer; returns what is wrong with it, if anything. */
  add(offset: number): string | undefined {
    const address = addressAt(offset);
    const length = descriptorView.getUint32(offset + 8, true);
    if (length === 0) return "descriptor of zero length";
    if (!insideRam(this.#memory, address, length)) return "buffer outside RAM";
    if ((descriptorView.getUint16(offset + 12, true) & WRITE) !== 0) {
      this.#writable.push({ address, length });
      this.#writableBytes += length;
      return undefined;
    }
    if (this.#writable.length > 0) return "readable descriptor after a writable one";
    this.#readable.push({ address, length });
    this.#readableBytes += length;
    return undefined;
  }

  finish(): Chain {
    return {
      head: this.#head,
      readable: this.#readable,
      writable: this.#writable,
      readableBytes: this.#readableBytes,
      writableBytes: this.#writableBytes,
    };
  }
}
