/** Three Debian etcd servers on loopback, as the peer of a benchmark. */

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { credentials, loadPackageDefinition, type ServiceError } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { freePorts, until } from "../e2e/cluster.ts";
import { HttpPoster } from "./http-load.ts";

export interface Etcd {
  readonly version: string;
  /** Client endpoint of the leader, host:port. */
  readonly leader: string;
  close(): Promise<void>;
}

/** Undefined where Debian's `etcd-server` is not installed. */
export function etcdVersion(): string | undefined {
  const { status, stdout } = spawnSync("etcd", ["--version"], { encoding: "utf8" });
  return status === 0 ? /etcd Version: (\S+)/.exec(stdout)?.[1] : undefined;
}

interface StatusReply {
  readonly leader?: string;
  readonly header?: { readonly member_id?: string };
}

export async function startEtcd(version: string): Promise<Etcd> {
  const dir = mkdtempSync(join(tmpdir(), "blx-etcd-"));
  const ports = await freePorts(6);
  const names = ["e1", "e2", "e3"];
  const clientOf = (i: number): string => `127.0.0.1:${ports[i * 2] ?? 0}`;
  const peerOf = (i: number): string => `http://127.0.0.1:${ports[i * 2 + 1] ?? 0}`;
  const cluster = names.map((name, i) => `${name}=${peerOf(i)}`).join(",");
  const children: ChildProcess[] = names.map((name, i) =>
    spawn(
      "etcd",
      [
        ["--name", name, "--data-dir", join(dir, name)],
        [
          "--listen-client-urls",
          `http://${clientOf(i)}`,
          "--advertise-client-urls",
          `http://${clientOf(i)}`,
        ],
        ["--listen-peer-urls", peerOf(i), "--initial-advertise-peer-urls", peerOf(i)],
        ["--initial-cluster", cluster, "--initial-cluster-state", "new", "--logger", "zap"],
        ["--log-level", "error", "--quota-backend-bytes", "4294967296"],
      ].flat(),
      { stdio: "ignore" },
    ),
  );
  const close = async (): Promise<void> => {
    const gone = children.map((child) => new Promise((resolve) => child.once("exit", resolve)));
    for (const child of children) child.kill("SIGKILL");
    await Promise.all(gone);
    await rm(dir, { recursive: true, force: true });
  };
  try {
    const leader = await until("etcd leader", 30_000, async () => {
      for (let i = 0; i < names.length; i++) {
        const response = await fetch(`http://${clientOf(i)}/v3/maintenance/status`, {
          method: "POST",
          body: "{}",
        });
        const status = (await response.json()) as StatusReply; // etcd's own gateway
        if (status.leader !== undefined && status.leader === status.header?.member_id)
          return clientOf(i);
      }
      return undefined;
    });
    return { version, leader, close };
  } catch (caught) {
    await close();
    throw caught;
  }
}

/** One writer a client; resolves when the put is acknowledged. */
export interface Door {
  put(key: string, value: string): Promise<void>;
  /** A linearizable read. */
  get?(key: string): Promise<void>;
  close(): void;
}

interface KvClient {
  put(request: { key: Buffer; value: Buffer }, done: (error: ServiceError | null) => void): void;
  range(request: { key: Buffer }, done: (error: ServiceError | null) => void): void;
  close(): void;
}

export function grpcDoor(endpoint: string): Door {
  const definition = loadSync(join(import.meta.dirname, "etcd.proto"));
  // Safe: the shape is what etcd.proto, loaded on the line above, declares.
  const loaded = loadPackageDefinition(definition) as unknown as {
    etcdserverpb: { KV: new (address: string, creds: unknown) => KvClient };
  };
  const client = new loaded.etcdserverpb.KV(endpoint, credentials.createInsecure());
  return {
    put: (key, value) =>
      new Promise((resolve, reject) => {
        client.put({ key: Buffer.from(key), value: Buffer.from(value) }, (error) => {
          if (error === null) resolve();
          else reject(error);
        });
      }),
    get: (key) =>
      new Promise((resolve, reject) => {
        client.range({ key: Buffer.from(key) }, (error) => {
          if (error === null) resolve();
          else reject(error);
        });
      }),
    close: () => client.close(),
  };
}

export function jsonDoor(endpoint: string): Door {
  const poster = new HttpPoster(endpoint, {});
  const base64 = (text: string): string => Buffer.from(text).toString("base64");
  return {
    put: (key, value) =>
      poster.post("/v3/kv/put", `{"key":"${base64(key)}","value":"${base64(value)}"}`),
    get: (key) => poster.post("/v3/kv/range", `{"key":"${base64(key)}"}`),
    close: () => poster.close(),
  };
}
