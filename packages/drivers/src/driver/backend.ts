/** What tells one supervised driver from another; the rest they share. */

import type { MachineConfig } from "../machine/types.ts";
import type { InstanceSpec, Probe } from "../types.ts";

export interface Backend {
  readonly name: string;
  probe(): Promise<Probe>;
  /** Makes what the machine needs in the instance's folder; again is fine. */
  prepare(spec: InstanceSpec, folder: string): Promise<void>;
  /** Everything the supervisor has to know. Errors: NotFound (image), NoDriver. */
  machine(spec: InstanceSpec, folder: string): Promise<MachineConfig>;
}
