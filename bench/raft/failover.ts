/** From a fault of the leader to the first acknowledged write that was sent after it, for both sides. */

import { freePorts, until } from "../../e2e/cluster.ts";
import { type Door, type Etcd, grpcDoor, startEtcd } from "../etcd.ts";
import { median, nextKey, round, VALUE } from "./load.ts";
import { type Ours, ourDoor, startOurs } from "./ours.ts";
import { PeerProxies } from "./proxy.ts";

export type Fault = "kill" | "stop" | "cut";
const PROBE_EVERY_MS = 10;
const GIVE_UP_MS = 20_000;

/** Three members of either side, by number from 0. */
export interface Group {
  readonly doors: readonly Door[];
  leader(): Promise<number>;
  pid(member: number): number;
  restart(member: number): void;
  /** Port on which the member really listens for its peers. */
  peerPort(member: number): number;
  readonly proxies: PeerProxies;
  close(): Promise<void>;
}

async function withProxies(): Promise<{
  proxies: PeerProxies;
  ports: number[];
  advertised: number[];
  listen: (peerPorts: readonly number[]) => Promise<void>;
}> {
  const all = await freePorts(9);
  const [ports, advertised] = [all.slice(0, 6), all.slice(6)];
  const proxies = new PeerProxies();
  const listen = async (peerPorts: readonly number[]): Promise<void> => {
    for (const [i, port] of advertised.entries()) await proxies.add(port, peerPorts[i] ?? 0);
  };
  return { proxies, ports, advertised, listen };
}

export async function etcdGroup(version: string): Promise<Group> {
  const { proxies, ports, advertised, listen } = await withProxies();
  const peerPorts = [1, 3, 5].map((i) => ports[i] ?? 0);
  await listen(peerPorts);
  const etcd: Etcd = await startEtcd(version, { ports, advertised });
  const doors = etcd.clients.map((client) => grpcDoor(client));
  return {
    doors,
    leader: () => etcd.findLeader(),
    pid: (member) => etcd.members[member]?.pid ?? 0,
    restart: (member) => etcd.restart(member),
    peerPort: (member) => peerPorts[member] ?? 0,
    proxies,
    close: async () => {
      for (const door of doors) door.close();
      await etcd.close();
      proxies.close();
    },
  };
}

/** `isEqual`: with etcd's own timeouts, else with our defaults. */
export async function ourGroup(isEqual: boolean): Promise<Group> {
  const { proxies, ports, advertised, listen } = await withProxies();
  const peerPorts = [0, 2, 4].map((i) => ports[i] ?? 0);
  await listen(peerPorts);
  const tune = isEqual ? { tickMs: 100, electionTicks: 10, heartbeatTicks: 1 } : {};
  const ours: Ours = await startOurs({ ports, advertised, tune });
  const doors = [1, 2, 3].map((id) => ourDoor(ours.client(id)));
  return {
    doors,
    leader: async () => (await ours.leader()) - 1,
    pid: (member) => ours.members.get(member + 1)?.pid ?? 0,
    restart: (member) => ours.start(member + 1),
    peerPort: (member) => peerPorts[member] ?? 0,
    proxies,
    close: async () => {
      for (const door of doors) door.close();
      await ours.close();
      proxies.close();
    },
  };
}

/** Writes go through every member. */
async function settled(group: Group): Promise<void> {
  for (const door of group.doors) {
    await until("a write through each member", 60_000, async () => {
      await within(door.put(nextKey(), VALUE), 2_000);
      return true;
    });
  }
}

function within<T>(promise: Promise<T>, timeoutMs: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("late")), timeoutMs);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** One fault; milliseconds until a survivor acknowledged a write sent after it. */
async function trial(group: Group, fault: Fault): Promise<number> {
  await settled(group);
  const leader = await group.leader();
  const pid = group.pid(leader);
  const survivors = group.doors.filter((_, member) => member !== leader);
  // At another phase of the heartbeats each time.
  await new Promise((resolve) => setTimeout(resolve, Math.random() * 200));
  const faultAt = performance.now();
  if (fault === "cut") group.proxies.cut(pid, group.peerPort(leader));
  else process.kill(pid, fault === "kill" ? "SIGKILL" : "SIGSTOP");
  const tookMs = await firstWrite(survivors, faultAt);
  if (fault === "cut") group.proxies.heal();
  else if (fault === "stop") process.kill(pid, "SIGCONT");
  else group.restart(leader);
  return tookMs;
}

function firstWrite(doors: readonly Door[], sinceMs: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = (): void => {
      if (performance.now() - sinceMs > GIVE_UP_MS) {
        clearInterval(timer);
        reject(new Error(`no write within ${GIVE_UP_MS} ms`));
        return;
      }
      for (const door of doors) {
        door.put(nextKey(), VALUE).then(
          () => {
            clearInterval(timer);
            resolve(performance.now() - sinceMs);
          },
          // Refused or lost meanwhile: the next probe follows anyway.
          () => undefined,
        );
      }
    };
    const timer = setInterval(probe, PROBE_EVERY_MS);
    probe();
  });
}

export async function failover(group: Group, fault: Fault, count: number): Promise<number[]> {
  const took: number[] = [];
  for (let i = 0; i < count; i++) took.push(round(await trial(group, fault)));
  return took;
}

export function spread(took: readonly number[]): {
  medianMs: number;
  minMs: number;
  maxMs: number;
} {
  return { medianMs: round(median(took)), minMs: Math.min(...took), maxMs: Math.max(...took) };
}
