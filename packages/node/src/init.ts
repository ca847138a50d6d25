/** How a node comes to be: it begins a cluster, or it is admitted to one by a ticket. */

import { createHash, randomBytes } from "node:crypto";
import { mkdir, readdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { replaceFile } from "@blixard/host";
import { createTlsTransport, type Identity, loadOrCreateIdentity, parseTicket } from "@blixard/net";
import type { NodeId, PeerId, PublicKeyHex } from "@blixard/std";
import { as, BlixardError, fail, utf8, utf8Text } from "@blixard/std";
import { z } from "zod";
import {
  checkNodeConfig,
  type ClusterFile,
  type NodeConfig,
  readClusterFile,
  writeClusterFile,
  writeNodeConfig,
} from "./config.ts";
import { JOIN_TIMEOUT_MS } from "./limits.ts";

export interface InitOptions {
  readonly dataDir: string;
  readonly name: string;
  /** host:port for node-to-node traffic. */
  readonly listen: string;
  /** host:port of the HTTP API. */
  readonly api: string;
  readonly drivers: readonly string[];
  readonly images?: string;
}

export interface InitResult {
  readonly nodeId: NodeId;
  readonly clusterId: string;
  /** API token of this node; also in <dataDir>/api.token. */
  readonly token: string;
  readonly dataDir: string;
}

const sha256 = (data: Uint8Array | string): string =>
  createHash("sha256").update(data).digest("hex");

/** Paths that are stored must mean the same wherever the daemon is started. */
function absolute<Options extends InitOptions>(options: Options): Options {
  const { images } = options;
  const dataDir = resolve(options.dataDir);
  return { ...options, dataDir, ...(images === undefined ? {} : { images: resolve(images) }) };
}

async function prepare(options: InitOptions): Promise<{ config: NodeConfig; identity: Identity }> {
  const config = checkNodeConfig({
    format: 1,
    name: options.name,
    listen: options.listen,
    api: options.api,
    drivers: [...options.drivers],
    ...(options.images === undefined ? {} : { images: options.images }),
  });
  await mkdir(options.dataDir, { recursive: true, mode: 0o700 });
  if ((await readClusterFile(options.dataDir)) !== undefined) {
    fail(
      "AlreadyExists",
      { kind: "node", name: options.dataDir },
      `A node already lives in ${options.dataDir}`,
      "run `blixard node start`, or choose another folder with --data",
    );
  }
  const names = await readdir(options.dataDir);
  if (names.includes("raft")) {
    fail(
      "Conflict",
      { reason: "a log without its cluster file" },
      `${options.dataDir} holds a log but no cluster.json`,
      "restore cluster.json from a backup, or choose another folder with --data",
    );
  }
  return { config, identity: await loadOrCreateIdentity(options.dataDir) };
}

/** cluster.json is written last: a crash before it leaves a folder that can be initialised again. */
async function finish(
  options: InitOptions,
  config: NodeConfig,
  cluster: Omit<ClusterFile, "tokenHashes">,
): Promise<InitResult> {
  const token = randomBytes(32).toString("base64url");
  await writeNodeConfig(options.dataDir, config);
  await replaceFile(join(options.dataDir, "api.token"), `${token}\n`, 0o600);
  const endpoint = `http://${config.api}`;
  const socket = join(options.dataDir, "api.sock");
  await replaceFile(
    join(options.dataDir, "api.json"),
    `${JSON.stringify({ endpoint, socket }, null, 2)}\n`,
    0o600,
  );
  await writeClusterFile(options.dataDir, { ...cluster, tokenHashes: [sha256(token)] });
  return {
    nodeId: cluster.nodeId,
    clusterId: cluster.clusterId,
    token,
    dataDir: options.dataDir,
  };
}

/** Makes the first node of a new cluster. Fails with AlreadyExists where a node lives. */
export async function initNode(given: InitOptions): Promise<InitResult> {
  const options = absolute(given);
  const { config, identity } = await prepare(options);
  return await finish(options, config, {
    clusterId: randomBytes(16).toString("hex"),
    nodeId: identity.nodeId,
    peerId: as<PeerId>(1),
    bootstrap: true,
    peers: [],
  });
}

export const JoinRequest = z.strictObject({
  format: z.literal(1),
  clusterId: z.string().length(32),
  secret: z.string().regex(/^[0-9a-f]{64}$/),
  name: z.string().min(1).max(63),
  address: z.string().min(3).max(255),
});
export type JoinRequest = z.infer<typeof JoinRequest>;

const JoinReply = z.strictObject({
  format: z.literal(1),
  peerId: z.int().min(1),
  peers: z.array(
    z.strictObject({
      peerId: z.int().min(1),
      nodeId: z.string(),
      publicKey: z.string(),
      address: z.string(),
    }),
  ),
});
export type JoinReply = z.infer<typeof JoinReply>;

/** Asks the ticket's servers, one after the other, for admission, and writes the node's folder. */
export async function joinCluster(given: InitOptions & { ticket: string }): Promise<InitResult> {
  const options = absolute(given);
  const ticket = parseTicket(options.ticket);
  const { config, identity } = await prepare(options);
  const request: JoinRequest = {
    format: 1,
    clusterId: ticket.clusterId,
    secret: Buffer.from(ticket.secret).toString("hex"),
    name: config.name,
    address: config.listen,
  };
  const reply = await askServers(identity, ticket.servers, request);
  return await finish(options, config, {
    clusterId: ticket.clusterId,
    nodeId: identity.nodeId,
    peerId: as<PeerId>(reply.peerId),
    bootstrap: false,
    // Safe: the server is pinned by the ticket and the file's schema checks each form when it is read.
    peers: reply.peers as unknown as ClusterFile["peers"],
  });
}

async function askServers(
  identity: Identity,
  servers: readonly { address: string; publicKey: PublicKeyHex }[],
  request: JoinRequest,
): Promise<JoinReply> {
  const transport = createTlsTransport({ identity, listen: { host: "127.0.0.1", port: 0 } });
  let last: unknown;
  try {
    for (const server of servers) {
      try {
        const body = utf8(JSON.stringify(request));
        const answer = await transport.join(server, body, { timeoutMs: JOIN_TIMEOUT_MS });
        return JoinReply.parse(JSON.parse(utf8Text(answer)));
      } catch (caught) {
        last = caught;
        // Only a server that cannot be reached or has no leader leaves the question open for the next.
        const open = caught instanceof BlixardError && caught.httpStatus >= 500;
        if (!open) break;
      }
    }
  } finally {
    await transport.close();
  }
  if (last instanceof BlixardError) throw last;
  return fail(
    "Unavailable",
    { reason: "join" },
    `Could not join the cluster: ${last instanceof Error ? last.message : "no server in the ticket"}`,
    "make a new ticket with `blixard cluster ticket` on a running node",
  );
}
