/** `cluster.json`: who the members are. Written by `init`, read by members and clients. */

import { randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

import { loadOrCreateIdentity } from "@blixard/net";
import type { ClusterTuning, Preset } from "@blixard/raft-node";

export interface MemberConfig {
  readonly id: number;
  readonly nodeId: string;
  readonly publicKey: string;
  /** Where members reach it: host:port, TLS with the keys above. */
  readonly peers: string;
  /** Where it listens for them, when that is not where they reach it. */
  readonly listen?: string;
  /** Where clients reach it; loopback, so without TLS. */
  readonly door: string;
}

export interface ClusterConfig {
  readonly token: string;
  readonly preset: Preset;
  readonly tune: Partial<ClusterTuning>;
  readonly members: readonly MemberConfig[];
}

export const dirOf = (file: string, id: number): string => join(dirname(file), `member-${id}`);

export function readConfig(file: string): ClusterConfig {
  // Safe enough for an example: `init` wrote it.
  return JSON.parse(readFileSync(file, "utf8")) as ClusterConfig;
}

/** Makes keys and `cluster.json` for one member for each pair of ports (peers, door). */
export async function writeConfig(
  file: string,
  ports: readonly (readonly [number, number])[],
  {
    advertised = [],
    ...settings
  }: Partial<Pick<ClusterConfig, "preset" | "tune">> & { advertised?: readonly number[] } = {},
): Promise<ClusterConfig> {
  const members: MemberConfig[] = [];
  for (const [i, [peers, door]] of ports.entries()) {
    mkdirSync(dirOf(file, i + 1), { recursive: true });
    const { nodeId, publicKey } = await loadOrCreateIdentity(dirOf(file, i + 1));
    const at = { peers: `127.0.0.1:${advertised[i] ?? peers}`, door: `127.0.0.1:${door}` };
    const listen = advertised[i] === undefined ? {} : { listen: `127.0.0.1:${peers}` };
    members.push({ id: i + 1, nodeId, publicKey, ...at, ...listen });
  }
  const token = randomBytes(24).toString("base64url");
  const config: ClusterConfig = { token, preset: "production", tune: {}, members, ...settings };
  writeFileSync(file, JSON.stringify(config, null, 2), { mode: 0o600 });
  return config;
}
