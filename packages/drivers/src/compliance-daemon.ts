/**
 * The compliance suite's stand-in for a daemon that is killed: starts one VM, says so, and waits.
 * Arguments: driver, data folder, images folder, the spec as JSON, deadline.
 */

import { as, type Epoch } from "@blixard/std";
import { createDriver, DRIVER_NAMES } from "./create.ts";
import { DirImageStore } from "./image/dir-store.ts";
import { readSpec } from "./state.ts";

const [driverName, dataDir = "", images = "", spec = "", deadline] = process.argv.slice(2);
const known = DRIVER_NAMES.find((name) => name === driverName) ?? "fake";
const driver = createDriver(known, {
  dataDir,
  images: new DirImageStore(images),
});
const parsed = readSpec(JSON.parse(spec));
driver.subscribe((status) => process.stdout.write(`${status.phase}\n`));
await driver.create(parsed);
await driver.start(parsed.vmId, {
  epoch: as<Epoch>(1),
  deadlineMonotonicMs: Number(deadline),
});
// Keeps the process until it is killed.
setInterval(() => undefined, 60_000);
