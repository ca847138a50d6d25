/** `machine detect`: every driver, tried out. */

import { tmpdir } from "node:os";
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { progress } from "../io.ts";
import type { Context } from "../options.ts";
import { printList, type Format } from "../output.ts";

interface Detected {
  readonly name: string;
  readonly available: boolean;
  /** How it runs guests: kvm, tcg (QEMU's emulation), wasm (our own). */
  readonly accel?: string;
  readonly version?: string;
  /** Why it does not work, or why not with a better accelerator. */
  readonly why?: string;
  readonly install?: string;
}

export async function machineDetect(
  { io }: Context,
  options: { readonly output: Format },
): Promise<void> {
  const { createDriver, DETECTABLE_DRIVERS, DirImageStore } = await import("@blixard/drivers");
  await progress(io, "trying a guest under each driver ...");
  const folder = await mkdtemp(join(tmpdir(), "blx-detect-"));
  const found: Detected[] = [];
  try {
    for (const name of DETECTABLE_DRIVERS) {
      const notes: string[] = [];
      const driver = createDriver(name, {
        dataDir: folder,
        images: new DirImageStore(folder),
        log: (line) => notes.push(line),
      });
      const probe = await driver.probe();
      await driver.close();
      if (!probe.available) {
        found.push({ name, available: false, why: probe.why, install: probe.install });
        continue;
      }
      const { accel, version } = probe;
      const why = notes.join("; ");
      found.push({ name, available: true, accel, version, ...(why === "" ? {} : { why }) });
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  await printList(io, options.output, found, ({ name }) => name, [
    { title: "DRIVER", value: ({ name }) => name },
    { title: "WORKS", value: ({ available }) => (available ? "yes" : "no") },
    { title: "ACCEL", value: ({ accel }) => accel ?? "" },
    { title: "VERSION", value: ({ version }) => version ?? "" },
    {
      title: "NOTE",
      value: ({ why = "", install }) => (install === undefined ? why : `${why}; ${install}`),
    },
  ]);
}
