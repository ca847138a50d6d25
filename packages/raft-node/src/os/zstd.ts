/**
 * zstd of Node's zlib, at its fastest level: a chunk of 256 KiB takes about a millisecond. A Node without
 * it (before 22.15) stores chunks as they are, and says so of compressed ones.
 */

import * as zlib from "node:zlib";

import { err, ok } from "@blixard/std";

import type { Compression } from "../snapshot/packing.ts";

const hasZstd = "zstdCompressSync" in zlib;

export const zstd: Compression = {
  compress: (bytes) => {
    if (!hasZstd) return bytes;
    const params = { [zlib.constants.ZSTD_c_compressionLevel]: 1 };
    return zlib.zstdCompressSync(bytes, { params });
  },
  decompress: (bytes, bytesMax) => {
    if (!hasZstd) return err("this version of Node has no zstd");
    try {
      return ok(zlib.zstdDecompressSync(bytes, { maxOutputLength: bytesMax }));
    } catch (caught) {
      return err(caught instanceof Error ? caught.message : String(caught));
    }
  },
};
