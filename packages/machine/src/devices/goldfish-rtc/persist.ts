/** Saved form of the real-time clock. */

import { openSaved, type SavedHeader } from "../saved.ts";

export interface RtcState {
  /** Wall-clock nanoseconds since 1970 at guest time zero; writes to the clock change it. */
  epochNs: bigint;
  /** Upper half latched by a read of the lower one. */
  latchedHigh: bigint;
  alarmHigh: bigint;
  alarmNs: bigint;
  alarmSet: boolean;
  irqEnabled: boolean;
  irqPending: boolean;
}

export interface SavedRtc extends SavedHeader, Readonly<RtcState> {}

const KIND = "goldfish-rtc";
const VERSION = 1;

export function freshRtc(epochNs: bigint): RtcState {
  return {
    epochNs,
    latchedHigh: 0n,
    alarmHigh: 0n,
    alarmNs: 0n,
    alarmSet: false,
    irqEnabled: false,
    irqPending: false,
  };
}

export function saveRtc(state: RtcState): SavedRtc {
  return { device: KIND, version: VERSION, ...state };
}

/** Throws `Corrupt`. */
export function loadRtc(saved: unknown): RtcState {
  const fields = openSaved(saved, KIND, VERSION);
  return {
    epochNs: fields.integer("epochNs"),
    latchedHigh: fields.u64("latchedHigh"),
    alarmHigh: fields.u64("alarmHigh"),
    alarmNs: fields.u64("alarmNs"),
    alarmSet: fields.bool("alarmSet"),
    irqEnabled: fields.bool("irqEnabled"),
    irqPending: fields.bool("irqPending"),
  };
}
