/**
 * Writes flattened device trees (Devicetree Specification 0.4, chapter 5; version 17). A tree is plain data:
 * nodes with properties in order; values are numbers (32-bit cells), texts, bytes or lists of these.
 */

import { assert, concat, utf8 } from "@blixard/std";

/** `true` is a property without a value; a bigint is two cells. */
export type PropertyValue =
  | true
  | string
  | readonly string[]
  | number
  | bigint
  | readonly (number | bigint)[]
  | Uint8Array;

export interface TreeNode {
  /** Name with unit address; empty for the root. */
  readonly name: string;
  readonly properties: Readonly<Record<string, PropertyValue>>;
  readonly children?: readonly TreeNode[];
}

const MAGIC = 0xd00dfeed;
const VERSION = 17;
const LAST_COMPATIBLE = 16;
const HEADER_BYTES = 40;
/** The reservation map holds its end mark only. */
const RESERVATION_BYTES = 16;

const BEGIN_NODE = 1;
const END_NODE = 2;
const PROPERTY = 3;
const END = 9;

const NODE_NAME = /^[A-Za-z0-9,._+-]{1,31}(@[A-Za-z0-9,._+-]+)?$/;
const PROPERTY_NAME = /^[A-Za-z0-9,._+?#-]{1,31}$/;

/** Numbers as consecutive cells, bigints as two of them, most significant first. */
export function cells(values: readonly (number | bigint)[]): Uint8Array {
  const words: number[] = [];
  for (const value of values) {
    if (typeof value === "number") {
      assert(Number.isInteger(value) && value >= 0 && value <= 0xffffffff, `cell ${value}`);
      words.push(value);
    } else {
      assert(BigInt.asUintN(64, value) === value, `two cells ${value}`);
      words.push(Number(value >> 32n), Number(value & 0xffff_ffffn));
    }
  }
  const out = new Uint8Array(4 * words.length);
  const view = new DataView(out.buffer);
  words.forEach((word, index) => view.setUint32(4 * index, word));
  return out;
}

/** The tree as bytes; throws AssertionError on names or values that the format cannot hold. */
export function writeTree(root: TreeNode): Uint8Array {
  assert(root.name === "", "the root has no name");
  const strings = new Strings();
  const parts: Uint8Array[] = [];
  writeNode(root, parts, strings);
  parts.push(cells([END]));
  const structure = concat(parts);
  const names = strings.bytes();
  const structureAt = HEADER_BYTES + RESERVATION_BYTES;
  const namesAt = structureAt + structure.length;
  // Readers want the whole to be 8-byte aligned data; padding belongs to the total size.
  const total = (namesAt + names.length + 7) & ~7;
  const header = cells([
    MAGIC,
    total,
    structureAt,
    namesAt,
    HEADER_BYTES,
    VERSION,
    LAST_COMPATIBLE,
    0,
    names.length,
    structure.length,
  ]);
  const out = new Uint8Array(total);
  out.set(header);
  out.set(structure, structureAt);
  out.set(names, namesAt);
  return out;
}

/** Names of properties, each stored once. */
class Strings {
  readonly #offsets = new Map<string, number>();
  readonly #parts: Uint8Array[] = [];
  #length = 0;

  offset(name: string): number {
    const known = this.#offsets.get(name);
    if (known !== undefined) return known;
    const offset = this.#length;
    const bytes = utf8(`${name}\0`);
    this.#offsets.set(name, offset);
    this.#parts.push(bytes);
    this.#length += bytes.length;
    return offset;
  }

  bytes(): Uint8Array {
    return concat(this.#parts);
  }
}

function writeNode(node: TreeNode, parts: Uint8Array[], strings: Strings): void {
  assert(node.name === "" || NODE_NAME.test(node.name), `device tree node ${node.name}`);
  parts.push(cells([BEGIN_NODE]), padded(utf8(`${node.name}\0`)));
  for (const [name, value] of Object.entries(node.properties)) {
    assert(PROPERTY_NAME.test(name), `device tree property ${name}`);
    const bytes = valueBytes(value);
    parts.push(cells([PROPERTY, bytes.length, strings.offset(name)]), padded(bytes));
  }
  for (const child of node.children ?? []) {
    assert(child.name !== "", "only the root has no name");
    writeNode(child, parts, strings);
  }
  parts.push(cells([END_NODE]));
}

function valueBytes(value: PropertyValue): Uint8Array {
  if (value === true) return new Uint8Array(0);
  if (value instanceof Uint8Array) return value;
  if (typeof value === "string") return textBytes([value]);
  if (typeof value === "number" || typeof value === "bigint") return cells([value]);
  return isTexts(value) ? textBytes(value) : cells(value);
}

function isTexts(
  value: readonly string[] | readonly (number | bigint)[],
): value is readonly string[] {
  return typeof value[0] === "string";
}

function textBytes(texts: readonly string[]): Uint8Array {
  for (const text of texts) assert(!text.includes("\0"), "a text in a device tree holds a NUL");
  return utf8(texts.map((text) => `${text}\0`).join(""));
}

function padded(bytes: Uint8Array): Uint8Array {
  if (bytes.length % 4 === 0) return bytes;
  const out = new Uint8Array((bytes.length + 3) & ~3);
  out.set(bytes);
  return out;
}
