/** Needs QEMU and what guest/image needs (see its errors); boots real Linux guests. */

import { driverCompliance } from "./compliance.ts";
import { LINUX_PANIC } from "./compliance-world.ts";

driverCompliance("qemu", 1, async () => {
  const { buildImage, imagesDir } = await import("../../../guest/image/build.ts");
  const images = imagesDir();
  const image = await buildImage({ cacheDir: images });
  return { driver: "qemu", images, image: image.name, bootMs: 120_000, panic: LINUX_PANIC };
});
