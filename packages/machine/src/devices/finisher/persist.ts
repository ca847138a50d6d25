/** Saved form of the finisher: it has no state, yet a snapshot names it. */

import { openSaved, type SavedHeader } from "../saved.ts";

const KIND = "finisher";
const VERSION = 1;

export function saveFinisher(): SavedHeader {
  return { device: KIND, version: VERSION };
}

/** Throws `Corrupt`. */
export function loadFinisher(saved: unknown): void {
  openSaved(saved, KIND, VERSION);
}
