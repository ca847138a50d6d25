/** The embedded driver's images: the one that comes with it, and riscv64 ones of the host's folder. */

import { BlixardError, fail } from "@blixard/std";
import { GuestImageStore } from "./guest-store.ts";
import type { ImageStore, ResolvedImage } from "./types.ts";

const ARCH = "riscv64";
const OWN = "base";

export class EmbeddedImageStore implements ImageStore {
  readonly #own: ImageStore;
  readonly #others: ImageStore;

  constructor(others: ImageStore, own: ImageStore = new GuestImageStore()) {
    this.#own = own;
    this.#others = others;
  }

  async resolve(image: string): Promise<ResolvedImage> {
    if (image === OWN) return await this.#own.resolve(image);
    const found = await this.#other(image);
    if (found.arch === ARCH) return found;
    const reason = `it is for ${found.arch ?? "an unknown architecture"}, not ${ARCH}`;
    const message = `The embedded driver cannot boot image "${image}": ${reason}`;
    const hint = `use --image ${OWN}, or the qemu driver`;
    return fail("InvalidArgument", { field: "image", reason }, message, hint);
  }

  async #other(image: string): Promise<ResolvedImage> {
    try {
      return await this.#others.resolve(image);
    } catch (caught) {
      // Said as the driver that has an image of its own says it.
      if (caught instanceof BlixardError && caught.code === "NotFound") {
        return await this.#own.resolve(image);
      }
      throw caught;
    }
  }
}
