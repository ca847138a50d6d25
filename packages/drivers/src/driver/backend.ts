/** What tells one supervised driver from another; the rest they share. */

import type { MachineConfig } from "../machine/types.ts";
import { LIMITS } from "../limits.ts";
import type { InstanceSpec, Probe, VmBounds } from "../types.ts";

export interface Backend {
  readonly name: string;
  readonly bounds: VmBounds;
  probe(): Promise<Probe>;
  /** Makes what the machine needs in the instance's folder; again is fine. */
  prepare(spec: InstanceSpec, folder: string): Promise<void>;
  /** Everything the supervisor has to know. Errors: NotFound (image), NoDriver. */
  machine(spec: InstanceSpec, folder: string): Promise<MachineConfig>;
}

/** Of drivers that leave it to the host how large a VM may be. */
export const WIDE_BOUNDS: VmBounds = {
  vcpusMax: LIMITS.vcpus,
  memoryBytesMin: LIMITS.memoryBytesMin,
  memoryBytesMax: LIMITS.memoryBytesMax,
};
