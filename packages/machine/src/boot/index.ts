/** What the machine and its shell use of booting and of the board. */

export { AGENT_PORT, createBoard } from "./board.ts";
export { RAM_BASE, TIMEBASE_HZ } from "../limits.ts";
export type { Board, BoardOptions } from "./board.ts";
export { readKernel } from "./image.ts";
export type { ImageFailure, KernelCompressed, KernelImage } from "./image.ts";
export { bootLinux } from "./linux.ts";
export type { BootFailure, Booted, LinuxOptions, Range } from "./linux.ts";
export type { DeviceDescription, HartDescription } from "./tree.ts";
export type { MachineBus, SavedDevices } from "../bus.ts";
export type { ConsolePortOptions } from "../devices/virtio-console/device.ts";
export type { DiskOptions } from "../devices/virtio-blk/device.ts";
