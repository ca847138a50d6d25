/** The embedded driver: guests under Blixard's own emulator. It needs nothing but Node. */

import { join } from "node:path";
import { fail } from "@blixard/std";
import { GuestImageStore } from "../image/guest-store.ts";
import type { ImageStore } from "../image/types.ts";
import { LIMITS } from "../limits.ts";
import { probeEmbedded } from "../machine/embedded-probe.ts";
import { regionsDir } from "../machine/embedded-regions.ts";
import { makeOverlay } from "../machine/open-disk.ts";
import type { MachineConfig } from "../machine/types.ts";
import type { InstanceSpec, Probe, VmBounds } from "../types.ts";
import type { Backend } from "./backend.ts";
import { DISK_FILE, makeDisk } from "./disk.ts";

/** What a VM has written to its image's disk. */
const OVERLAY_FILE = "image.overlay";
/** The emulator has one hart. */
const VCPUS = 1;

export interface EmbeddedBackendOptions {
  readonly images?: ImageStore;
  /** The share of a core that each VM may use, 1000: all of one. Default: what there is. */
  readonly cpuMillicores?: number;
}

export class EmbeddedBackend implements Backend {
  readonly name = "embedded";
  readonly bounds: VmBounds = {
    vcpusMax: VCPUS,
    memoryBytesMin: LIMITS.memoryBytesMin,
    memoryBytesMax: LIMITS.embeddedMemoryBytesMax,
  };
  readonly #images: ImageStore;
  readonly #cpuMillicores: number | undefined;
  readonly #regions = regionsDir();

  constructor(options: EmbeddedBackendOptions = {}) {
    this.#images = options.images ?? new GuestImageStore();
    this.#cpuMillicores = options.cpuMillicores;
  }

  probe(): Promise<Probe> {
    return Promise.resolve(probeEmbedded());
  }

  async prepare(spec: InstanceSpec, folder: string): Promise<void> {
    checkSpec(spec);
    await makeDisk(spec, folder);
  }

  async machine(spec: InstanceSpec, folder: string): Promise<MachineConfig> {
    const image = await this.#images.resolve(spec.image);
    const overlay = join(folder, OVERLAY_FILE);
    if (image.disk !== undefined) await makeOverlay(image.disk, overlay);
    return {
      kind: "embedded",
      kernel: image.kernel,
      initrd: image.initrd,
      // A panic resets the guest, which ends the machine.
      cmdline: `${image.cmdline} panic=-1`,
      memoryBytes: spec.memoryBytes,
      ...(image.disk === undefined ? {} : { imageDisk: { base: image.disk, overlay } }),
      ...(spec.diskBytes === 0 ? {} : { disk: join(folder, DISK_FILE) }),
      regions: this.#regions,
      ...(this.#cpuMillicores === undefined ? {} : { cpuMillicores: this.#cpuMillicores }),
    };
  }
}

function checkSpec(spec: InstanceSpec): void {
  const refuse = (field: string, reason: string, hint: string): never =>
    fail(
      "InvalidArgument",
      { field, reason },
      `The embedded driver cannot run VM "${spec.name}": ${reason}`,
      hint,
    );
  if (spec.vcpus > VCPUS) {
    const hint = "make it anew with --vcpus 1, or use the qemu driver";
    refuse("vcpus", `it has ${spec.vcpus} vCPUs, and the embedded machine has ${VCPUS}`, hint);
  }
  if (spec.memoryBytes > LIMITS.embeddedMemoryBytesMax) {
    const reason = `its memory is above ${LIMITS.embeddedMemoryBytesMax} bytes`;
    refuse("memoryBytes", reason, "make it anew with --memory 1792M or less");
  }
  if (spec.diskBytes % 512 !== 0) {
    const reason = `its disk, ${spec.diskBytes} bytes, is not whole sectors of 512`;
    refuse("diskBytes", reason, "make it anew with --disk in whole K, M or G");
  }
}
