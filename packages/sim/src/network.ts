/**
 * Datagrams between hosts: lost, late, out of order, twice, and cut off in one or both directions.
 * Each pair of hosts draws from a stream of its own, so that one link's traffic does not change the
 * fate of another's.
 */

import { as, assert, type Network, type PeerId, Prng } from "@blixard/std";
import { digest } from "./hash.ts";
import { IN_FLIGHT_MAX, MESSAGE_BYTES_MAX } from "./limits.ts";
import type { Host, World } from "./world.ts";

/** Chances are in [0, 1] a datagram. */
export interface LinkQuality {
  readonly loss: number;
  readonly duplicate: number;
  readonly minDelayUs: number;
  readonly maxDelayUs: number;
  /** Chance of a delay of up to `straggleUs` instead: what makes old messages meet new terms. */
  readonly straggle: number;
  readonly straggleUs: number;
}

export const GOOD_LINK: LinkQuality = {
  loss: 0,
  duplicate: 0,
  minDelayUs: 100,
  maxDelayUs: 1500,
  straggle: 0,
  straggleUs: 0,
};

export type Receiver = (from: PeerId, message: Uint8Array) => void;

interface Cut {
  readonly links: ReadonlySet<number>;
  readonly isNearSender: boolean;
}

interface Endpoint {
  readonly host: Host;
  readonly receive: Receiver;
}

export class SimNetwork {
  quality: LinkQuality = GOOD_LINK;
  /** What `quality` goes back to when a fault is over. */
  usual: LinkQuality = GOOD_LINK;
  delivered = 0;
  lost = 0;
  readonly #world: World;
  readonly #seed: number;
  readonly #endpoints = new Map<number, Endpoint>();
  readonly #links = new Map<number, Prng>();
  /** Each cut is a set of directed links; it ends on its own, whatever else is cut. */
  readonly #cuts = new Set<Cut>();
  readonly #inFlight = new Map<number, number>();

  constructor(world: World, random: Prng) {
    this.#world = world;
    this.#seed = random.u32();
  }

  /** The host's port into this network; messages reach `receive` while the host is up. */
  attach(host: Host, receive: Receiver): Network {
    this.#endpoints.set(host.id, { host, receive });
    return { send: (to, message) => this.#send(host, to, message) };
  }

  #key(from: number, to: number): number {
    return from * 1024 + to;
  }

  #link(key: number): Prng {
    let random = this.#links.get(key);
    if (random === undefined) {
      random = new Prng(this.#seed ^ Math.imul(key + 1, 0x9e3779b9));
      this.#links.set(key, random);
    }
    return random;
  }

  #send(from: Host, to: PeerId, message: Uint8Array): boolean {
    assert(message.length <= MESSAGE_BYTES_MAX, `datagram of ${message.length} bytes`);
    const target = this.#endpoints.get(to);
    if (target === undefined || to === from.id) return false;
    const key = this.#key(from.id, to);
    if ((this.#inFlight.get(key) ?? 0) >= IN_FLIGHT_MAX) return false;
    const random = this.#link(key);
    const { quality } = this;
    if (random.chance(quality.loss) || this.#isCut(key)) {
      this.lost++;
      return true;
    }
    // The sender may reuse its buffer as soon as send returns.
    const copy = message.slice();
    this.#deliver(key, from, target, copy, random);
    if (random.chance(quality.duplicate)) this.#deliver(key, from, target, copy.slice(), random);
    return true;
  }

  #deliver(key: number, from: Host, to: Endpoint, message: Uint8Array, random: Prng): void {
    const { quality } = this;
    const delayUs = random.chance(quality.straggle)
      ? random.below(quality.straggleUs + 1)
      : random.between(quality.minDelayUs, quality.maxDelayUs);
    this.#inFlight.set(key, (this.#inFlight.get(key) ?? 0) + 1);
    this.#world.after(delayUs, undefined, "net", digest(message) ^ key, () => {
      this.#inFlight.set(key, (this.#inFlight.get(key) ?? 0) - 1);
      if (this.#isLostUnderWay(key) || !to.host.up) {
        this.lost++;
        return;
      }
      this.delivered++;
      if (this.#world.tracing) {
        this.#world.trace(to.host.id, `received ${message.length} B from n${from.id}`);
      }
      if (to.host.pausedUntilUs <= this.#world.nowUs) {
        to.receive(as<PeerId>(from.id), message);
        return;
      }
      const waitUs = to.host.pausedUntilUs - this.#world.nowUs;
      this.#world.after(waitUs, to.host, "net", key, () => {
        to.receive(as<PeerId>(from.id), message);
      });
    });
  }

  #isCut(key: number): boolean {
    for (const { links } of this.#cuts) if (links.has(key)) return true;
    return false;
  }

  /** For what was sent before: a cut near the sender lets it through. */
  #isLostUnderWay(key: number): boolean {
    for (const { links, isNearSender } of this.#cuts) {
      if (!isNearSender && links.has(key)) return true;
    }
    return false;
  }

  /**
   * What the first of each pair sends no longer arrives at the second. What is under way is lost,
   * too, unless the cut is near the sender.
   * @returns the function that ends this cut.
   */
  cut(pairs: readonly (readonly [from: number, to: number])[], isNearSender = false): () => void {
    const cut = { links: new Set(pairs.map(([from, to]) => this.#key(from, to))), isNearSender };
    this.#cuts.add(cut);
    return () => this.#cuts.delete(cut);
  }

  /** Both directions between the two groups. */
  partition(left: readonly number[], right: readonly number[]): () => void {
    const pairs = left.flatMap((a) => right.map((b) => [a, b] as const));
    return this.cut([...pairs, ...pairs.map(([a, b]) => [b, a] as const)]);
  }

  healLinks(): void {
    this.#cuts.clear();
  }
}
