/** The real image in a real machine: needs QEMU and what building the image needs. */

import { bootCases } from "./boot-cases.ts";
import { buildImage, imagesDir } from "./build.ts";
import { bootGuest } from "./qemu.ts";

bootCases("x86_64", async () => await bootGuest(await buildImage({ cacheDir: imagesDir() })));
