/**
 * This node's side of its lease: asks the leader every second, moves the VMs' deadline when it is granted,
 * and kills everything when it runs out. The decisions are control's LeaseHolder; this shell carries them out.
 */

import {
  createHolder,
  decodeLeaseMessage,
  encodeLeaseMessage,
  type HolderClock,
  type HolderEffect,
  holderReply,
  holderTick,
  type LeaseHolder,
  type LeaseMessage,
  type LeaseOptions,
} from "@blixard/control";
import type { Clock, Network, NodeId, PeerId, Random } from "@blixard/std";
import type { Logger } from "./log.ts";

export interface LeaseClientDeps {
  readonly self: NodeId;
  readonly options: LeaseOptions;
  readonly clock: Clock;
  readonly random: Random;
  readonly network: Network;
  readonly log: Logger;
  /** The leader as far as known; 0 for none. */
  readonly leader: () => PeerId | 0;
  readonly selfPeer: PeerId;
  /** Hands a request to this node's own leader role. */
  readonly local: (message: LeaseMessage) => void;
  /** The lease epoch in this node's replicated record, if it has one. */
  readonly recordedEpoch: () => number | undefined;
  readonly runningVms: () => number;
  readonly onExtend: (deadlineMonotonicMs: number) => void;
  /** Everything must die now; resolves when nothing runs any more. */
  readonly onExpired: () => Promise<void>;
  readonly acquire: (fromEpoch: number) => Promise<void>;
}

export class LeaseClient {
  readonly #deps: LeaseClientDeps;
  /** Absent until begin(): before, nothing is renewed and nothing may run. */
  #holder: LeaseHolder | undefined;
  #deadlineMs = 0;
  #heldEpoch: number | undefined;
  #acquiring = false;

  constructor(deps: LeaseClientDeps) {
    this.#deps = deps;
  }

  /**
   * Call it once this node's state is known to be current. `resumeLeaseEpoch` is the recorded epoch when
   * VMs of an earlier daemon still run here; absent, a new epoch is acquired.
   */
  begin(resumeLeaseEpoch: number | undefined): void {
    const { options, random } = this.#deps;
    this.#holder = createHolder(options, {
      ...(resumeLeaseEpoch === undefined ? {} : { resumeLeaseEpoch }),
      firstRequestId: (random.u32() & 0xffff) * 2 ** 32 + random.u32(),
    });
  }

  /** The lease held right now, if its deadline has not passed. */
  current(): { epoch: number; deadlineMonotonicMs: number } | undefined {
    if (this.#heldEpoch === undefined) return undefined;
    if (this.#deps.clock.monotonicMs() >= this.#deadlineMs) return undefined;
    return { epoch: this.#heldEpoch, deadlineMonotonicMs: this.#deadlineMs };
  }

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

  /** Undefined for bytes that are no lease message. */
  decode(bytes: Uint8Array): LeaseMessage | undefined {
    const decoded = decodeLeaseMessage(bytes);
    if (decoded.ok) return decoded.value;
    this.#deps.log.warn({ reason: decoded.error }, "bad lease message");
    return undefined;
  }

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
          this.#deadlineMs = effect.deadlineMonotonicMs;
          this.#heldEpoch = effect.leaseEpoch;
          this.#deps.onExtend(effect.deadlineMonotonicMs);
          break;
        case "expired":
          this.#heldEpoch = undefined;
          this.#deps.log.warn({ why: effect.reason }, "lease over: stopping every VM");
          this.#deps.onExpired().catch((caught: unknown) => {
            // The supervisors kill by the same deadline on their own; acquire waits for the outcome.
            this.#deps.log.error({ err: String(caught) }, "stopping VMs failed");
          });
          break;
        case "acquire":
          void this.#acquire(effect.fromEpoch);
          break;
        default:
          effect satisfies never;
      }
    }
  }

  #sendRenew(effect: { requestId: number; leaseEpoch: number }): void {
    const { self, selfPeer, network } = this.#deps;
    const { requestId, leaseEpoch } = effect;
    const message: LeaseMessage = { kind: "renew", nodeId: self, leaseEpoch, requestId };
    const leader = this.#deps.leader();
    if (leader === selfPeer) this.#deps.local(message);
    else if (leader !== 0) network.send(leader, encodeLeaseMessage(message));
  }

  /** A new epoch begins only when nothing of the old one runs. */
  async #acquire(fromEpoch: number): Promise<void> {
    if (this.#acquiring) return;
    this.#acquiring = true;
    try {
      await this.#deps.onExpired();
      await this.#deps.acquire(fromEpoch);
    } catch (caught) {
      this.#deps.log.debug({ err: String(caught) }, "lease not acquired; will retry");
    } finally {
      this.#acquiring = false;
    }
  }
}
