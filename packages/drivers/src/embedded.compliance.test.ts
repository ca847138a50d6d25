/** Boots the image that comes with Blixard on Blixard's own emulator: real guests, nothing installed. */

import { driverCompliance } from "./compliance.ts";
import { LINUX_PANIC } from "./compliance-world.ts";

driverCompliance("embedded", 2, () =>
  Promise.resolve({
    driver: "embedded",
    images: "unused",
    image: "base",
    bootMs: 60_000,
    panic: LINUX_PANIC,
  }),
);
