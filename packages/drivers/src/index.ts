export * from "./agent/index.ts";
export { pruneCompileCache } from "./compile-cache.ts";
export { readStampedConsole, type StampedLine } from "./console/reader.ts";
export {
  chooseDriver,
  createDriver,
  DETECTABLE_DRIVERS,
  detectDrivers,
  DRIVER_NAMES,
  type DetectedDriver,
  type DriverName,
  type DriverOptions,
} from "./create.ts";
export { instanceFolder } from "./driver/driver.ts";
export { DirImageStore } from "./image/dir-store.ts";
export type { ImageStore, ResolvedImage } from "./image/types.ts";
export { type ForegroundOptions, runInForeground } from "./machine/embedded-run.ts";
export type { GuestEnd } from "./machine/embedded-guest.ts";
export type * from "./types.ts";
