/** Messages waiting for their write. The one place that decides when a message may leave. */

import type { Message, Outgoing } from "@blixard/raft";

export class Outbox {
  readonly #send: (message: Message) => void;
  #waiting: Outgoing[] = [];
  #durable = 0;

  constructor(send: (message: Message) => void) {
    this.#send = send;
  }

  add(messages: readonly Outgoing[]): void {
    for (const outgoing of messages) {
      if (outgoing.after <= this.#durable) this.#send(outgoing.message);
      else this.#waiting.push(outgoing);
    }
  }

  /** The persist `seq`, and all before it, is durable. */
  onDurable(seq: number): void {
    this.#durable = Math.max(this.#durable, seq);
    const due = this.#waiting.filter(({ after }) => after <= this.#durable);
    if (due.length === 0) return;
    this.#waiting = this.#waiting.filter(({ after }) => after > this.#durable);
    for (const { message } of due) this.#send(message);
  }
}
