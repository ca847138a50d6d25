/** Members in one process: for tests and for trying things out. Delivery is in a later microtask. */

import type { PeerId } from "@blixard/std";

import type { ClusterTransport } from "../cluster/types.ts";

/** Where members in one process meet. */
export interface MemoryHub {
  /** The transport of one member; a member that was closed may be connected again. */
  connect(id: PeerId): ClusterTransport;
  /** True: datagrams from `from` to `to` are lost. Assign your own; default: none is. */
  cut: (from: PeerId, to: PeerId) => boolean;
}

/** Datagrams under way to one member; beyond it they are lost. */
const QUEUE_MAX = 10_000;

interface Inbox {
  listener: ((from: PeerId, message: Uint8Array) => void) | undefined;
  onDisconnect: ((peer: PeerId) => void) | undefined;
  queued: number;
}

/**
 * Connects members in one process: for tests and for trying things out. Messages are delivered in a
 * later microtask; each member has an inbox of 10 000, beyond which they are lost.
 */
export function createMemoryHub(): MemoryHub {
  const inboxes = new Map<PeerId, Inbox>();
  const hub: MemoryHub = { connect, cut: () => false };
  function connect(id: PeerId): ClusterTransport {
    const inbox: Inbox = { listener: undefined, onDisconnect: undefined, queued: 0 };
    inboxes.set(id, inbox);
    return {
      network: { send: (to, message) => send(id, to, message) },
      onMessage: (listener) => {
        inbox.listener = listener;
      },
      onDisconnect: (listener) => {
        inbox.onDisconnect = listener;
      },
      setMembers: () => undefined,
      close: () => {
        if (inboxes.get(id) === inbox) inboxes.delete(id);
        for (const other of inboxes.values()) other.onDisconnect?.(id);
        return Promise.resolve();
      },
    };
  }
  function send(from: PeerId, to: PeerId, message: Uint8Array): boolean {
    const inbox = inboxes.get(to);
    if (inbox?.listener === undefined || inbox.queued >= QUEUE_MAX) return false;
    inbox.queued++;
    const copy = message.slice();
    void Promise.resolve().then(() => {
      inbox.queued--;
      if (!hub.cut(from, to) && inboxes.get(to) === inbox) inbox.listener?.(from, copy);
    });
    return true;
  }
  return hub;
}
