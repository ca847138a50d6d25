/**
 * Appends that carry nothing but a new commit index wait a little for company: under load the next
 * append takes the news along, and two messages in three are saved. Whoever waits for the news at the
 * other end (it forwarded something lately) gets them at once.
 */

import type { PeerId } from "@blixard/std";
import type { Message } from "@blixard/raft";

/** For so many ticks after it forwarded something, a peer is told at once. */
const EAGER_TICKS = 20;

interface Note {
  readonly message: Message;
  /** It has waited for one `later` already, and goes with the next. */
  isOld: boolean;
}

export class CommitNotes {
  readonly #send: (message: Message) => void;
  /** Absent: there is no clock for it, and nothing waits. */
  readonly #later: ((run: () => void) => void) | undefined;
  readonly #held = new Map<PeerId, Note>();
  readonly #eagerUntil = new Map<PeerId, number>();
  #isFlushDue = false;
  #tick = 0;

  constructor(send: (message: Message) => void, later: ((run: () => void) => void) | undefined) {
    this.#send = send;
    this.#later = later;
  }

  onTick(tick: number): void {
    this.#tick = tick;
    for (const [peer, until] of this.#eagerUntil) {
      if (until <= tick) this.#eagerUntil.delete(peer);
    }
  }

  /** The peer waits for what it forwarded. */
  onForward(peer: PeerId): void {
    this.#eagerUntil.set(peer, this.#tick + EAGER_TICKS);
    const note = this.#held.get(peer);
    if (note !== undefined) this.#release(peer, note);
  }

  /** False when the message is to be sent by the caller, now. */
  hold(message: Message): boolean {
    if (message.kind !== "append" || this.#later === undefined) return false;
    if (message.entries.length > 0) {
      // It says all that the held one would have said.
      this.#held.delete(message.to);
      return false;
    }
    if (this.#eagerUntil.has(message.to)) return false;
    const isOld = this.#held.get(message.to)?.isOld ?? false;
    this.#held.set(message.to, { message, isOld });
    this.#schedule(this.#later);
    return true;
  }

  #schedule(later: (run: () => void) => void): void {
    if (this.#isFlushDue) return;
    this.#isFlushDue = true;
    later(() => {
      this.#isFlushDue = false;
      for (const [peer, note] of this.#held) {
        if (note.isOld) this.#release(peer, note);
        else note.isOld = true;
      }
      if (this.#held.size > 0) this.#schedule(later);
    });
  }

  #release(peer: PeerId, { message }: Note): void {
    this.#held.delete(peer);
    this.#send(message);
  }

  clear(): void {
    this.#held.clear();
  }
}
