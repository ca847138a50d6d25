/**
 * A node's side of its lease, as a part that asks and is answered: it asks the leader every second,
 * moves the VMs' deadline when it is granted, and kills everything when it runs out. The decisions
 * are those of holder.ts; whoever owns it carries out what it asks for.
 */

import type { Clock, NodeId, PeerId, Random } from "@blixard/std";
import type { LeaseOptions } from "../types.ts";
import type { LeaseMessage } from "./codec.ts";
import {
  createHolder,
  heldLease,
  type HolderClock,
  type HolderEffect,
  holderReply,
  holderTick,
  type LeaseHolder,
} from "./holder.ts";

export interface LeaseClientDeps {
  readonly self: NodeId;
  readonly options: LeaseOptions;
  readonly clock: Clock;
  readonly random: Random;
  /** The leader as far as known; 0 for none. */
  readonly leader: () => PeerId | 0;
  /** To that member's leader role, which may be this node's own. */
  readonly ask: (leader: PeerId, message: LeaseMessage) => void;
  /** The lease epoch in this node's replicated record, if it has one. */
  readonly recordedEpoch: () => number | undefined;
  readonly runningVms: () => number;
  readonly extend: (deadlineMonotonicMs: number) => void;
  /** Everything must die now; `done(true)` when nothing runs any more, `false` when that is unknown. */
  readonly killAll: (done: (isDead: boolean) => void) => void;
  /** Proposes acquireLease; `done` when that has ended, however. */
  readonly acquire: (fromEpoch: number, done: () => void) => void;
  readonly note: (level: "warn" | "error", data: object, text: string) => void;
}

export class LeaseClient {
  readonly #deps: LeaseClientDeps;
  /** Absent until begin(): before, nothing is renewed and nothing may run. */
  #holder: LeaseHolder | undefined;
  #acquiring = false;

  constructor(deps: LeaseClientDeps) {
    this.#deps = deps;
  }

  /**
   * Call it once this node's state is known to be current. `resumeLeaseEpoch` is the recorded epoch
   * when VMs of an earlier daemon still run here; absent, a new epoch is acquired.
   */
  begin(resumeLeaseEpoch: number | undefined): void {
    const { options, random } = this.#deps;
    this.#holder = createHolder(options, {
      ...(resumeLeaseEpoch === undefined ? {} : { resumeLeaseEpoch }),
      firstRequestId: (random.u32() & 0xffff) * 2 ** 32 + random.u32(),
    });
  }

  /** The lease held right now; none once a clock says that it is over, though no tick has seen it. */
  current(): { epoch: number; deadlineMonotonicMs: number } | undefined {
    return this.#holder === undefined ? undefined : heldLease(this.#holder, this.#now());
  }

  /** Call it several times per `renewEveryMs`. */
  tick(): void {
    if (this.#holder === undefined) return;
    const leaseEpoch = this.#deps.recordedEpoch();
    const runningVms = this.#deps.runningVms();
    const known = leaseEpoch === undefined ? {} : { leaseEpoch };
    this.#perform(holderTick(this.#holder, { ...this.#now(), runningVms, ...known }));
  }

  #now(): HolderClock {
    const { clock } = this.#deps;
    return { monotonicMs: clock.monotonicMs(), bootMs: clock.bootMs() };
  }

  /** An answer from a leader. */
  reply(message: LeaseMessage): void {
    if (message.kind === "renew" || this.#holder === undefined) return;
    this.#perform(holderReply(this.#holder, message, this.#now()));
  }

  #perform(effects: readonly HolderEffect[]): void {
    for (const effect of effects) {
      switch (effect.kind) {
        case "sendRenew":
          this.#sendRenew(effect);
          break;
        case "extend":
          this.#deps.extend(effect.deadlineMonotonicMs);
          break;
        case "expired":
          this.#deps.note("warn", { why: effect.reason }, "lease over: stopping every VM");
          this.#deps.killAll((isDead) => {
            // The supervisors kill by the same deadline on their own; acquire waits for the outcome.
            if (!isDead) this.#deps.note("error", {}, "stopping VMs failed");
          });
          break;
        case "acquire":
          this.#acquire(effect.fromEpoch);
          break;
        default:
          effect satisfies never;
      }
    }
  }

  #sendRenew({ requestId, leaseEpoch }: { requestId: number; leaseEpoch: number }): void {
    const leader = this.#deps.leader();
    if (leader === 0) return;
    this.#deps.ask(leader, { kind: "renew", nodeId: this.#deps.self, leaseEpoch, requestId });
  }

  /** A new epoch begins only when nothing of the old one runs. */
  #acquire(fromEpoch: number): void {
    if (this.#acquiring) return;
    this.#acquiring = true;
    this.#deps.killAll((isDead) => {
      if (!isDead) {
        this.#acquiring = false;
        return;
      }
      this.#deps.acquire(fromEpoch, () => {
        this.#acquiring = false;
      });
    });
  }
}
