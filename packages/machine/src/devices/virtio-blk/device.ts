/**
 * Disk (virtio 1.2, section 5.2). Each request goes out as one effect and comes back as `blockDone`, in any
 * order; the shell carries out overlapping requests in the order it got them.
 */

import { assert, utf8 } from "@blixard/std";
import type { DeviceInput } from "../../types.ts";
import {
  BLOCK_IN_FLIGHT_BYTES_MAX,
  BLOCK_IN_FLIGHT_MAX,
  BLOCK_QUEUE_SIZE,
  BLOCK_REQUEST_BYTES_MAX,
  BLOCK_SECTOR_BYTES,
  BLOCK_SEGMENT_BYTES_MAX,
  BLOCK_SEGMENTS_MAX,
  BLOCK_SERIAL_BYTES,
} from "../limits.ts";
import type { VirtioBackend, VirtioIo } from "../virtio-mmio/backend.ts";
import { gather, scatter, slice, type Chain } from "../virtio-mmio/chain.ts";
import { VirtioMmio, type VirtioMmioOptions } from "../virtio-mmio/device.ts";
import {
  freshBlock,
  loadBlock,
  saveBlock,
  type BlockKind,
  type BlockRequest,
  type BlockState,
} from "./persist.ts";

const DEVICE_ID = 2;
const FEATURE_SIZE_MAX = 1n << 1n;
const FEATURE_SEGMENTS_MAX = 1n << 2n;
const FEATURE_READ_ONLY = 1n << 5n;
const FEATURE_BLOCK_SIZE = 1n << 6n;
const FEATURE_FLUSH = 1n << 9n;

const TYPE_IN = 0;
const TYPE_OUT = 1;
const TYPE_FLUSH = 4;
const TYPE_GET_ID = 8;

const STATUS_OK = 0;
const STATUS_IO_ERROR = 1;
const STATUS_UNSUPPORTED = 2;

const HEADER_BYTES = 16;
const CONFIG_BYTES = 60;

export interface DiskOptions {
  /** Size of the disk; a multiple of 512. */
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  /** Up to 20 ASCII characters, shown as /sys/block/vdX/serial. */
  readonly serial: string;
}

export interface VirtioBlkOptions extends VirtioMmioOptions {
  readonly disk: DiskOptions;
}

export function createVirtioBlk(options: VirtioBlkOptions): VirtioMmio<BlockBackend> {
  return new VirtioMmio(options, new BlockBackend(options.disk));
}

export class BlockBackend implements VirtioBackend {
  readonly deviceId = DEVICE_ID;
  readonly features: bigint;
  readonly queueSizes = [BLOCK_QUEUE_SIZE] as const;
  readonly #sizeBytes: number;
  readonly #readOnly: boolean;
  readonly #serial: Uint8Array;
  readonly #config: Uint8Array;
  #state: BlockState = freshBlock();

  constructor(options: DiskOptions) {
    const { sizeBytes, readOnly, serial } = options;
    assert(Number.isSafeInteger(sizeBytes) && sizeBytes >= 0, "disk size");
    assert(sizeBytes % BLOCK_SECTOR_BYTES === 0, "a disk is whole sectors");
    assert(/^[ -~]{0,20}$/.test(serial), "a disk's serial is up to 20 ASCII characters");
    this.#sizeBytes = sizeBytes;
    this.#readOnly = readOnly;
    this.#serial = new Uint8Array(BLOCK_SERIAL_BYTES);
    this.#serial.set(utf8(serial));
    this.features =
      FEATURE_SIZE_MAX |
      FEATURE_SEGMENTS_MAX |
      FEATURE_BLOCK_SIZE |
      FEATURE_FLUSH |
      (readOnly ? FEATURE_READ_ONLY : 0n);
    this.#config = configSpace(sizeBytes);
  }

  config(): Uint8Array {
    return this.#config;
  }

  notify(_queue: number, io: VirtioIo): void {
    while (
      this.#state.stale.size === 0 &&
      this.#state.inFlight.size < BLOCK_IN_FLIGHT_MAX &&
      this.#state.inFlightBytes + BLOCK_REQUEST_BYTES_MAX <= BLOCK_IN_FLIGHT_BYTES_MAX
    ) {
      const chain = io.pop(0);
      if (chain === undefined) return;
      this.#start(chain, io);
    }
  }

  input(input: DeviceInput, io: VirtioIo): void {
    if (input.kind !== "blockDone") return;
    const state = this.#state;
    if (!state.stale.delete(input.token)) {
      const request = state.inFlight.get(input.token);
      // Tokens that mean nothing (any more) are answers to a machine before this one.
      if (request === undefined) return;
      state.inFlight.delete(input.token);
      state.inFlightBytes -= request.length;
      this.#finish(request, input.error === undefined, input.data, io);
    }
    this.notify(0, io);
  }

