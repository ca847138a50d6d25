/** zstd of Node's zlib, at its fastest level: a chunk of 256 KiB takes about a millisecond. */

import { constants, zstdCompressSync, zstdDecompressSync } from "node:zlib";

import { err, ok } from "@blixard/std";

import type { Compression } from "../snapshot/packing.ts";

const FASTEST = { params: { [constants.ZSTD_c_compressionLevel]: 1 } };

export const zstd: Compression = {
  compress: (bytes) => zstdCompressSync(bytes, FASTEST),
  decompress: (bytes, bytesMax) => {
    try {
      return ok(zstdDecompressSync(bytes, { maxOutputLength: bytesMax }));
    } catch (caught) {
      return err(caught instanceof Error ? caught.message : String(caught));
    }
  },
};
