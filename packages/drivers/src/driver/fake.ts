/** The fake driver: real supervisors and processes, a guest that is a folder. For tests only. */

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { hostOs } from "../os/index.ts";
import { type Backend, WIDE_BOUNDS } from "./backend.ts";

export const fakeBackend: Backend = {
  name: "fake",
  bounds: WIDE_BOUNDS,
  probe: () => {
    const missing = hostOs.missing();
    return Promise.resolve(
      missing === undefined
        ? {
            available: true,
            accel: "none",
            version: "0",
            capabilities: {
              exec: true,
              console: true,
              pty: false,
              files: true,
              pause: false,
              snapshot: false,
            },
          }
        : { available: false, why: missing, install: "apt-get install util-linux" },
    );
  },
  prepare: async (_spec, folder) => {
    await mkdir(join(folder, "root"), { recursive: true, mode: 0o700 });
  },
  machine: (_spec, folder) => Promise.resolve({ kind: "fake", root: join(folder, "root") }),
};
