/**
 * The network between machines. A healthy link delivers each datagram after a delay of its own;
 * effects (one for each fault that is under way) lose, copy, hold back, refuse and cut.
 *
 * Below the port stands a transport that authenticates what it carries, as TLS does in production:
 * a flipped bit never reaches a node; it ends the connection, and all that was under way with it.
 */

import { assert, crc32c, type Network, type PeerId, type Prng } from "@blixard/std";
import { IN_FLIGHT_MAX, MESSAGE_BYTES_MAX, RECONNECT_US } from "../limits.ts";
import type { FaultKind } from "../plan.ts";
import { digest } from "../world/hash.ts";
import type { Host, World } from "../world/world.ts";

export type NetworkFault = Extract<
  FaultKind,
  | "loss"
  | "duplication"
  | "reordering"
  | "delay"
  | "clogging"
  | "boundedLinks"
  | "resetMidFrame"
  | "bitFlips"
>;

export interface NetworkEffect {
  /** "cut": nothing passes. */
  readonly kind: NetworkFault | "cut";
  /** Directed links by `linkKey`; absent: all. */
  readonly links?: ReadonlySet<number>;
  readonly rate: number;
  readonly amount: number;
  readonly random: Prng;
  /** Called whenever it does something. */
  readonly fire: () => void;
}

export type Receiver = (from: PeerId, message: Uint8Array) => void;

/** What one transport carries side by side. */
export type Channel = 0 | 1;
const CHANNELS = 2;

interface Endpoint {
  readonly host: Host;
  readonly peer: PeerId;
  readonly receive: Receiver;
  readonly broken: Broken | undefined;
}

/** The connection with `peer` broke: a hint, as from a transport that is told by its system. */
export type Broken = (peer: PeerId) => void;

interface Link {
  readonly random: Prng;
  count: number;
  bytes: number;
  /** Rises when the connection is reset: what was under way is lost. */
  generation: number;
  downUntilUs: number;
}

const MACHINES_MAX = 64;
/** Chance that a cut ends the connections over it, and both ends are told. */
const TELLS_CUT = 0.5;

export function linkKey(from: number, to: number): number {
  return from * MACHINES_MAX + to;
}

export class SimNetwork {
  delivered = 0;
  readonly #world: World;
  readonly #minUs: number;
  readonly #maxUs: number;
  readonly #endpoints = new Map<number, Endpoint>();
  readonly #links = new Map<number, Link>();
  readonly #effects: NetworkEffect[] = [];
  /** What clogged links hold, by the effect that holds it. */
  readonly #held = new Map<NetworkEffect, (() => void)[]>();

  constructor(world: World, linkUs: readonly [min: number, max: number]) {
    this.#world = world;
    [this.#minUs, this.#maxUs] = linkUs;
  }

  /** The machine's port; messages for `peer` reach `receive` while the machine is up. */
  attach(host: Host, peer: PeerId, channel: Channel, receive: Receiver, broken?: Broken): Network {
    this.#endpoints.set(peer * CHANNELS + channel, { host, peer, receive, broken });
    return { send: (to, message) => this.#send(host, peer, to, channel, message) };
  }

  /** Nobody answers to that name any more. */
  detach(peer: PeerId): void {
    for (let channel = 0; channel < CHANNELS; channel++) {
      this.#endpoints.delete(peer * CHANNELS + channel);
    }
  }

  add(effect: NetworkEffect): void {
    this.#effects.push(effect);
    if (effect.kind === "cut" && effect.amount === 0) {
      // The cable is cut, not the sender's port: what is under way is lost, too.
      for (const [key, link] of this.#links) {
        if (effect.links?.has(key) ?? true) link.generation++;
      }
      this.#tellCut(effect);
    }
  }

  /** Whoever stands between may end the connections that it cuts. */
  #tellCut({ links, random }: NetworkEffect): void {
    const ends = this.#listening();
    if (links === undefined || ends.length === 0 || !random.chance(TELLS_CUT)) return;
    for (const a of ends) {
      for (const b of ends) if (links.has(linkKey(a.host.id, b.host.id))) this.#tell(a, b);
    }
  }

  /** The process is gone: whoever it was connected with hears of it, where the network lets it. */
  hangUp(host: Host): void {
    const ends = this.#listening();
    const from = ends.find((end) => end.host === host);
    if (from === undefined) return;
    for (const to of ends) {
      const key = linkKey(host.id, to.host.id);
      const isCut = this.#effects.some(
        ({ kind, links }) => kind === "cut" && (links?.has(key) ?? true),
      );
      if (to !== from && !isCut) this.#tell(from, to);
    }
  }

  #listening(): Endpoint[] {
    return [...this.#endpoints.values()].filter(({ broken }) => broken !== undefined);
  }

