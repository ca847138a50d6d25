/** `raftCluster()`: says in one expression what a member is, checks it, and starts it. */

import { as, fail } from "@blixard/std";
import type { PeerId } from "@blixard/std";

import { readBackup } from "../os/backup.ts";
import { systemPorts } from "../os/system.ts";
import type { Member } from "../types.ts";
import { RaftCluster } from "./cluster.ts";
import { clusterTuning } from "./options.ts";
import type { ClusterTuning, Preset } from "./options.ts";
import type { ClusterEvents, ClusterMachine, ClusterPorts, ClusterTransport } from "./types.ts";

const NO_CONTEXT = new Uint8Array(0);

/** Begins the description of a member whose state machine is `machine`. */
export function raftCluster<Command, Response, Query, Answer>(
  machine: ClusterMachine<Command, Response, Query, Answer>,
): RaftClusterBuilder<Command, Response, Query, Answer> {
  return new RaftClusterBuilder(machine);
}

export class RaftClusterBuilder<Command, Response, Query, Answer> {
  readonly #machine: ClusterMachine<Command, Response, Query, Answer>;
  readonly #listeners: ((cluster: RaftCluster<Command, Response, Query, Answer>) => void)[] = [];
  #preset: Preset = "production";
  #tuning: Partial<ClusterTuning> = {};
  #id: number | undefined;
  #dir: string | undefined;
  #transport: ClusterTransport | undefined;
  #founders: readonly Member[] | undefined;
  #backup: string | undefined;
  #ports: ClusterPorts = systemPorts;

  constructor(machine: ClusterMachine<Command, Response, Query, Answer>) {
    this.#machine = machine;
  }

  /** Default "production". */
  preset(preset: Preset): this {
    this.#preset = preset;
    return this;
  }

  /** Replaces single values of the preset. */
  tune(overrides: Partial<ClusterTuning>): this {
    this.#tuning = { ...this.#tuning, ...overrides };
    return this;
  }

  /** This member's id: a positive integer, never used again for another. */
  id(id: number): this {
    this.#id = id;
    return this;
  }

  /** Where log and snapshots are kept. */
  dir(dir: string): this {
    this.#dir = dir;
    return this;
  }

  transport(transport: ClusterTransport): this {
    this.#transport = transport;
    return this;
  }

  /**
   * The members that found the cluster, the same list on each. Leave it out on a member that will be
   * added to a running cluster. A folder that already belongs to one ignores it.
   */
  founders(members: readonly (number | Member)[]): this {
    this.#founders = members.map((member) =>
      typeof member === "number" ? { peer: as<PeerId>(member), context: NO_CONTEXT } : member,
    );
    return this;
  }

  /**
   * A new cluster begins with what `writeBackup` wrote to this file, given to every founder. Sessions
   * begin anew. A folder that has a state of its own ignores it.
   */
  restoreFrom(path: string): this {
    this.#backup = path;
    return this;
  }

  /** Listens from the very first event on. */
  on<N extends keyof ClusterEvents>(name: N, listener: (event: ClusterEvents[N]) => void): this {
    this.#listeners.push((cluster) => void cluster.on(name, listener));
    return this;
  }

  /** Clock, randomness, disk and ticker; default the operating system's. */
  ports(ports: ClusterPorts): this {
    this.#ports = ports;
    return this;
  }

  /** Opens the folder and takes part. Rejects with InvalidArgument or Conflict (folder in use). */
  async start(): Promise<RaftCluster<Command, Response, Query, Answer>> {
    const id = this.#id;
    if (id === undefined || !Number.isSafeInteger(id) || id < 1 || id > 0xffffffff) {
      missing("id", "a member needs an id from 1 to 2^32 - 1");
    }
    const dir = this.#dir ?? missing("dir", "a member needs a folder");
    const transport = this.#transport ?? missing("transport", "a member needs a transport");
    const backup = this.#backup === undefined ? undefined : readBackup(this.#backup);
    const cluster = await RaftCluster.open({
      id: as<PeerId>(id),
      dir,
      machine: this.#machine,
      transport,
      ports: this.#ports,
      tuning: clusterTuning(this.#preset, this.#tuning),
    });
    for (const listen of this.#listeners) listen(cluster);
    cluster.start(this.#founders, backup);
    return cluster;
  }
}

function missing(field: string, reason: string): never {
  fail("InvalidArgument", { field, reason }, `Cannot start a cluster member: ${reason}`);
}
