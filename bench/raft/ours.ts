/** Three members of examples/kv as processes on loopback: our side of the benchmark. */

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ClusterTuning, type Preset, RaftClient } from "@blixard/raft-node";
import { Buffer } from "node:buffer";
import { freePorts, until } from "../../e2e/cluster.ts";
import { type ClusterConfig, writeConfig } from "../../examples/kv/config.ts";
import { Store } from "../../examples/kv/store.ts";
import type { Door } from "../etcd.ts";

const MAIN = join(import.meta.dirname, "..", "..", "examples", "kv", "main.ts");

export type KvClient = RaftClient<
  Parameters<Store["apply"]>[0],
  boolean,
  string,
  Uint8Array | undefined
>;

export interface Ours {
  readonly dir: string;
  readonly config: ClusterConfig;
  readonly members: Map<number, ChildProcess>;
  /** Starts a member that was killed. */
  start(id: number): void;
  /** A client of one member's door, or of all in turn. */
  client(...ids: readonly number[]): KvClient;
  /** The member that leads now. */
  leader(): Promise<number>;
  close(): Promise<void>;
}

export interface OursOptions {
  readonly preset?: Preset;
  readonly tune?: Partial<ClusterTuning>;
  /** Flags of node for each member, such as --cpu-prof. */
  readonly nodeFlags?: readonly string[];
  /** Default: examples/kv. */
  readonly program?: string;
  /** The ports that members tell each other, by id from 1, when not those they listen on. */
  readonly advertised?: readonly number[];
  /** Ports to listen on: peers and door of each member in turn. */
  readonly ports?: readonly number[];
  /** The program is no member: nobody waits for a leader. */
  readonly isBare?: boolean;
  readonly env?: Readonly<Record<string, string>>;
}

export async function startOurs(options: OursOptions = {}): Promise<Ours> {
  const { nodeFlags = [], program = MAIN, preset = "production", tune = {} } = options;
  const dir = mkdtempSync(join(tmpdir(), "blx-raft-"));
  const ports = options.ports ?? (await freePorts(6));
  const pairs = [0, 2, 4].map((i) => [ports[i] ?? 0, ports[i + 1] ?? 0] as const);
  const file = join(dir, "cluster.json");
  const config = await writeConfig(file, pairs, {
    preset,
    tune,
    ...(options.advertised === undefined ? {} : { advertised: options.advertised }),
  });
  const members = new Map<number, ChildProcess>();
  const start = (id: number): void => {
    const args = [...nodeFlags, "--conditions=source", program, "member", file, String(id)];
    const stdio = ["ignore", "ignore", "inherit"] as const;
    const env = { ...process.env, ...options.env };
    members.set(id, spawn(process.execPath, args, { stdio: [...stdio], env }));
  };
  for (const { id } of config.members) start(id);
  const client = (...ids: readonly number[]): KvClient => {
    const chosen = config.members.filter(({ id }) => ids.length === 0 || ids.includes(id));
    const endpoints = chosen.map(({ door }) => door);
    return new RaftClient({ endpoints, token: config.token, machine: new Store() });
  };
  const close = async (): Promise<void> => {
    const gone = [...members.values()]
      .filter((child) => child.exitCode === null && child.signalCode === null)
      .map((child) => new Promise((resolve) => child.once("exit", resolve)));
    // Profiles are written at a regular end only.
    const signal = nodeFlags.length > 0 ? "SIGTERM" : "SIGKILL";
    for (const child of members.values()) {
      child.kill("SIGCONT");
      child.kill(signal);
    }
    await Promise.all(gone);
    await rm(dir, { recursive: true, force: true });
  };
  const leader = (): Promise<number> => findLeader(config, client);
  try {
    if (options.isBare !== true) await leader();
  } catch (caught) {
    await close();
    throw caught;
  }
  return { dir, config, members, start, client, leader, close };
}

async function findLeader(
  { members }: ClusterConfig,
  client: (id: number) => KvClient,
): Promise<number> {
  const clients = members.map(({ id }) => ({ id, kv: client(id) }));
  try {
    return await until("leader of ours", 30_000, async () => {
      for (const { id, kv } of clients) {
        const status = await kv.status({ timeoutMs: 500 });
        if (status.ok && status.value.includes('"role":"leader"')) return id;
      }
      return undefined;
    });
  } finally {
    for (const { kv } of clients) kv.close();
  }
}

export function ourDoor(kv: KvClient): Door {
  return {
    put: async (key, value) => {
      const result = await kv.propose({ op: "put", key, value: Buffer.from(value) });
      if (!result.ok) throw new Error(JSON.stringify(result.error));
    },
    get: async (key) => {
      const result = await kv.query(key);
      if (!result.ok) throw new Error(JSON.stringify(result.error));
    },
    close: () => kv.close(),
  };
}
