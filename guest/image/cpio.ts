/**
 * Writer for the "newc" cpio format that Linux unpacks as initramfs
 * (Documentation/driver-api/early-userspace/buffer-format.rst). Same entries, same bytes.
 */

import { assert, concat, utf8 } from "@blixard/std";

export type CpioEntry =
  | { readonly kind: "dir"; readonly path: string; readonly mode: number }
  | {
      readonly kind: "file";
      readonly path: string;
      readonly mode: number;
      readonly data: Uint8Array;
    }
  | { readonly kind: "link"; readonly path: string; readonly target: string }
  | {
      readonly kind: "charDevice";
      readonly path: string;
      readonly mode: number;
      readonly major: number;
      readonly minor: number;
    };

const TYPE_BITS = { dir: 0o040000, file: 0o100000, link: 0o120000, charDevice: 0o020000 } as const;
const TRAILER = "TRAILER!!!";
/** What the kernel's own gen_init_cpio pads archives to. */
const BLOCK_BYTES = 512;

function padding(length: number, unit: number): Uint8Array {
  return new Uint8Array((unit - (length % unit)) % unit);
}

interface Header {
  readonly inode: number;
  readonly mode: number;
  readonly links: number;
  readonly size: number;
  readonly major: number;
  readonly minor: number;
  readonly nameSize: number;
}

function header(fields: Header): Uint8Array {
  const { inode, mode, links, size, major, minor, nameSize } = fields;
  // uid, gid, mtime, and the device that holds the file are 0; so is the checksum in this format.
  const numbers = [inode, mode, 0, 0, links, 0, size, 0, 0, major, minor, nameSize, 0];
  return utf8(`070701${numbers.map((n) => n.toString(16).padStart(8, "0")).join("")}`);
}

function record(inode: number, entry: CpioEntry): Uint8Array[] {
  const name = utf8(`${entry.path}\0`);
  const data =
    entry.kind === "file"
      ? entry.data
      : entry.kind === "link"
        ? utf8(entry.target)
        : new Uint8Array(0);
  const head = header({
    inode,
    mode: TYPE_BITS[entry.kind] | (entry.kind === "link" ? 0o777 : entry.mode),
    links: entry.kind === "dir" ? 2 : 1,
    size: data.length,
    major: entry.kind === "charDevice" ? entry.major : 0,
    minor: entry.kind === "charDevice" ? entry.minor : 0,
    nameSize: name.length,
  });
  const named = head.length + name.length;
  return [head, name, padding(named, 4), data, padding(data.length, 4)];
}

function parentsOf(path: string): string[] {
  const parts = path.split("/");
  return parts.slice(1).map((_, i) => parts.slice(0, i + 1).join("/"));
}

/**
 * The archive: entries sorted by path, folders that are missing added, owned by root, time 0. Paths are
 * relative, without "." or ".."; each occurs once.
 */
export function writeCpio(entries: readonly CpioEntry[]): Uint8Array {
  const byPath = new Map<string, CpioEntry>();
  for (const entry of entries) {
    const parts = entry.path.split("/");
    assert(!parts.some((part) => part === "" || part === "." || part === ".."), entry.path);
    assert(!byPath.has(entry.path), `${entry.path} occurs once`);
    byPath.set(entry.path, entry);
  }
  for (const path of entries.flatMap((entry) => parentsOf(entry.path))) {
    const parent = byPath.get(path) ?? { kind: "dir", path, mode: 0o755 };
    assert(parent.kind === "dir", `${path} is a folder`);
    byPath.set(path, parent);
  }
  // By code units, not by locale: the same on every machine. A folder comes before its content.
  const sorted = [...byPath.values()].toSorted((a, b) => (a.path < b.path ? -1 : 1));
  const parts = sorted.flatMap((entry, i) => record(i + 1, entry));
  parts.push(...record(0, { kind: "file", path: TRAILER, mode: 0, data: new Uint8Array(0) }));
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  return concat([...parts, padding(length, BLOCK_BYTES)]);
}
