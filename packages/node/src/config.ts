/**
 * A node's two configuration files in its data folder:
 *   node.toml     what a person may edit: name, addresses, drivers, capacity
 *   cluster.json  what the node must remember: cluster id, peer id, how it began, last known members
 */

import { join } from "node:path";
import { readTextFile, replaceFile } from "@blixard/host";
import type { NodeId, PeerId, PublicKeyHex } from "@blixard/std";
import { fail } from "@blixard/std";
import { parse, stringify } from "smol-toml";
import { z } from "zod";

const HostPort = z
  .string()
  .regex(/^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):\d{1,5}$/, 'expected "host:port"')
  .refine((text) => Number(text.slice(text.lastIndexOf(":") + 1)) <= 65535, "port above 65535");

const NodeToml = z.strictObject({
  format: z.literal(1),
  name: z.string().regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, "expected a DNS label"),
  /** Node-to-node traffic. */
  listen: HostPort,
  /** HTTP API; loopback unless told otherwise. */
  api: HostPort,
  drivers: z.array(z.string().min(1).max(64)).min(1).max(16),
  /** Folder of guest images; the default is the user's cache. */
  images: z.string().min(1).max(4096).optional(),
  capacity: z
    .strictObject({
      vcpus: z.int().min(0).max(65_536).optional(),
      memoryBytes: z.int().min(0).optional(),
      diskBytes: z.int().min(0).optional(),
    })
    .optional(),
  /** What VMs may use at most; the embedded driver alone keeps to it. */
  limits: z
    .strictObject({
      /** The share of a core that each VM may use, in thousandths. */
      vmCpuMillicores: z.int().min(10).max(64_000).optional(),
    })
    .optional(),
  labels: z.record(z.string().min(1).max(63), z.string().max(255)).optional(),
});
export type NodeConfig = z.infer<typeof NodeToml>;

const Hex = (digits: number) => z.string().regex(new RegExp(`^[0-9a-f]{${digits}}$`));
const ClusterJson = z.strictObject({
  magic: z.literal("blixard-cluster"),
  format: z.literal(1),
  clusterId: Hex(32),
  nodeId: Hex(32),
  peerId: z.int().min(1),
  /** True for the node that began the cluster: it alone may write the first membership. */
  bootstrap: z.boolean(),
  /** SHA-256 of the API tokens that this node accepts. */
  tokenHashes: z.array(Hex(64)),
  /** Last known members: where a node that has nothing yet finds the others. Keys, not trust in addresses. */
  peers: z.array(
    z.strictObject({
      peerId: z.int().min(1),
      nodeId: Hex(32),
      publicKey: Hex(64),
      address: HostPort,
    }),
  ),
});
type ClusterJsonShape = z.infer<typeof ClusterJson>;

export interface PeerHint {
  readonly peerId: PeerId;
  readonly nodeId: NodeId;
  readonly publicKey: PublicKeyHex;
  readonly address: string;
}
export interface ClusterFile {
  readonly clusterId: string;
  readonly nodeId: NodeId;
  readonly peerId: PeerId;
  readonly bootstrap: boolean;
  readonly tokenHashes: readonly string[];
  readonly peers: readonly PeerHint[];
}

function firstIssue(error: z.ZodError): string {
  const issue = error.issues[0];
  if (issue === undefined) return "invalid";
  return `${issue.path.join(".") || "file"}: ${issue.message}`;
}

function corrupt(path: string, reason: string): never {
  return fail(
    "Corrupt",
    { what: "configuration", where: path },
    `Cannot read ${path}: ${reason}`,
    "mend the file by hand, or restore it from a backup; nothing was changed",
  );
}

function notInitialised(dataDir: string): never {
  return fail(
    "NotFound",
    { kind: "node", name: dataDir },
    `No node lives in ${dataDir}`,
    "run `blixard node init` or `blixard cluster join TICKET` first",
  );
}

export async function readNodeConfig(dataDir: string): Promise<NodeConfig> {
  const path = join(dataDir, "node.toml");
  const text = await readTextFile(path);
  if (text === undefined) return notInitialised(dataDir);
  let raw: unknown;
  try {
    raw = parse(text);
  } catch (caught) {
    return corrupt(path, caught instanceof Error ? caught.message : String(caught));
  }
  const parsed = NodeToml.safeParse(raw);
  return parsed.success ? parsed.data : corrupt(path, firstIssue(parsed.error));
}

/** Validates what a command line gave before anything is written. */
export function checkNodeConfig(config: NodeConfig): NodeConfig {
  const parsed = NodeToml.safeParse(config);
  if (parsed.success) return parsed.data;
  const field = String(parsed.error.issues[0]?.path[0] ?? "config");
  return fail(
    "InvalidArgument",
    { field, reason: firstIssue(parsed.error) },
    `Cannot use this node configuration: ${firstIssue(parsed.error)}`,
  );
}

export async function writeNodeConfig(dataDir: string, config: NodeConfig): Promise<void> {
  await replaceFile(join(dataDir, "node.toml"), `${stringify(config)}\n`, 0o600);
}

export async function readClusterFile(dataDir: string): Promise<ClusterFile | undefined> {
  const path = join(dataDir, "cluster.json");
  const text = await readTextFile(path);
  if (text === undefined) return undefined;
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch (caught) {
    return corrupt(path, caught instanceof Error ? caught.message : String(caught));
  }
  const parsed = ClusterJson.safeParse(raw);
  if (!parsed.success) return corrupt(path, firstIssue(parsed.error));
  const { magic: _magic, format: _format, ...file } = parsed.data;
  // Safe: the schema checked each id's form, which is all that the brands promise.
  return file as unknown as ClusterFile;
}

export async function requireClusterFile(dataDir: string): Promise<ClusterFile> {
  return (await readClusterFile(dataDir)) ?? notInitialised(dataDir);
}

export async function writeClusterFile(dataDir: string, file: ClusterFile): Promise<void> {
  const stored: ClusterJsonShape = {
    magic: "blixard-cluster",
    format: 1,
    clusterId: file.clusterId,
    nodeId: file.nodeId,
    peerId: file.peerId,
    bootstrap: file.bootstrap,
    tokenHashes: [...file.tokenHashes],
    peers: file.peers.map((peer) => ({ ...peer })),
  };
  await replaceFile(join(dataDir, "cluster.json"), `${JSON.stringify(stored, null, 2)}\n`, 0o600);
}
