/**
 * This node's side of its lease: asks the leader every second, moves the VMs' deadline when it is granted,
 * and kills everything when it runs out. The decisions are control's LeaseHolder; this shell carries them out.
 */

import {
  createHolder,
  decodeLeaseMessage,
  encodeLeaseMessage,
  type HolderEffect,
  holderReply,
  holderTick,
  type LeaseHolder,
  type LeaseMessage,
  type LeaseOptions,
} from "@blixard/control";
import type { Clock, Network, NodeId, PeerId } from "@blixard/std";
import type { Logger } from "./log.ts";

export interface LeaseClientDeps {
  readonly self: NodeId;
  readonly options: LeaseOptions;
  readonly clock: Clock;
  readonly network: Network;
  readonly log: Logger;
  /** The leader as far as known; 0 for none. */
  readonly leader: () => PeerId | 0;
  readonly selfPeer: PeerId;
  /** Hands a request to this node's own leader role. */
  readonly local: (message: LeaseMessage) => void;
  /** The lease epoch in the replicated record; undefined before this node is registered. */
  readonly recordedEpoch: () => { epoch: number; up: boolean } | undefined;
  readonly onExtend: (deadlineMonotonicMs: number) => void;
  /** Everything must die now; resolves when nothing runs any more. */
  readonly onExpired: () => Promise<void>;
  readonly acquire: (fromEpoch: number) => Promise<void>;
}

export class LeaseClient {
  readonly #deps: LeaseClientDeps;
  readonly #holder: LeaseHolder;
  #deadlineMs = 0;
  #heldEpoch: number | undefined;
  #acquiring = false;

  constructor(deps: LeaseClientDeps) {
    this.#deps = deps;
    this.#holder = createHolder(deps.options);
  }

  /** The lease held right now, if its deadline has not passed. */
  current(): { epoch: number; deadlineMonotonicMs: number } | undefined {
    if (this.#heldEpoch === undefined) return undefined;
    if (this.#deps.clock.monotonicMs() >= this.#deadlineMs) return undefined;
    return { epoch: this.#heldEpoch, deadlineMonotonicMs: this.#deadlineMs };
  }

  tick(): void {
    const { clock } = this.#deps;
    const recorded = this.#deps.recordedEpoch();
    this.#perform(
      holderTick(this.#holder, {
        monotonicMs: clock.monotonicMs(),
        bootMs: clock.bootMs(),
        ...(recorded === undefined ? {} : { leaseEpoch: recorded.epoch }),
      }),
    );
  }

  /** Undefined for bytes that are no lease message. */
  decode(bytes: Uint8Array): LeaseMessage | undefined {
    const decoded = decodeLeaseMessage(bytes);
    if (decoded.ok) return decoded.value;
    this.#deps.log.warn({ reason: decoded.error }, "bad lease message");
    return undefined;
  }

  reply(message: LeaseMessage): void {
    if (message.kind === "renew") return;
    this.#perform(holderReply(this.#holder, message, this.#deps.clock.monotonicMs()));
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
          this.#deps.log.warn("lease expired: stopping every VM");
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
