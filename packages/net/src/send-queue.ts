/**
 * What waits for one peer's socket. Four lanes in order of urgency: leases, small raft datagrams,
 * requests and answers, long raft datagrams (in fragments). Every batch takes from each lane, so
 * that none starves and a lease waits for at most the batch being written.
 */

import type { Channel } from "./types.ts";
import { encodeFragments, encodeFrame, FRAME, joinFrames } from "./frame.ts";
import type { NetLimits } from "./limits.ts";

class Budget {
  frames = 0;
  bytes = 0;
  readonly #maxFrames: number;
  readonly #maxBytes: number;

  constructor(maxFrames: number, maxBytes: number) {
    this.#maxFrames = maxFrames;
    this.#maxBytes = maxBytes;
  }

  admits(frames: number, bytes: number): boolean {
    return this.frames + frames <= this.#maxFrames && this.bytes + bytes <= this.#maxBytes;
  }
}

/**
 * First in, first out with amortised constant cost: the taken prefix is cut off when it is half.
 */
class Lane {
  readonly budget: Budget;
  #frames: Uint8Array[] = [];
  #head = 0;

  constructor(budget: Budget) {
    this.budget = budget;
  }

  push(frame: Uint8Array): void {
    this.#frames.push(frame);
    this.budget.frames += 1;
    this.budget.bytes += frame.length;
  }

  shift(): Uint8Array | undefined {
    const frame = this.#frames[this.#head];
    if (frame === undefined) return undefined;
    this.#head += 1;
    this.budget.frames -= 1;
    this.budget.bytes -= frame.length;
    if (this.#head * 2 > this.#frames.length) {
      this.#frames = this.#frames.slice(this.#head);
      this.#head = 0;
    }
    return frame;
  }

  clear(): void {
    while (this.shift() !== undefined) continue;
  }
}

export class SendQueue {
  readonly #limits: NetLimits;
  readonly #lease: Lane;
  readonly #small: Lane;
  readonly #calls: Lane;
  readonly #bulk: Lane;
  // Reused by every batch of this queue: the hot path allocates one buffer per write, no list.
  readonly #batch: Uint8Array[] = [];

  constructor(limits: NetLimits) {
    this.#limits = limits;
    const raft = new Budget(limits.raftQueueFrames, limits.raftQueueBytes);
    this.#lease = new Lane(new Budget(limits.leaseQueueFrames, limits.leaseQueueBytes));
    this.#small = new Lane(raft);
    this.#bulk = new Lane(raft);
    this.#calls = new Lane(new Budget(Number.MAX_SAFE_INTEGER, limits.replyQueueBytes));
  }

  /** Copies the datagram; false when the channel's bound or the size limit would be passed. */
  pushDatagram(channel: Channel, message: Uint8Array): boolean {
    const { fragmentBytes, maxDatagramBytes, smallDatagramBytes } = this.#limits;
    const kind = channel === "lease" ? FRAME.lease : FRAME.raft;
    const short = channel === "lease" ? this.#lease : this.#small;
    const lane = message.length <= smallDatagramBytes ? short : this.#bulkLaneOf(channel);
    if (message.length > maxDatagramBytes) return false;
    const fragments = Math.ceil(message.length / fragmentBytes);
    // 20 bytes: frame and fragment header.
    if (!lane.budget.admits(Math.max(1, fragments), message.length + fragments * 20)) return false;
    if (fragments <= 1) lane.push(encodeFrame(kind, message));
    else for (const frame of encodeFragments(kind, message, fragmentBytes)) lane.push(frame);
    return true;
  }

  #bulkLaneOf(channel: Channel): Lane {
    return channel === "lease" ? this.#lease : this.#bulk;
  }

  /** A whole frame of a request, an answer or a ping; false when answers pile up. */
  pushCall(frame: Uint8Array): boolean {
    if (!this.#calls.budget.admits(1, frame.length)) return false;
    this.#calls.push(frame);
    return true;
  }

  /** Bytes of the next write, or undefined when nothing waits. */
  nextBatch(): Uint8Array | undefined {
    const batch = this.#batch;
    const most = this.#limits.writeBatchBytes;
    let bytes = 0;
    for (let before = -1; bytes < most && bytes !== before;) {
      before = bytes;
      bytes += this.#take(this.#lease, most >>> 2);
      bytes += this.#take(this.#small, most >>> 1);
      bytes += this.#take(this.#calls, most >>> 2);
      bytes += this.#take(this.#bulk, 1);
    }
    const out = joinFrames(batch, bytes);
    batch.length = 0;
    return out;
  }

  /** At least one frame where there is one, then more until `bytes` are reached. */
  #take(lane: Lane, bytes: number): number {
    let taken = 0;
    while (taken < bytes) {
      const frame = lane.shift();
      if (frame === undefined) break;
      this.#batch.push(frame);
      taken += frame.length;
    }
    return taken;
  }

  /** Forgets everything: half a fragmented datagram must not open the next connection. */
  clear(): void {
    for (const lane of [this.#lease, this.#small, this.#calls, this.#bulk]) lane.clear();
  }
}
