/**
 * Receives snapshot files: chunks in order into a temporary file, then sync, verification, rename. Only
 * then is the protocol told. Memory holds at most a window of chunks.
 */

import type { DiskError, PeerId, Result } from "@blixard/std";
import { decodeMessage } from "@blixard/raft";

import { joinPath, perform, removeFile } from "../io.ts";
import type { DiskIo, IoTask } from "../io.ts";
import { TRANSFER_GIVE_UP_TICKS, TRANSFER_WINDOW } from "../limits.ts";
import { snapshotName } from "../snapshot/format.ts";
import type { SnapshotId } from "../snapshot/format.ts";
import { publish, TEMPORARY_PREFIX, verifiedId } from "../snapshot/store.ts";
import type { Envelope } from "./envelope.ts";
import type { SnapshotMessage } from "./sender.ts";

interface Session {
  readonly path: string;
  readonly sizeBytes: number;
  transfer: number;
  message: SnapshotMessage;
  state: "opening" | "receiving" | "closing" | "broken";
  /** Bytes written, in order. */
  received: number;
  /** Bytes written or being written. */
  expected: number;
  quietTicks: number;
}

export interface ReceiverDeps {
  readonly io: DiskIo;
  readonly dir: string;
  readonly send: (to: PeerId, envelope: Envelope) => boolean;
  readonly hasFile: (id: SnapshotId) => boolean;
  /** The file is whole, verified and durable; the message may now be stepped. */
  readonly onReceived: (message: SnapshotMessage) => void;
  readonly onFatal: (error: DiskError) => void;
}

export class SnapshotReceiver {
  readonly #deps: ReceiverDeps;
  readonly #sessions = new Map<PeerId, Session>();

  constructor(deps: ReceiverDeps) {
    this.#deps = deps;
  }

  onOffer(from: PeerId, offer: Extract<Envelope, { kind: "snapshotOffer" }>): void {
    const decoded = decodeMessage(offer.message);
    if (!decoded.ok || decoded.value.kind !== "snapshot" || decoded.value.from !== from) return;
    const message = decoded.value;
    const { meta } = message;
    const current = this.#sessions.get(from);
    if (current !== undefined && isSame(current, message, offer.sizeBytes)) {
      // The same file, perhaps offered by a later life of the sender: go on where we are.
      current.message = message;
      current.transfer = offer.transfer;
      if (current.state === "receiving") this.#ack(from, current, "partial");
      return;
    }
    if (this.#deps.hasFile(meta)) {
      const { transfer, sizeBytes } = offer;
      this.#deps.onReceived(message);
      this.#deps.send(from, { kind: "snapshotAck", transfer, offset: sizeBytes, state: "done" });
      return;
    }
    // A file being finished is not disturbed; the offer comes again.
    if (current?.state === "opening" || current?.state === "closing") return;
    const name = `${TEMPORARY_PREFIX}${from}-${snapshotName(meta)}`;
    const session: Session = {
      path: joinPath(this.#deps.dir, name),
      sizeBytes: offer.sizeBytes,
      transfer: offer.transfer,
      message,
      state: "opening",
      received: 0,
      expected: 0,
      quietTicks: 0,
    };
    this.#sessions.set(from, session);
    this.#deps.io.run(openTemporary(session.path, current?.path), (result) => {
      if (!this.#isFine(from, session, result)) return;
      session.state = "receiving";
      this.#ack(from, session, "partial");
    });
  }

  onChunk(from: PeerId, chunk: Extract<Envelope, { kind: "snapshotChunk" }>): void {
    const session = this.#sessions.get(from);
    if (session?.state !== "receiving" || session.transfer !== chunk.transfer) return;
    const { offset, bytes } = chunk;
    const end = offset + bytes.length;
    const window = 2 * TRANSFER_WINDOW * bytes.length;
    const isNext = offset === session.expected && end <= session.sizeBytes;
    if (!isNext || end - session.received > window) return;
    session.expected = end;
    session.quietTicks = 0;
    const op = { kind: "write", path: session.path, offset, data: bytes } as const;
    this.#deps.io.submit(op, (result) => {
      if (!this.#isFine(from, session, result)) return;
      session.received = end;
      if (end < session.sizeBytes) this.#ack(from, session, "partial");
      else this.#close(from, session);
    });
  }

  #close(from: PeerId, session: Session): void {
    session.state = "closing";
    this.#deps.io.run(finish(this.#deps.dir, session), (result) => {
      if (!this.#isFine(from, session, result)) return;
      this.#sessions.delete(from);
      if (result.ok && result.value) {
        this.#deps.onReceived(session.message);
        this.#ack(from, session, "done");
      } else {
        this.#ack(from, session, "refused");
      }
    });
  }

  /** A disk without room ends the transfer, the leader tries again later; other failures are fatal. */
  #isFine(from: PeerId, session: Session, result: Result<unknown, DiskError>): boolean {
    if (session.state === "broken") return false;
    if (result.ok) return true;
    session.state = "broken";
    if (result.error.code !== "NoSpace") {
      this.#deps.onFatal(result.error);
      return false;
    }
    this.#deps.io.run(removeFile(session.path), (removed) => {
      if (this.#sessions.get(from) === session) this.#sessions.delete(from);
      this.#ack(from, session, "refused");
      if (!removed.ok) this.#deps.onFatal(removed.error);
    });
    return false;
  }

  #ack(to: PeerId, session: Session, state: "partial" | "done" | "refused"): void {
    const { transfer, received } = session;
    this.#deps.send(to, { kind: "snapshotAck", transfer, offset: received, state });
  }

  onTick(): void {
    for (const [from, session] of this.#sessions) {
      session.quietTicks++;
      if (session.state !== "receiving" || session.quietTicks < TRANSFER_GIVE_UP_TICKS) continue;
      session.state = "broken";
      this.#sessions.delete(from);
      this.#deps.io.run(removeFile(session.path), (removed) => {
        if (!removed.ok) this.#deps.onFatal(removed.error);
      });
    }
  }
}

function isSame(session: Session, message: SnapshotMessage, sizeBytes: number): boolean {
  const { meta } = session.message;
  if (session.state === "broken" || session.sizeBytes !== sizeBytes) return false;
  return meta.index === message.meta.index && meta.term === message.meta.term;
}

function* openTemporary(path: string, previous: string | undefined): IoTask<void> {
  if (previous !== undefined) yield* removeFile(previous);
  yield* removeFile(path);
  yield* perform({ kind: "create", path, sizeBytes: 0 });
}

/** False when what arrived is not the snapshot that was announced. */
function* finish(dir: string, session: Session): IoTask<boolean> {
  const { path, message } = session;
  const { meta } = message;
  yield* perform({ kind: "sync", path });
  const found = yield* verifiedId(path);
  const isRight = found?.index === meta.index && found.term === meta.term;
  if (isRight) yield* publish(dir, path, meta);
  else yield* removeFile(path);
  return isRight;
}