  reset(): void {
    for (const token of this.#state.inFlight.keys()) this.#state.stale.add(token);
    this.#state.inFlight.clear();
    this.#state.inFlightBytes = 0;
  }

  /** Open requests go out again: the shell that had them is gone, and each may be repeated. */
  resume(io: VirtioIo): void {
    for (const request of this.#state.inFlight.values()) this.#send(request, io);
  }

  save(): unknown {
    return saveBlock(this.#state);
  }

  load(saved: unknown): void {
    this.#state = loadBlock(saved);
  }

  #start(chain: Chain, io: VirtioIo): void {
    const header = gather(io.memory, slice(chain.readable, 0, HEADER_BYTES));
    const [status] = slice(chain.writable, chain.writableBytes - 1, 1);
    if (header === undefined || header.length < HEADER_BYTES || status === undefined) {
      io.broken("block request without header or status");
      return;
    }
    const view = new DataView(header.buffer);
    const sector = view.getUint32(8, true) + view.getUint32(12, true) * 2 ** 32;
    const statusAt = status.address;
    switch (view.getUint32(0, true)) {
      case TYPE_IN: {
        const data = slice(chain.writable, 0, chain.writableBytes - 1);
        this.#transfer("read", chain, sector, data, chain.writableBytes - 1, statusAt, io);
        return;
      }
      case TYPE_OUT: {
        const length = chain.readableBytes - HEADER_BYTES;
        const data = slice(chain.readable, HEADER_BYTES, length);
        this.#transfer("write", chain, sector, data, length, statusAt, io);
        return;
      }
      case TYPE_FLUSH:
        this.#open("flush", chain.head, 0, 0, [], statusAt, io);
        return;
      case TYPE_GET_ID: {
        const data = slice(
          chain.writable,
          0,
          Math.min(chain.writableBytes - 1, this.#serial.length),
        );
        scatter(io.memory, data, this.#serial);
        reply(io, chain.head, statusAt, STATUS_OK, chain.writableBytes);
        return;
      }
      default:
        reply(io, chain.head, statusAt, STATUS_UNSUPPORTED, 1);
    }
  }

  #transfer(
    kind: "read" | "write",
    chain: Chain,
    sector: number,
    data: readonly { readonly address: number; readonly length: number }[],
    length: number,
    statusAt: number,
    io: VirtioIo,
  ): void {
    const offset = sector * BLOCK_SECTOR_BYTES;
    const wrong =
      length === 0 ||
      length % BLOCK_SECTOR_BYTES !== 0 ||
      length > BLOCK_REQUEST_BYTES_MAX ||
      // Imprecise beyond 2^53, and then beyond any disk.
      offset + length > this.#sizeBytes ||
      (kind === "write" && this.#readOnly);
    if (wrong) reply(io, chain.head, statusAt, STATUS_IO_ERROR, 1);
    else this.#open(kind, chain.head, offset, length, data, statusAt, io);
  }

  #open(
    kind: BlockKind,
    head: number,
    offset: number,
    length: number,
    data: BlockRequest["data"],
    statusAt: number,
    io: VirtioIo,
  ): void {
    const state = this.#state;
    const request = { token: state.nextToken, kind, head, offset, length, data, statusAt };
    state.nextToken++;
    state.inFlight.set(request.token, request);
    state.inFlightBytes += length;
    this.#send(request, io);
  }

  #send(request: BlockRequest, io: VirtioIo): void {
    const { token, offset, length } = request;
    if (request.kind === "flush") {
      io.emit({ kind: "blockFlush", device: io.name, token });
    } else if (request.kind === "read") {
      io.emit({ kind: "blockRead", device: io.name, token, offset, length });
    } else {
      const data = gather(io.memory, request.data);
      // Only a saved state from another memory layout gets here; the rings will be refused too.
      if (data === undefined) io.broken("block request outside RAM");
      else io.emit({ kind: "blockWrite", device: io.name, token, offset, data });
    }
  }

  #finish(request: BlockRequest, ok: boolean, data: Uint8Array | undefined, io: VirtioIo): void {
    if (!io.live) return;
    if (request.kind !== "read" || !ok) {
      reply(io, request.head, request.statusAt, ok ? STATUS_OK : STATUS_IO_ERROR, 1);
      return;
    }
    const whole = data !== undefined && data.length === request.length;
    const stored = whole && scatter(io.memory, request.data, data);
    const status = stored ? STATUS_OK : STATUS_IO_ERROR;
    reply(io, request.head, request.statusAt, status, stored ? request.length + 1 : 1);
  }
}

/** Writes the status byte and returns the request. */
function reply(io: VirtioIo, head: number, statusAt: number, status: number, written: number) {
  io.memory.write(statusAt, Uint8Array.of(status));
  io.push(0, head, written);
}

function configSpace(sizeBytes: number): Uint8Array {
  const config = new Uint8Array(CONFIG_BYTES);
  const view = new DataView(config.buffer);
  view.setBigUint64(0, BigInt(sizeBytes / BLOCK_SECTOR_BYTES), true);
  view.setUint32(8, BLOCK_SEGMENT_BYTES_MAX, true);
  view.setUint32(12, BLOCK_SEGMENTS_MAX, true);
  view.setUint32(20, BLOCK_SECTOR_BYTES, true);
  return config;
}
