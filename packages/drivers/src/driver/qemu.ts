/** The qemu driver: what it finds on the host, and what a supervisor needs to run one VM. */

import { join } from "node:path";
import { BlixardError, failure } from "@blixard/std";
import type { ImageStore } from "../image/types.ts";
import type { MachineConfig } from "../machine/types.ts";
import type { QemuProbe } from "../qemu/probe.ts";
import { rememberedProbe } from "../qemu/remembered.ts";
import type { InstanceSpec, Probe } from "../types.ts";
import { type Backend, WIDE_BOUNDS } from "./backend.ts";
import { DISK_FILE, makeDisk } from "./disk.ts";

export const QEMU_BINARY = "qemu-system-x86_64";

/** A panic resets the guest, and -no-reboot turns that into QEMU's end. */
const PANIC = "panic=-1";
/**
 * Emulated, the HPET counts the host's time as it is. The processor's counter must first be measured, and
 * on a busy host that measurement, and the guest's clock with it, may come out wrong by half.
 */
const EXTRA = { kvm: PANIC, tcg: `${PANIC} clocksource=hpet` } as const;

/** Probing runs guests: once for each binary and process. */
const probed = new Map<string, Promise<QemuProbe>>();

function probeOnce(binary: string, scratch: string): Promise<QemuProbe> {
  const known = probed.get(binary) ?? rememberedProbe(binary, scratch);
  probed.set(binary, known);
  return known;
}

export interface QemuBackendOptions {
  readonly images: ImageStore;
  /** A folder for the probe's files and its answer. */
  readonly scratch: string;
  readonly binary?: string;
  readonly log?: (line: string) => void;
}

export class QemuBackend implements Backend {
  readonly name = "qemu";
  readonly bounds = WIDE_BOUNDS;
  readonly #images: ImageStore;
  readonly #binary: string;
  readonly #scratch: string;
  readonly #log: (line: string) => void;

  constructor(options: QemuBackendOptions) {
    this.#images = options.images;
    this.#binary = options.binary ?? QEMU_BINARY;
    this.#scratch = options.scratch;
    this.#log = options.log ?? (() => undefined);
  }

  async probe(): Promise<Probe> {
    const found = await probeOnce(this.#binary, this.#scratch);
    if (!found.available) return found;
    if (found.noKvm !== undefined) this.#log(`guests are emulated: ${found.noKvm}`);
    return {
      available: true,
      accel: found.accel,
      version: found.version,
      capabilities: {
        exec: true,
        console: true,
        pty: true,
        files: true,
        pause: false,
        snapshot: false,
      },
    };
  }

  async prepare(spec: InstanceSpec, folder: string): Promise<void> {
    await makeDisk(spec, folder);
  }

  async machine(spec: InstanceSpec, folder: string): Promise<MachineConfig> {
    const found = await probeOnce(this.#binary, this.#scratch);
    if (!found.available) {
      const tried = [{ driver: this.name, why: found.why }];
      const message = `QEMU cannot run VMs on this host: ${found.why}`;
      throw new BlixardError(failure("NoDriver", { tried }, message, found.install));
    }
    const image = await this.#images.resolve(spec.image);
    return {
      kind: "qemu",
      binary: this.#binary,
      accel: found.accel,
      sandbox: found.sandbox,
      kernel: image.kernel,
      initrd: image.initrd,
      cmdline: `${image.cmdline} ${EXTRA[found.accel]}`,
      vcpus: spec.vcpus,
      memoryBytes: spec.memoryBytes,
      ...(spec.diskBytes === 0 ? {} : { disk: join(folder, DISK_FILE) }),
    };
  }
}
