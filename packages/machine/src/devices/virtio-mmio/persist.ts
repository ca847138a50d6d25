/** Saved form of a virtio device: its transport, with the backend's own state inside. */

import { openSaved, type SavedHeader } from "../saved.ts";
import { freshQueue, type QueueState } from "./queue.ts";

export interface TransportState {
  status: number;
  deviceFeaturesSelect: number;
  driverFeaturesSelect: number;
  driverFeatures: bigint;
  queueSelect: number;
  interruptStatus: number;
  configGeneration: number;
  readonly queues: QueueState[];
}

export interface SavedTransport extends SavedHeader, Omit<TransportState, "queues"> {
  readonly queues: readonly Readonly<QueueState>[];
  readonly backend: unknown;
}

const KIND = "virtio-mmio";
const VERSION = 1;
const U32 = 0xffffffff;
const U16 = 0xffff;

export function freshTransport(queues: number): TransportState {
  return {
    status: 0,
    deviceFeaturesSelect: 0,
    driverFeaturesSelect: 0,
    driverFeatures: 0n,
    queueSelect: 0,
    interruptStatus: 0,
    configGeneration: 0,
    queues: Array.from({ length: queues }, freshQueue),
  };
}

export function saveTransport(state: TransportState, backend: unknown): SavedTransport {
  return {
    device: KIND,
    version: VERSION,
    ...state,
    queues: state.queues.map((queue) => ({ ...queue })),
    backend,
  };
}

/** Throws `Corrupt`. The backend's part is passed on unread. */
export function loadTransport(
  saved: unknown,
  queues: number,
): { state: TransportState; backend: unknown } {
  const fields = openSaved(saved, KIND, VERSION);
  const state = freshTransport(queues);
  const loaded = fields.list("queues", queues, (item) => ({
    // As the guest wrote it: whether the ring can be used is checked before it is.
    size: item.uint("size", U16),
    ready: item.bool("ready"),
    descriptors: item.u64("descriptors"),
    available: item.u64("available"),
    used: item.u64("used"),
    nextAvailable: item.uint("nextAvailable", U16),
    nextUsed: item.uint("nextUsed", U16),
    signalledUsed: item.uint("signalledUsed", U16),
  }));
  loaded.forEach((queue, index) => {
    state.queues[index] = queue;
  });
  state.status = fields.uint("status", 0xff);
  state.deviceFeaturesSelect = fields.uint("deviceFeaturesSelect", U32);
  state.driverFeaturesSelect = fields.uint("driverFeaturesSelect", U32);
  state.driverFeatures = fields.u64("driverFeatures");
  state.queueSelect = fields.uint("queueSelect", U32);
  state.interruptStatus = fields.uint("interruptStatus", 3);
  state.configGeneration = fields.uint("configGeneration", U32);
  return { state, backend: fields.unknown("backend") };
}
