import assert from "node:assert/strict";
import { generateKeyPairSync, X509Certificate } from "node:crypto";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { as, type PublicKeyHex } from "@blixard/std";
import { createIdentity, loadOrCreateIdentity } from "./identity.ts";
import { nodeIdOf, publicKeyHexOf } from "./public-key.ts";
import { failsWith } from "./test-support.ts";

const folders: string[] = [];

async function folder(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "blixard-identity-"));
  folders.push(dir);
  return dir;
}

after(async () => {
  for (const dir of folders) await rm(dir, { recursive: true });
});

test("a node id is the start of SHA-256 over the raw key", () => {
  // sha256 of 32 zero bytes.
  const zero = as<PublicKeyHex>("00".repeat(32));
  assert.equal(nodeIdOf(zero), "66687aadf862bd776c8fc18b8e9f8e20");
  assert.throws(() => nodeIdOf(as<PublicKeyHex>("00")), /64 hex digits/);
});

test("the first start makes the key, later ones find it", async () => {
  const dir = join(await folder(), "data", "node");
  const first = await loadOrCreateIdentity(dir);
  assert.equal(first.nodeId, nodeIdOf(first.publicKey));
  const file = await stat(join(dir, "node.key"));
  assert.equal(file.mode & 0o777, 0o600);
  assert.equal((await stat(dir)).mode & 0o777, 0o700);
  assert.deepEqual(await readdir(dir), ["node.key"]);
  const again = await loadOrCreateIdentity(dir);
  // All of it, the certificate included: it is a function of the key.
  assert.deepEqual(again, first);
});

test("the certificate is self-signed, named after the node, and of its key", async () => {
  const { certPem, nodeId, publicKey } = await createIdentity();
  const certificate = new X509Certificate(certPem);
  assert.equal(certificate.subject, `CN=${nodeId}`);
  assert.equal(certificate.issuer, certificate.subject);
  assert.equal(certificate.ca, false);
  assert.equal(publicKeyHexOf(certificate.publicKey), publicKey);
  assert.ok(certificate.verify(certificate.publicKey));
  assert.equal(certificate.validToDate.getUTCFullYear(), 9999);
});

test("the certificate of a known key as it has been since version 1", async () => {
  const dir = await folder();
  const testdata = (name: string): Promise<string> =>
    readFile(new URL(`testdata/${name}`, import.meta.url), "utf8");
  await writeFile(join(dir, "node.key"), await testdata("node-key-v1.txt"), { mode: 0o600 });
  const identity = await loadOrCreateIdentity(dir);
  assert.equal(identity.certPem.trim(), (await testdata("certificate-v1.txt")).trim());
});

test("a key file that others can read is refused, and left as it is", async () => {
  const dir = await folder();
  await loadOrCreateIdentity(dir);
  const path = join(dir, "node.key");
  const before = await readFile(path, "utf8");
  for (const mode of [0o640, 0o604, 0o620, 0o601]) {
    await chmod(path, mode);
    const octal = mode.toString(8).padStart(4, "0");
    await assert.rejects(
      loadOrCreateIdentity(dir),
      failsWith("InvalidArgument", new RegExp(`mode ${octal} gives others access`)),
    );
  }
  await chmod(path, 0o400);
  await loadOrCreateIdentity(dir);
  assert.equal(await readFile(path, "utf8"), before);
});

test("a corrupt key file is refused, and left as it is", async () => {
  const dir = await folder();
  const path = join(dir, "node.key");
  const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey;
  const contents: [string, RegExp][] = [
    ["", /Cannot use node key/],
    ["-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", /Cannot use node key/],
    [rsa.export({ format: "pem", type: "pkcs8" }), /type rsa, not ed25519/],
    ["x".repeat(5000), /5000 bytes, at most 4096/],
  ];
  for (const [content, reason] of contents) {
    await writeFile(path, content, { mode: 0o600 });
    await assert.rejects(loadOrCreateIdentity(dir), failsWith("Corrupt", reason));
    assert.equal(await readFile(path, "utf8"), content);
  }
});

test("what is no file is refused; a temporary file of a crash is replaced", async () => {
  const dir = await folder();
  await mkdir(join(dir, "node.key"), { mode: 0o700 });
  await assert.rejects(
    loadOrCreateIdentity(dir),
    failsWith("InvalidArgument", /not a regular file/),
  );
  const other = await folder();
  await writeFile(join(other, "node.key.tmp"), "half a k");
  await loadOrCreateIdentity(other);
  assert.deepEqual(await readdir(other), ["node.key"]);
});

test("a folder that cannot be made is named", async () => {
  const dir = await folder();
  await writeFile(join(dir, "file"), "");
  await assert.rejects(
    loadOrCreateIdentity(join(dir, "file", "sub")),
    failsWith("Internal", /Cannot (read|write) .*node\.key/),
  );
});
