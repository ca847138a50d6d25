/** Saved form of a disk: the requests that the shell had not answered. */

import {
  BLOCK_IN_FLIGHT_MAX,
  BLOCK_REQUEST_BYTES_MAX,
  CHAIN_DESCRIPTORS_MAX,
  VIRTQUEUE_SIZE_MAX,
} from "../limits.ts";
import { openSaved, type SavedHeader } from "../saved.ts";
import type { Segment } from "../virtio-mmio/chain.ts";

export type BlockKind = "read" | "write" | "flush";

/** A request that the shell works on. */
export interface BlockRequest {
  readonly token: number;
  readonly kind: BlockKind;
  readonly head: number;
  /** Bytes from the start of the disk, and data bytes. */
  readonly offset: number;
  readonly length: number;
  /** Where the data lies in RAM. */
  readonly data: readonly Segment[];
  readonly statusAt: number;
}

export interface BlockState {
  nextToken: number;
  readonly inFlight: Map<number, BlockRequest>;
  /** Data bytes of all of them. */
  inFlightBytes: number;
  /** Tokens of requests from before the driver's reset; nothing new starts until they have ended. */
  readonly stale: Set<number>;
}

export interface SavedBlock extends SavedHeader {
  readonly nextToken: number;
  readonly inFlight: readonly BlockRequest[];
}

const KIND = "virtio-blk";
const VERSION = 1;
const KINDS = ["read", "write", "flush"] as const;

export function freshBlock(): BlockState {
  return { nextToken: 1, inFlight: new Map(), inFlightBytes: 0, stale: new Set() };
}

export function saveBlock(state: BlockState): SavedBlock {
  return {
    device: KIND,
    version: VERSION,
    nextToken: state.nextToken,
    inFlight: [...state.inFlight.values()].map((request) => ({
      ...request,
      data: request.data.map((segment) => ({ ...segment })),
    })),
  };
}

/** Throws `Corrupt`. Stale requests are not saved: in another machine nobody will end them. */
export function loadBlock(saved: unknown): BlockState {
  const fields = openSaved(saved, KIND, VERSION);
  const state = freshBlock();
  state.nextToken = fields.uint("nextToken", Number.MAX_SAFE_INTEGER);
  const requests = fields.list("inFlight", BLOCK_IN_FLIGHT_MAX, (item) => ({
    // A token used twice would end the wrong request.
    token: item.uint("token", state.nextToken - 1),
    kind: item.oneOf("kind", KINDS),
    head: item.uint("head", VIRTQUEUE_SIZE_MAX - 1),
    offset: item.uint("offset", Number.MAX_SAFE_INTEGER),
    length: item.uint("length", BLOCK_REQUEST_BYTES_MAX),
    data: item.list("data", CHAIN_DESCRIPTORS_MAX, (segment) => ({
      address: segment.uint("address", Number.MAX_SAFE_INTEGER),
      length: segment.uint("length", BLOCK_REQUEST_BYTES_MAX),
    })),
    statusAt: item.uint("statusAt", Number.MAX_SAFE_INTEGER),
  }));
  for (const request of requests) state.inFlight.set(request.token, request);
  for (const { length } of state.inFlight.values()) state.inFlightBytes += length;
  return state;
}
