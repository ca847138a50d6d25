import { linux } from "./linux.ts";
import { portable } from "./portable.ts";
import type { HostOs } from "./types.ts";

export type { HostOs, ProcessIdentity } from "./types.ts";

export const hostOs: HostOs = process.platform === "linux" ? linux : portable;
