/**
 * A node's identity: one Ed25519 key, made on first start and kept in `node.key` (PKCS #8 PEM, mode
 * 0600). Node id, certificate and every peer's trust follow from it; losing the file means becoming
 * a new node.
 */

import { createPrivateKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { join } from "node:path";
import { fail, type NodeId, type PublicKeyHex } from "@blixard/std";
import { makeCertificate } from "./certificate.ts";
import { readPrivateFile, writePrivateFile } from "./os/private-file.ts";
import { nodeIdOf, publicKeyHexOf } from "./public-key.ts";

export interface Identity {
  readonly nodeId: NodeId;
  readonly publicKey: PublicKeyHex;
  readonly certPem: string;
  readonly keyPem: string;
}

const KEY_FILE = "node.key";
const MAX_KEY_FILE_BYTES = 4096;

/**
 * Reads `node.key` in `dir`; undefined when there is none. Fails as `loadOrCreateIdentity` does.
 */
export async function loadIdentity(dir: string): Promise<Identity | undefined> {
  const path = join(dir, KEY_FILE);
  const existing = await readPrivateFile(path, MAX_KEY_FILE_BYTES);
  return existing === undefined ? undefined : await identityOf(parseKey(existing, path));
}

/**
 * Reads `node.key` in `dir`, or makes it (and `dir`) when there is none. Fails with InvalidArgument
 * when others can read the file and with Corrupt when it holds no Ed25519 key; never replaces an
 * existing file.
 */
export async function loadOrCreateIdentity(dir: string): Promise<Identity> {
  const existing = await loadIdentity(dir);
  if (existing !== undefined) return existing;
  const { privateKey } = generateKeyPairSync("ed25519");
  await writePrivateFile(join(dir, KEY_FILE), privateKey.export({ format: "pem", type: "pkcs8" }));
  return identityOf(privateKey);
}

/** An identity that lives in memory only: tests, and tools that join for a moment. */
export async function createIdentity(): Promise<Identity> {
  return identityOf(generateKeyPairSync("ed25519").privateKey);
}

async function identityOf(key: KeyObject): Promise<Identity> {
  const publicKey = publicKeyHexOf(key);
  if (publicKey === undefined) return corrupt("the key", "it is not Ed25519");
  const nodeId = nodeIdOf(publicKey);
  const keyPem = key.export({ format: "pem", type: "pkcs8" });
  return { nodeId, publicKey, certPem: await makeCertificate(key, nodeId), keyPem };
}

function parseKey(pem: string, path: string): KeyObject {
  let key: KeyObject;
  try {
    key = createPrivateKey({ key: pem, format: "pem", type: "pkcs8" });
  } catch (caught) {
    return corrupt(path, caught instanceof Error ? caught.message : String(caught));
  }
  if (key.asymmetricKeyType !== "ed25519") {
    return corrupt(path, `it holds a key of type ${key.asymmetricKeyType}, not ed25519`);
  }
  return key;
}

function corrupt(where: string, why: string): never {
  return fail(
    "Corrupt",
    { what: "node key", where },
    `Cannot use node key ${where}: ${why}.`,
    "Restore the file from a backup. Moving it away makes this machine a new node, " +
      "which must join again (`blixard cluster join`).",
  );
}
