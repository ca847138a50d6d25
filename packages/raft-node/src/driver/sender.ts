/**
 * Sends snapshot files to followers over the lossy network: an offer, then a window of chunks, each
 * acknowledged by the offset received in order. What is lost is sent again from the last such offset.
 */

import { assert } from "@blixard/std";
import type { PeerId, Random } from "@blixard/std";
import { encodeMessage } from "@blixard/raft";
import type { Message } from "@blixard/raft";

import { fileSize, joinPath } from "../io.ts";
import type { DiskIo } from "../io.ts";
import { TRANSFER_GIVE_UP_TICKS, TRANSFER_RESEND_TICKS, TRANSFER_WINDOW } from "../limits.ts";
import { snapshotName } from "../snapshot/format.ts";
import type { SnapshotId } from "../snapshot/format.ts";
import { TRANSFER_CHUNK_BYTES } from "./envelope.ts";
import type { Envelope } from "./envelope.ts";

export type SnapshotMessage = Extract<Message, { kind: "snapshot" }>;

interface Session {
  readonly transfer: number;
  readonly path: string;
  message: SnapshotMessage;
  /** Unknown until the file was looked at. */
  sizeBytes: number | undefined;
  isAccepted: boolean;
  acked: number;
  sent: number;
  /** Changes when sending starts over: reads of before are then dropped. */
  round: number;
  idleTicks: number;
  quietTicks: number;
}

export interface SenderDeps {
  readonly io: DiskIo;
  readonly dir: string;
  readonly random: Random;
  readonly send: (to: PeerId, envelope: Envelope) => boolean;
  /** The transfer ended; the protocol is told. */
  readonly onEnd: (to: PeerId, isDone: boolean) => void;
}

export class SnapshotSender {
  readonly #deps: SenderDeps;
  readonly #sessions = new Map<PeerId, Session>();

  constructor(deps: SenderDeps) {
    this.#deps = deps;
  }

  /** True while a file must not be removed. */
  isSending(id: SnapshotId): boolean {
    for (const { message } of this.#sessions.values()) {
      if (message.meta.index === id.index && message.meta.term === id.term) return true;
    }
    return false;
  }

  start(message: SnapshotMessage): void {
    const { to, meta } = message;
    const current = this.#sessions.get(to);
    if (current?.message.meta.index === meta.index && current.message.meta.term === meta.term) {
      // The protocol asks again, perhaps in a later term: what has arrived stays.
      current.message = message;
      this.#offer(to, current);
      return;
    }
    const session: Session = {
      transfer: this.#deps.random.u32(),
      path: joinPath(this.#deps.dir, snapshotName(meta)),
      message,
      sizeBytes: undefined,
      isAccepted: false,
      acked: 0,
      sent: 0,
      round: 0,
      idleTicks: 0,
      quietTicks: 0,
    };
    this.#sessions.set(to, session);
    this.#deps.io.run(fileSize(session.path), (result) => {
      if (this.#sessions.get(to) !== session) return;
      if (!result.ok) {
        this.#end(to, false);
        return;
      }
      session.sizeBytes = result.value;
      this.#offer(to, session);
    });
  }

  #offer(to: PeerId, session: Session): void {
    if (session.sizeBytes === undefined) return;
    this.#deps.send(to, {
      kind: "snapshotOffer",
      transfer: session.transfer,
      sizeBytes: session.sizeBytes,
      message: encodeMessage(session.message),
    });
  }

  onAck(from: PeerId, ack: Extract<Envelope, { kind: "snapshotAck" }>): void {
    const session = this.#sessions.get(from);
    if (session === undefined || session.transfer !== ack.transfer) return;
    if (session.sizeBytes === undefined || ack.offset > session.sizeBytes) return;
    if (ack.state !== "partial") {
      this.#end(from, ack.state === "done");
      return;
    }
    session.isAccepted = true;
    if (ack.offset > session.acked) {
      session.acked = ack.offset;
      session.idleTicks = 0;
      session.quietTicks = 0;
    }
    session.sent = Math.max(session.sent, session.acked);
    this.#fill(from, session);
  }

  #fill(to: PeerId, session: Session): void {
    const size = session.sizeBytes ?? 0;
    const until = Math.min(size, session.acked + TRANSFER_WINDOW * TRANSFER_CHUNK_BYTES);
    while (session.sent < until) {
      const offset = session.sent;
      const length = Math.min(TRANSFER_CHUNK_BYTES, size - offset);
      session.sent += length;
      const { round } = session;
      const { io } = this.#deps;
      io.submit({ kind: "read", path: session.path, offset, length }, (result) => {
        if (this.#sessions.get(to) !== session || session.round !== round) return;
        if (!result.ok) {
          this.#end(to, false);
          return;
        }
        assert(result.value.kind === "bytes", "a read answers with bytes");
        const { bytes } = result.value;
        if (bytes.length === 0) return;
        const { transfer } = session;
        this.#deps.send(to, { kind: "snapshotChunk", transfer, offset, bytes });
      });
    }
  }

  onTick(): void {
    for (const [to, session] of this.#sessions) {
      session.idleTicks++;
      session.quietTicks++;
      if (session.quietTicks >= TRANSFER_GIVE_UP_TICKS) {
        this.#end(to, false);
      } else if (session.idleTicks >= TRANSFER_RESEND_TICKS) {
        session.idleTicks = 0;
        session.round++;
        session.sent = session.acked;
        // The offer asks for the receiver's offset; its answer sets the chunks going again.
        this.#offer(to, session);
        if (session.isAccepted) this.#fill(to, session);
      }
    }
  }

  #end(to: PeerId, isDone: boolean): void {
    if (this.#sessions.delete(to)) this.#deps.onEnd(to, isDone);
  }

  /** This node no longer leads. */
  clear(): void {
    this.#sessions.clear();
  }
}
