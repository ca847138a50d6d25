/** Which driver this node uses: the first of its configuration whose probe succeeds. */

import { homedir } from "node:os";
import { join } from "node:path";
import { createDriver, DirImageStore, DRIVER_NAMES, type VmDriver } from "@blixard/drivers";
import { fail } from "@blixard/std";
import type { NodeConfig } from "./config.ts";
import type { Logger } from "./log.ts";

export interface ChosenDriver {
  readonly name: string;
  readonly driver: VmDriver;
  /** False: no driver works here; the node serves the cluster but offers no capacity. */
  readonly available: boolean;
}

export function defaultImagesDir(): string {
  return join(process.env["BLIXARD_CACHE"] ?? join(homedir(), ".cache", "blixard"), "images");
}

export async function chooseDriver(
  dataDir: string,
  config: NodeConfig,
  log: Logger,
): Promise<ChosenDriver> {
  const images = new DirImageStore(config.images ?? defaultImagesDir());
  const cpuMillicores = config.limits?.vmCpuMillicores;
  const cpu = cpuMillicores === undefined ? {} : { cpuMillicores };
  let first: ChosenDriver | undefined;
  for (const wanted of config.drivers) {
    const name = DRIVER_NAMES.find((known) => known === wanted);
    if (name === undefined) {
      return fail(
        "InvalidArgument",
        { field: "drivers", reason: `unknown driver "${wanted}"` },
        `Cannot use driver "${wanted}": this build knows qemu and embedded`,
        "edit drivers in node.toml",
      );
    }
    const driver = createDriver(name, { dataDir: join(dataDir, "vms"), images, ...cpu });
    const probe = await driver.probe();
    if (probe.available) {
      log.info({ driver: name, accel: probe.accel, version: probe.version }, "driver found");
      await first?.driver.close();
      return { name, driver, available: true };
    }
    log.warn({ driver: name, why: probe.why, install: probe.install }, "driver not usable");
    if (first === undefined) first = { name, driver, available: false };
    else await driver.close();
  }
  return (
    first ?? fail("NoDriver", { tried: [] }, "No driver is configured", "set drivers in node.toml")
  );
}
