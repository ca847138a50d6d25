/** What a file of regions is called: by all that they depend on but the guest. */

import { hasFusedMultiplyAdd } from "../../wasm/probe.ts";
import { GENERATOR } from "./generator.ts";

/** Of regions for machines with so much RAM, made by this release on a processor like this. */
export function keptRegionsName(ramBytes: number): string {
  const fused = hasFusedMultiplyAdd() ? "-fused" : "";
  return `regions-${GENERATOR}-${ramBytes / 2 ** 20}m${fused}.bin`;
}