  #tell(from: Endpoint, to: Endpoint): void {
    const key = linkKey(from.host.id, to.host.id);
    this.#world.after(this.#maxUs, to.host, "net", key, () => to.broken?.(from.peer));
  }

  remove(effect: NetworkEffect): void {
    const at = this.#effects.indexOf(effect);
    if (at >= 0) this.#effects.splice(at, 1);
    const held = this.#held.get(effect);
    this.#held.delete(effect);
    for (const deliver of held ?? []) deliver();
  }

  #link(key: number): Link {
    let link = this.#links.get(key);
    if (link === undefined) {
      const random = this.#world.stream("link", key);
      link = { random, count: 0, bytes: 0, generation: 0, downUntilUs: 0 };
      this.#links.set(key, link);
    }
    return link;
  }

  #send(from: Host, self: PeerId, to: PeerId, channel: Channel, message: Uint8Array): boolean {
    assert(message.length <= MESSAGE_BYTES_MAX, `datagram of ${message.length} bytes`);
    const target = this.#endpoints.get(to * CHANNELS + channel);
    if (target === undefined || target.host === from) return false;
    const key = linkKey(from.id, target.host.id);
    const link = this.#link(key);
    if (link.count >= IN_FLIGHT_MAX) return false;
    const { random } = link;
    let delayUs = random.between(this.#minUs, this.#maxUs);
    if (link.downUntilUs > this.#world.nowUs) return true;
    let copies = 1;
    let holder: NetworkEffect | undefined;
    for (const effect of this.#effects) {
      if (effect.links !== undefined && !effect.links.has(key)) continue;
      switch (effect.kind) {
        case "cut":
          effect.fire();
          return true;
        case "loss":
          if (!effect.random.chance(effect.rate)) break;
          effect.fire();
          return true;
        case "duplication":
          if (!effect.random.chance(effect.rate)) break;
          effect.fire();
          copies++;
          break;
        case "reordering":
          if (!effect.random.chance(effect.rate)) break;
          effect.fire();
          delayUs += effect.random.below(effect.amount + 1);
          break;
        case "delay":
          effect.fire();
          delayUs += effect.amount + effect.random.below(Math.floor(effect.amount / 4) + 1);
          break;
        case "clogging":
          effect.fire();
          holder = effect;
          break;
        case "boundedLinks":
          if (link.bytes + message.length <= effect.amount) break;
          effect.fire();
          return false;
        case "resetMidFrame":
          if (!effect.random.chance(effect.rate)) break;
          effect.fire();
          this.#reset(from.id, target.host.id);
          return true;
        case "bitFlips":
          if (!effect.random.chance(effect.rate) || message.length === 0) break;
          effect.fire();
          flipIsNoticed(message, effect.random);
          this.#reset(from.id, target.host.id);
          return true;
      }
    }
    // The sender may reuse its buffer as soon as send returns.
    const copy = message.slice();
    for (let n = 0; n < copies; n++) {
      const lateUs = delayUs + (n === 0 ? 0 : random.below(20_000));
      const deliver = (): void => this.#carry(key, link, self, target, copy, lateUs);
      if (holder === undefined) deliver();
      else this.#hold(holder, deliver);
    }
    return true;
  }

  #hold(holder: NetworkEffect, deliver: () => void): void {
    const held = this.#held.get(holder);
    if (held === undefined) this.#held.set(holder, [deliver]);
    else if (held.length < IN_FLIGHT_MAX) held.push(deliver);
  }

  #carry(
    key: number,
    link: Link,
    from: PeerId,
    to: Endpoint,
    message: Uint8Array,
    delayUs: number,
  ): void {
    const { generation } = link;
    link.count++;
    link.bytes += message.length;
    this.#world.after(delayUs, undefined, "net", digest(message) ^ key, () => {
      link.count--;
      link.bytes -= message.length;
      const { host } = to;
      if (link.generation !== generation || !host.up) return;
      this.delivered++;
      if (host.pausedUntilUs <= this.#world.nowUs) {
        to.receive(from, message);
        return;
      }
      const waitUs = host.pausedUntilUs - this.#world.nowUs;
      this.#world.after(waitUs, host, "net", key, () => to.receive(from, message));
    });
  }

  /** Both directions: the connection is gone, and comes back after a while. */
  #reset(a: number, b: number): void {
    for (const key of [linkKey(a, b), linkKey(b, a)]) {
      const link = this.#link(key);
      link.generation++;
      link.downUntilUs = this.#world.nowUs + RECONNECT_US;
    }
    const ends = this.#listening().filter(({ host }) => host.id === a || host.id === b);
    for (const from of ends) for (const to of ends) if (from !== to) this.#tell(from, to);
  }
}

/** The transport's checksum stands for its MAC: a flipped bit never passes it. */
function flipIsNoticed(message: Uint8Array, random: Prng): void {
  const flipped = message.slice();
  const at = random.below(flipped.length);
  flipped[at] = (flipped[at] ?? 0) ^ (1 << random.below(8));
  assert(crc32c(flipped) !== crc32c(message), "a single flipped bit changes the checksum");
}

/** Both directions between the two groups. */
export function linksBetween(left: readonly number[], right: readonly number[]): Set<number> {
  const links = new Set<number>();
  for (const a of left) {
    for (const b of right) {
      if (a === b) continue;
      links.add(linkKey(a, b));
      links.add(linkKey(b, a));
    }
  }
  return links;
}

/** From each of the first to each of the second. */
export function linksTo(from: readonly number[], to: readonly number[]): Set<number> {
  return new Set(from.flatMap((a) => to.filter((b) => a !== b).map((b) => linkKey(a, b))));
}
