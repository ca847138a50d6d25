/**
 * What the proof in control's leases/grantor.ts promises, in true time, whatever the machines' clocks
 * say: a lease is given up only when it is over and nothing executes under it any more; what was given
 * up is not granted again; a new epoch begins where nothing of the old one runs. Entries are looked at
 * once, when the first machine applies them.
 */

import {
  type Change,
  type Command,
  type CommandResult,
  type ControlState,
  decodeCommand,
  getNode,
  type LeaseMessage,
} from "@blixard/control";
import type { NodeId } from "@blixard/std";
import { violated } from "../world/world.ts";

interface Entry {
  readonly index: number;
  readonly term: number;
  readonly data: Uint8Array;
}

type NodeChange = Extract<Change, { readonly kind: "node" }>;
type Granted = Extract<LeaseMessage, { readonly kind: "granted" }>;

/** What is true of a node now, by its own clocks and its own processes. */
export interface Holder {
  /** The epoch of the lease that it acts under; absent while it holds none, is down or sleeps. */
  readonly epoch: number | undefined;
  /** VMs of which something executes there, and those of a machine that sleeps. */
  readonly executing: readonly string[];
  readonly frozen: readonly string[];
}

export class LeaseChecker {
  #highest = 0;
  readonly #holder: (nodeId: NodeId) => Holder | undefined;
  /** The last epoch of each node that is over. */
  readonly #over = new Map<NodeId, number>();

  constructor(holder: (nodeId: NodeId) => Holder | undefined) {
    this.#holder = holder;
  }

  applied(entry: Entry, result: CommandResult): void {
    if (entry.index <= this.#highest) return;
    this.#highest = entry.index;
    if (!result.ok) return;
    for (const change of result.changes) {
      if (change.kind === "node" && change.before !== undefined) this.#check(entry, change);
    }
  }

  #check(entry: Entry, { id, before, after }: NodeChange): void {
    if (before === undefined || after === undefined) return;
    if (before.state === "up" && after.state === "lost") {
      const command = commandOf(entry);
      if (command.kind !== "expireLease") violated("leases run out", `${id}: ${command.kind}`);
      const { term, leaseEpoch } = command;
      if (term !== entry.term || leaseEpoch !== before.leaseEpoch) {
        const found = `epoch ${before.leaseEpoch} in term ${entry.term}`;
        const message = `${before.name}: epoch ${leaseEpoch} in term ${term} ended ${found}`;
        violated("a lease ends as it was given up", message);
      }
      this.#over.set(id, before.leaseEpoch);
      this.#isQuiet(id, before.name);
    } else if (after.leaseEpoch > before.leaseEpoch) {
      this.#over.set(id, before.leaseEpoch);
      const { executing = [], frozen = [] } = this.#holder(id) ?? {};
      const [vm] = [...executing, ...frozen];
      if (vm === undefined) return;
      const message = `${before.name} begins epoch ${after.leaseEpoch} while it runs vm ${vm}`;
      violated("a lease begins where nothing runs", message);
    }
  }

  #isQuiet(id: NodeId, name: string): void {
    const holder = this.#holder(id);
    const [vm] = holder?.executing ?? [];
    if (vm !== undefined) violated("a lost node runs nothing", `${name} still runs vm ${vm}`);
    if (holder?.epoch === undefined) return;
    const message = `${name} is declared lost and holds its lease of epoch ${holder.epoch}`;
    violated("a lost node holds no lease", message);
  }

  /** A node takes an answer to mean that it holds the lease of that epoch until later than now. */
  extended(id: NodeId, epoch: number): void {
    if (epoch > (this.#over.get(id) ?? 0)) return;
    violated("a lease that is over is not held", `${id} holds its lease of epoch ${epoch} again`);
  }

  /** `state` is what the leader that answers has applied. */
  granted({ nodeId, leaseEpoch }: Granted, state: ControlState): void {
    const record = getNode(state, nodeId);
    if (record?.state === "up" && record.leaseEpoch === leaseEpoch) return;
    const now = `${record?.state ?? "removed"} in epoch ${record?.leaseEpoch ?? 0}`;
    const message = `${record?.name ?? nodeId} is ${now}, its lease of epoch ${leaseEpoch} is renewed`;
    violated("leases are renewed as recorded", message);
  }
}

function commandOf({ index, data }: Entry): Command {
  const decoded = decodeCommand(data);
  return decoded.ok ? decoded.value.command : violated("entries decode", `entry ${index}`);
}

/**
 * One leader's side: what it has begun to give up it does not renew, though nobody has heard of it
 * yet.
 */
export class GivenUp {
  readonly #given = new Map<NodeId, { readonly leaseEpoch: number; readonly term: number }>();

  proposed(command: Command): void {
    if (command.kind !== "expireLease") return;
    const { nodeId, leaseEpoch, term } = command;
    this.#given.set(nodeId, { leaseEpoch, term });
  }

  granted({ nodeId, leaseEpoch }: Granted, term: number): void {
    const given = this.#given.get(nodeId);
    if (given?.leaseEpoch !== leaseEpoch || given.term !== term) return;
    const message = `${nodeId} is renewed in epoch ${leaseEpoch}, which is being given up`;
    violated("what is given up is not renewed", message);
  }
}
