/** Making drivers, and finding out which of them this host can run. */

import { BlixardError, failure } from "@blixard/std";
import { SupervisedDriver, type SupervisedDriverOptions } from "./driver/driver.ts";
import type { Backend } from "./driver/backend.ts";
import { EmbeddedBackend } from "./driver/embedded.ts";
import { fakeBackend } from "./driver/fake.ts";
import { QemuBackend } from "./driver/qemu.ts";
import { EmbeddedImageStore } from "./image/embedded-store.ts";
import type { ImageStore } from "./image/types.ts";
import type { Probe, VmDriver } from "./types.ts";

export interface DriverOptions extends SupervisedDriverOptions {
  readonly images: ImageStore;
  /** For drivers that can: the share of a core that each VM may use, 1000: all of one. */
  readonly cpuMillicores?: number;
}

/** "fake" runs no guest and isolates nothing: it is for tests and never chosen by itself. */
export const DRIVER_NAMES = ["qemu", "embedded", "fake"] as const;
/** Those that run real VMs; first the one that is taken when nobody chooses. */
export const DETECTABLE_DRIVERS = ["embedded", "qemu"] as const;
export type DriverName = (typeof DRIVER_NAMES)[number];

const BACKENDS: { readonly [N in DriverName]: (options: DriverOptions) => Backend } = {
  qemu: (options) => new QemuBackend({ ...options, scratch: options.dataDir }),
  embedded: ({ images, cpuMillicores }) =>
    new EmbeddedBackend({
      images: new EmbeddedImageStore(images),
      ...(cpuMillicores === undefined ? {} : { cpuMillicores }),
    }),
  fake: () => fakeBackend,
};

export function createDriver(name: DriverName, options: DriverOptions): VmDriver {
  return new SupervisedDriver(BACKENDS[name](options), options);
}

export interface DetectedDriver {
  readonly name: DriverName;
  readonly probe: Probe;
}

/** Probes every real driver, best first. */
export async function detectDrivers(options: DriverOptions): Promise<readonly DetectedDriver[]> {
  const found: DetectedDriver[] = [];
  for (const name of DETECTABLE_DRIVERS) {
    const driver = createDriver(name, options);
    try {
      found.push({ name, probe: await driver.probe() });
    } finally {
      await driver.close();
    }
  }
  return found;
}

/** The best driver that works here. Errors: NoDriver, saying what was tried and what to install. */
export async function chooseDriver(options: DriverOptions): Promise<VmDriver> {
  const detected = await detectDrivers(options);
  const usable = detected.find((candidate) => candidate.probe.available);
  if (usable !== undefined) return createDriver(usable.name, options);
  const tried = detected.map(({ name, probe }) => ({
    driver: name,
    why: probe.available ? "" : probe.why,
  }));
  const installs = detected.map(({ probe }) => (probe.available ? "" : probe.install));
  throw new BlixardError(
    failure(
      "NoDriver",
      { tried },
      `No driver can run a VM here: ${tried.map((one) => `${one.driver}: ${one.why}`).join("; ")}`,
      `install one with: ${installs.join(" or ")}`,
    ),
  );
}
