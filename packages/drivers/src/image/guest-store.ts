/** The image that comes with Blixard for its embedded machine: the package @blixard/guest-riscv64. */

import { basename, dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { BlixardError, fail, failure } from "@blixard/std";
import { DirImageStore } from "./dir-store.ts";
import type { ImageStore, ResolvedImage } from "./types.ts";

const NAME = "base";
const DESCRIPTION = "@blixard/guest-riscv64/image.json";

export class GuestImageStore implements ImageStore {
  #store: ImageStore | undefined;
  readonly #folder: string;

  /** `folder` holds image.json and the files it names; it must have the package's shape. */
  constructor(folder = dirname(fileURLToPath(import.meta.resolve(DESCRIPTION)))) {
    this.#folder = folder;
  }

  async resolve(image: string): Promise<ResolvedImage> {
    if (image !== NAME) {
      return fail(
        "NotFound",
        { kind: "image", name: image },
        `The embedded driver has no image "${image}"`,
        `use the image that comes with it: --image ${NAME}`,
      );
    }
    this.#store ??= new DirImageStore(dirname(this.#folder));
    try {
      return await this.#store.resolve(basename(this.#folder));
    } catch (caught) {
      if (!(caught instanceof BlixardError)) throw caught;
      const data = { what: `image ${NAME}`, where: this.#folder };
      throw new BlixardError(
        failure("Corrupt", data, caught.message, "install Blixard again: npm ci"),
        { cause: caught },
      );
    }
  }
}
