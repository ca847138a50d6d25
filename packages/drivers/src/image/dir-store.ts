/** Images as folders: `<folder>/<image>/{vmlinuz,initrd.img,image.json}`, as guest/image makes them. */

import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readFile, realpath } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { isMissing } from "@blixard/host";
import { BlixardError, fail, failure, toBlixardError } from "@blixard/std";
import { asInteger, asObject, asText, optional, parseWith, ShapeError } from "../json.ts";
import type { ImageStore, ResolvedImage } from "./types.ts";

const FORMAT = "blixard-image";
/** Version 2 is version 1 with a disk. */
const VERSION_MAX = 2;
const KERNEL = "vmlinuz";
const INITRD = "initrd.img";
const DISK = "disk.img";

interface ImageDescription {
  readonly arch?: string;
  readonly cmdline: string;
  readonly sha256: ReadonlyMap<string, string>;
}

/** Image names are one path component, so that no name leads out of the store. */
const NAME = /^[a-z0-9][a-z0-9._:-]{0,127}$/i;

function readDescription(value: unknown): ImageDescription {
  const fields = asObject(value, "the file");
  if (fields["format"] !== FORMAT) throw new ShapeError(`"format" is not "${FORMAT}"`);
  const version = asInteger(fields["version"], "version");
  if (version < 1 || version > VERSION_MAX) {
    throw new ShapeError(`version ${version} is not 1 to ${VERSION_MAX}`);
  }
  const files = asObject(fields["files"], "files");
  const sha256 = new Map<string, string>();
  const hasDisk = version >= 2 && files[DISK] !== undefined;
  for (const name of [KERNEL, INITRD, ...(hasDisk ? [DISK] : [])]) {
    const digest = asText(files[name], `files["${name}"]`);
    if (!/^[0-9a-f]{64}$/.test(digest)) throw new ShapeError(`files["${name}"] is no SHA-256`);
    sha256.set(name, digest);
  }
  const arch = optional(fields["arch"], "arch", asText);
  const cmdline = asText(fields["cmdline"], "cmdline");
  return { cmdline, sha256, ...(arch === undefined ? {} : { arch }) };
}

export class DirImageStore implements ImageStore {
  readonly #folder: string;
  /** By real folder: files are hashed once for each process, not at each start. */
  readonly #verified = new Map<string, Promise<ResolvedImage>>();

  constructor(folder: string) {
    this.#folder = folder;
  }

  async resolve(image: string): Promise<ResolvedImage> {
    if (!NAME.test(image)) {
      const reason = "an image's name is letters, digits and . _ : -";
      fail("InvalidArgument", { field: "image", reason }, `Invalid image "${image}": ${reason}`);
    }
    let dir: string;
    try {
      // A name may be a link to a folder named after its content.
      dir = await realpath(join(this.#folder, image));
    } catch (caught) {
      if (isMissing(caught)) return this.#absent(image);
      throw toBlixardError(caught, `looking for image ${image}`);
    }
    const known = this.#verified.get(dir) ?? this.#verify(image, dir);
    this.#verified.set(dir, known);
    try {
      return await known;
    } catch (caught) {
      // Looked at again next time: the image may be repaired meanwhile.
      this.#verified.delete(dir);
      throw caught;
    }
  }

  async #verify(image: string, dir: string): Promise<ResolvedImage> {
    const path = join(dir, "image.json");
    let text: string;
    try {
      text = await readFile(path, "utf8");
    } catch (caught) {
      if (isMissing(caught)) return this.#absent(image);
      throw toBlixardError(caught, `reading ${path}`);
    }
    const parsed = parseWith(text, readDescription);
    if (!parsed.ok) throw corrupt(image, path, parsed.error);
    for (const [name, wanted] of parsed.value.sha256) {
      const file = join(dir, name);
      const actual = await sha256Of(image, file);
      if (actual !== wanted) throw corrupt(image, file, "its SHA-256 is not the one of image.json");
    }
    const { cmdline, arch, sha256 } = parsed.value;
    return {
      dir,
      kernel: join(dir, KERNEL),
      initrd: join(dir, INITRD),
      cmdline,
      ...(arch === undefined ? {} : { arch }),
      ...(sha256.has(DISK) ? { disk: join(dir, DISK) } : {}),
    };
  }

  #absent(image: string): never {
    return fail(
      "NotFound",
      { kind: "image", name: image },
      `Image "${image}" is not in ${this.#folder}`,
      "build it with: node --conditions=source guest/image/main.ts",
    );
  }
}

async function sha256Of(image: string, path: string): Promise<string> {
  const hash = createHash("sha256");
  try {
    await pipeline(createReadStream(path), hash);
  } catch (caught) {
    if (isMissing(caught)) throw corrupt(image, path, "the file is missing");
    throw toBlixardError(caught, `reading ${path}`);
  }
  return hash.digest("hex");
}

function corrupt(image: string, where: string, reason: string): BlixardError {
  return new BlixardError(
    failure(
      "Corrupt",
      { what: `image ${image}`, where },
      `Image "${image}" is broken: ${where}: ${reason}`,
      "remove its folder and build it again with: node --conditions=source guest/image/main.ts",
    ),
  );
}
