/** Saved form of the entropy source: the requests that the shell had not answered. */

import {
  CHAIN_DESCRIPTORS_MAX,
  RNG_IN_FLIGHT_MAX,
  RNG_QUEUE_SIZE,
  RNG_REQUEST_BYTES_MAX,
} from "../limits.ts";
import { openSaved, type SavedHeader } from "../saved.ts";
import type { Segment } from "../virtio-mmio/chain.ts";

export interface RngRequest {
  readonly token: number;
  readonly head: number;
  readonly bytes: number;
  readonly data: readonly Segment[];
}

export interface RngState {
  nextToken: number;
  readonly inFlight: Map<number, RngRequest>;
}

export interface SavedRng extends SavedHeader {
  readonly nextToken: number;
  readonly inFlight: readonly RngRequest[];
}

const KIND = "virtio-rng";
const VERSION = 1;

export function freshRng(): RngState {
  return { nextToken: 1, inFlight: new Map() };
}

export function saveRng(state: RngState): SavedRng {
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

/** Throws `Corrupt`. */
export function loadRng(saved: unknown): RngState {
  const fields = openSaved(saved, KIND, VERSION);
  const state = freshRng();
  state.nextToken = fields.uint("nextToken", Number.MAX_SAFE_INTEGER);
  const requests = fields.list("inFlight", RNG_IN_FLIGHT_MAX, (item) => ({
    // A token used twice would end the wrong request.
    token: item.uint("token", state.nextToken - 1),
    head: item.uint("head", RNG_QUEUE_SIZE - 1),
    bytes: item.uint("bytes", RNG_REQUEST_BYTES_MAX),
    data: item.list("data", CHAIN_DESCRIPTORS_MAX, (segment) => ({
      address: segment.uint("address", Number.MAX_SAFE_INTEGER),
      length: segment.uint("length", RNG_REQUEST_BYTES_MAX),
    })),
  }));
  for (const request of requests) state.inFlight.set(request.token, request);
  return state;
}
