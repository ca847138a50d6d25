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

/**
 * Begins the description of a member whose state machine is `machine`; {@link
 * RaftClusterBuilder.start} starts it. An id, a folder and a transport are needed, founders on all
 * but members added later.
 *
 * @example
 * ```ts
 * const cluster = await raftCluster(new Counter())
 *   .preset("production")
 *   .id(1)
 *   .dir("/var/lib/counter/raft")
 *   .transport(transport)
 *   .founders([1, 2, 3])
 *   .on("fatal", ({ code, reason }) => {
 *     console.error(code, reason);
 *     process.exit(1);
 *   })
 *   .start();
 * ```
 */
export function raftCluster<Command, Response, Query, Answer>(
  machine: ClusterMachine<Command, Response, Query, Answer>,
): RaftClusterBuilder<Command, Response, Query, Answer> {
  return new RaftClusterBuilder(machine);
}

/** What a member is, said step by step and checked by `start`. {@link raftCluster} makes one. */
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

  /** As {@link raftCluster}, which infers the types. */
  constructor(machine: ClusterMachine<Command, Response, Query, Answer>) {
    this.#machine = machine;
  }

  /** Timeouts and sizes that go together; default "production". See {@link PRESETS}. */
  preset(preset: Preset): this {
    this.#preset = preset;
    return this;
  }

  /** Replaces single values of the preset; a second call adds to the first. Checked by `start`. */
  tune(overrides: Partial<ClusterTuning>): this {
    this.#tuning = { ...this.#tuning, ...overrides };
    return this;
  }

  /** This member's id: an integer from 1 to 2^32 - 1, never used again for another member. */
  id(id: number): this {
    this.#id = id;
    return this;
  }

  /** The folder where log and snapshots are kept, made if absent, for this member alone. */
  dir(dir: string): this {
    this.#dir = dir;
    return this;
  }

  /** How members reach each other. It belongs to the cluster from `start` on, which closes it. */
  transport(transport: ClusterTransport): this {
    this.#transport = transport;
    return this;
  }

  /**
   * The members that found the cluster, the same list on each, this one included; all vote. A bare
   * number is a member without context. Leave it out on a member that will be added to a running
   * cluster. A folder that already belongs to one ignores it.
   */
  founders(members: readonly (number | Member)[]): this {
    this.#founders = members.map((member) =>
      typeof member === "number" ? { peer: as<PeerId>(member), context: NO_CONTEXT } : member,
    );
    return this;
  }

  /**
   * A new cluster begins with what {@link writeBackup} wrote to this file, given to every founder.
   * Sessions begin anew. A folder that has a state of its own ignores it. `start` rejects with
   * Corrupt when the file is not whole.
   */
  restoreFrom(path: string): this {
    this.#backup = path;
    return this;
  }

  /** As {@link RaftCluster.on}, but from the very first event on: none is missed. */
  on<N extends keyof ClusterEvents>(name: N, listener: (event: ClusterEvents[N]) => void): this {
    this.#listeners.push((cluster) => void cluster.on(name, listener));
    return this;
  }

  /** Clock, randomness, disk and ticker; default {@link systemPorts}, the operating system's. */
  ports(ports: ClusterPorts): this {
    this.#ports = ports;
    return this;
  }

  /**
   * Opens the folder and takes part; does not wait for a leader. Rejects with a {@link
   * BlixardError}: InvalidArgument names the value that is wrong, Conflict says who has the folder
   * open, Corrupt what is wrong with the backup. A log that cannot be read is told by the event
   * "fatal".
   */
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
    try {
      cluster.start(this.#founders, backup);
    } catch (caught) {
      // The folder is free again for another try.
      await cluster.shutdown();
      throw caught;
    }
    return cluster;
  }
}

function missing(field: string, reason: string): never {
  fail("InvalidArgument", { field, reason }, `Cannot start a cluster member: ${reason}`);
}
