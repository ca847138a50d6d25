/** Saved form of the interrupt controller. */

import { PLIC_PRIORITY_MAX } from "../limits.ts";
import { openSaved, type SavedHeader } from "../saved.ts";

export interface PlicState {
  /** By source; index 0 is no source. */
  readonly priorities: number[];
  readonly levels: Uint8Array;
  /** Bits in words of 32 sources. */
  readonly pending: Uint32Array;
  /** Claimed and not yet completed: the gateway lets nothing new through. */
  readonly claimed: Uint8Array;
  /** By context: enable bits in words of 32 sources, and the threshold. */
  readonly enables: Uint32Array[];
  readonly thresholds: number[];
}

export interface SavedPlic extends SavedHeader {
  readonly priorities: readonly number[];
  readonly levels: Uint8Array;
  readonly pending: readonly number[];
  readonly claimed: Uint8Array;
  readonly contexts: readonly { readonly enables: readonly number[]; readonly threshold: number }[];
}

const KIND = "plic";
const VERSION = 1;

/** `sources` counts the unused source 0. */
export function freshPlic(sources: number, contexts: number): PlicState {
  const words = Math.ceil(sources / 32);
  return {
    priorities: Array.from({ length: sources }, () => 0),
    levels: new Uint8Array(sources),
    pending: new Uint32Array(words),
    claimed: new Uint8Array(sources),
    enables: Array.from({ length: contexts }, () => new Uint32Array(words)),
    thresholds: Array.from({ length: contexts }, () => 0),
  };
}

export function savePlic(state: PlicState): SavedPlic {
  return {
    device: KIND,
    version: VERSION,
    priorities: [...state.priorities],
    levels: state.levels.slice(),
    pending: [...state.pending],
    claimed: state.claimed.slice(),
    contexts: state.enables.map((enables, index) => ({
      enables: [...enables],
      threshold: state.thresholds[index] ?? 0,
    })),
  };
}

/** Throws `Corrupt`, also when the saved controller had other numbers of sources or contexts. */
export function loadPlic(saved: unknown, sources: number, contexts: number): PlicState {
  const fields = openSaved(saved, KIND, VERSION);
  const fresh = freshPlic(sources, contexts);
  const words = Math.ceil(sources / 32);
  const loaded = fields.list("contexts", contexts, (item) => ({
    enables: Uint32Array.from(item.uints("enables", words, 0xffffffff)),
    threshold: item.uint("threshold", PLIC_PRIORITY_MAX),
  }));
  for (const name of ["levels", "claimed"] as const) {
    const flags = fields.bytes(name, sources);
    for (let i = 1; i < flags.length; i++) fresh[name][i] = (flags[i] ?? 0) & 1;
  }
  fresh.pending.set(fields.uints("pending", words, 0xffffffff));
  loaded.forEach((context, index) => {
    fresh.enables[index]?.set(context.enables);
    fresh.thresholds[index] = context.threshold;
  });
  return { ...fresh, priorities: fields.uints("priorities", sources, PLIC_PRIORITY_MAX) };
}
