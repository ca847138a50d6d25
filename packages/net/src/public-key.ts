/** Raw Ed25519 public keys and the node ids derived from them. */

import { createHash, createPublicKey, type KeyObject } from "node:crypto";
import { as, assert, fromHex, type NodeId, present, type PublicKeyHex } from "@blixard/std";

/** SubjectPublicKeyInfo of an Ed25519 key is these bytes and the raw key (RFC 8410, section 4). */
const SPKI_PREFIX = Buffer.from("302a300506032b6570032100", "hex");
const RAW_BYTES = 32;

/** First 32 hex digits of SHA-256 over the raw 32-byte key. */
export function nodeIdOf(publicKey: PublicKeyHex): NodeId {
  const raw = fromHex(publicKey);
  assert(raw?.length === RAW_BYTES, "a public key is 64 hex digits");
  return as<NodeId>(createHash("sha256").update(present(raw, "key")).digest("hex").slice(0, 32));
}

/** Undefined for a key that is not Ed25519. */
export function publicKeyHexOf(key: KeyObject): PublicKeyHex | undefined {
  if (key.asymmetricKeyType !== "ed25519") return undefined;
  const publicKey = key.type === "private" ? createPublicKey(key) : key;
  const spki = publicKey.export({ format: "der", type: "spki" });
  if (spki.length !== SPKI_PREFIX.length + RAW_BYTES) return undefined;
  if (!spki.subarray(0, SPKI_PREFIX.length).equals(SPKI_PREFIX)) return undefined;
  return as<PublicKeyHex>(spki.subarray(SPKI_PREFIX.length).toString("hex"));
}
