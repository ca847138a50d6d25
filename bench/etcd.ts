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
  /** Client endpoint of the leader at the start, host:port. */
  readonly leader: string;
  /** Client endpoints, host:port, by member from 0. */
  readonly clients: readonly string[];
  /** Ports on which members listen for each other. */
  readonly peerPorts: readonly number[];
  readonly members: ChildProcess[];
  /** Starts a member that was killed. */
  restart(member: number): void;
  /** The member that leads now. */
  findLeader(): Promise<number>;
  close(): Promise<void>;
}

export interface EtcdOptions {
  /** The ports that members tell each other, when not those they listen on. */
  readonly advertised?: readonly number[];
  /** Ports to listen on: client and peer of each member in turn. */
  readonly ports?: readonly number[];
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

export async function startEtcd(version: string, options: EtcdOptions = {}): Promise<Etcd> {
  const dir = mkdtempSync(join(tmpdir(), "blx-etcd-"));
  const ports = options.ports ?? (await freePorts(6));
  const names = ["e1", "e2", "e3"];
  const clients = names.map((_, i) => `127.0.0.1:${ports[i * 2] ?? 0}`);
  const peerPorts = names.map((_, i) => ports[i * 2 + 1] ?? 0);
  const told = names.map((_, i) => `http://127.0.0.1:${(options.advertised ?? peerPorts)[i] ?? 0}`);
  const cluster = names.map((name, i) => `${name}=${told[i]}`).join(",");
  const spawnMember = (i: number): ChildProcess =>
    spawn(
      "etcd",
      [
        ["--name", names[i] ?? "", "--data-dir", join(dir, names[i] ?? "")],
        ["--listen-client-urls", `http://${clients[i]}`],
        ["--advertise-client-urls", `http://${clients[i]}`],
        ["--listen-peer-urls", `http://127.0.0.1:${peerPorts[i]}`],
        ["--initial-advertise-peer-urls", told[i] ?? ""],
        ["--initial-cluster", cluster, "--initial-cluster-state", "new", "--logger", "zap"],
        ["--log-level", "error", "--quota-backend-bytes", "4294967296"],
      ].flat(),
      { stdio: "ignore" },
    );
  const members = names.map((_, i) => spawnMember(i));
  const close = async (): Promise<void> => {
    const alive = members.filter(
      ({ exitCode, signalCode }) => exitCode === null && signalCode === null,
    );
    const gone = alive.map((child) => new Promise((resolve) => child.once("exit", resolve)));
    for (const child of alive) child.kill("SIGKILL");
    await Promise.all(gone);
    await rm(dir, { recursive: true, force: true });
  };
  const findLeader = (): Promise<number> =>
    until("etcd leader", 30_000, async () => {
      for (const [i, client] of clients.entries()) {
        const response = await fetch(`http://${client}/v3/maintenance/status`, {
          method: "POST",
          body: "{}",
          signal: AbortSignal.timeout(1000),
        }).catch((caught: unknown) => caught);
        if (!(response instanceof Response)) continue;
        const status = (await response.json()) as StatusReply; // etcd's own gateway
        if (status.leader !== undefined && status.leader === status.header?.member_id) return i;
      }
      return undefined;
    });
  const restart = (i: number): void => {
    members[i] = spawnMember(i);
  };
  try {
    const leader = clients[await findLeader()] ?? "";
    return { version, leader, clients, peerPorts, members, restart, findLeader, close };
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
