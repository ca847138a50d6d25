/**
 * The self-signed X.509 v3 certificate that carries a node's key through TLS. It depends on the key
 * alone (Ed25519 signatures are deterministic), so it is made again at each start and never stored.
 * Its validity says nothing: peers pin the key.
 */

import { createPublicKey, type KeyObject, webcrypto } from "node:crypto";
import type { NodeId } from "@blixard/std";
import "./reflect-metadata.ts";

/** PEM text, common name `nodeId`. */
export async function makeCertificate(privateKey: KeyObject, nodeId: NodeId): Promise<string> {
  // Loaded here because it takes over 100 ms and only a starting node needs it.
  const x509 = await import("@peculiar/x509");
  const pkcs8 = privateKey.export({ format: "der", type: "pkcs8" });
  const spki = createPublicKey(privateKey).export({ format: "der", type: "spki" });
  const { subtle } = webcrypto;
  const keys = {
    privateKey: await subtle.importKey("pkcs8", pkcs8, "Ed25519", true, ["sign"]),
    publicKey: await subtle.importKey("spki", spki, "Ed25519", true, ["verify"]),
  };
  const usage = x509.KeyUsageFlags.digitalSignature;
  const certificate = await x509.X509CertificateGenerator.createSelfSigned(
    {
      // A leading 01 keeps the integer positive and its length fixed.
      serialNumber: `01${nodeId.slice(0, 30)}`,
      name: `CN=${nodeId}`,
      notBefore: new Date("1970-01-01T00:00:00Z"),
      // RFC 5280, section 4.1.2.5: no well-defined expiration.
      notAfter: new Date("9999-12-31T23:59:59Z"),
      signingAlgorithm: "Ed25519",
      keys,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(usage, true),
      ],
    },
    webcrypto,
  );
  return certificate.toString("pem");
}
