/** Reads a flattened device tree back, written from the specification and not from the writer. */

import { utf8Text } from "@blixard/std";

export interface ReadNode {
  readonly name: string;
  readonly properties: ReadonlyMap<string, Uint8Array>;
  readonly children: readonly ReadNode[];
}

/** Throws on anything that section 5 of the specification forbids. */
export function readTree(bytes: Uint8Array): ReadNode {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const word = (at: number): number => view.getUint32(at);
  const expect = (condition: boolean, what: string): void => {
    if (!condition) throw new Error(`device tree: ${what}`);
  };
  expect(word(0) === 0xd00dfeed, "magic");
  expect(word(4) === bytes.length, "total size");
  expect(word(20) === 17 && word(24) === 16, "version");
  const [structure, strings, reservations] = [word(8), word(12), word(16)];
  expect(structure % 4 === 0 && reservations % 8 === 0, "alignment");
  expect(view.getBigUint64(reservations) === 0n, "no reservations");
  expect(strings + word(32) <= bytes.length && structure + word(36) <= strings, "blocks");
  const textAt = (at: number): string => utf8Text(bytes.subarray(at, bytes.indexOf(0, at)));
  let at = structure;
  const next = (): number => {
    at += 4;
    return word(at - 4);
  };
  const node = (): ReadNode => {
    const name = textAt(at);
    at = (at + name.length + 1 + 3) & ~3;
    const properties = new Map<string, Uint8Array>();
    const children: ReadNode[] = [];
    for (;;) {
      const token = next();
      if (token === 2) return { name, properties, children };
      if (token === 1) children.push(node());
      else {
        expect(token === 3 && children.length === 0, `token ${token}`);
        const length = next();
        const key = textAt(strings + next());
        expect(!properties.has(key), `${key} twice`);
        properties.set(key, bytes.slice(at, at + length));
        at = (at + length + 3) & ~3;
      }
    }
  };
  expect(next() === 1, "root");
  const root = node();
  expect(next() === 9 && at === structure + word(36), "end");
  return root;
}

export function nodeAt(root: ReadNode, path: string): ReadNode {
  let node = root;
  for (const part of path.split("/").filter((name) => name !== "")) {
    const child = node.children.find(({ name }) => name === part);
    if (child === undefined) throw new Error(`no node ${part} in ${node.name}`);
    node = child;
  }
  return node;
}

export function cellsOf(node: ReadNode, property: string): number[] {
  const bytes = node.properties.get(property);
  if (bytes === undefined) throw new Error(`no ${property} in ${node.name}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length: bytes.length / 4 }, (_, i) => view.getUint32(4 * i));
}

export function textsOf(node: ReadNode, property: string): string[] {
  const bytes = node.properties.get(property);
  if (bytes === undefined) throw new Error(`no ${property} in ${node.name}`);
  return utf8Text(bytes).split("\0").slice(0, -1);
}
