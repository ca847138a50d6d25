/**
 * Client sessions, part of the replicated state (Raft thesis, section 6.3): who asked for what, and
 * what was answered, so that a command sent again is answered again and not applied again. Bounded in
 * sessions, in answers kept for one, and in bytes; all three by rules that depend on the log alone, so
 * that every member forgets the same.
 */

import { ByteWriter, decodeWith, err, ok } from "@blixard/std";
import type { Result } from "@blixard/std";

import { SESSION_ANSWER_BYTES_MAX, SESSION_WINDOW, SESSIONS_MAX } from "../limits.ts";

/** An answer as it is kept: encoded response, or why `apply` failed. */
export interface Kept {
  readonly failed: boolean;
  readonly bytes: Uint8Array;
}

interface Session {
  /** Answers of sequences up to here were received and forgotten. */
  acknowledged: number;
  readonly answers: Map<number, Kept>;
  bytes: number;
}

export type Admission =
  | { readonly kind: "new" }
  | { readonly kind: "repeated"; readonly kept: Kept }
  /** Unknown session, or a sequence whose answer was acknowledged long ago. */
  | { readonly kind: "expired" }
  | { readonly kind: "window" };

/** Version of the encoded table. */
const VERSION = 1;
const MAGIC = 0x53534c42; // "BLSS" in file order

export class Sessions {
  /** Least recently used first. */
  #sessions = new Map<number, Session>();
  #bytes = 0;

  get size(): number {
    return this.#sessions.size;
  }

  /** `id` is the index of the entry that opens it: unique without a counter of its own. */
  open(id: number): void {
    this.#sessions.set(id, { acknowledged: 0, answers: new Map(), bytes: 0 });
    if (this.#sessions.size > SESSIONS_MAX) this.#forgetOldest();
  }

  close(id: number): boolean {
    const session = this.#sessions.get(id);
    if (session === undefined) return false;
    this.#bytes -= session.bytes;
    return this.#sessions.delete(id);
  }

  /** Notes what the client has received and tells whether the command is to be applied. */
  admit(id: number, sequence: number, acknowledged: number): Admission {
    const session = this.#sessions.get(id);
    if (session === undefined) return { kind: "expired" };
    this.#sessions.delete(id);
    this.#sessions.set(id, session);
    this.#acknowledge(session, acknowledged);
    const kept = session.answers.get(sequence);
    if (kept !== undefined) return { kind: "repeated", kept };
    if (sequence <= session.acknowledged) return { kind: "expired" };
    if (sequence > session.acknowledged + SESSION_WINDOW) return { kind: "window" };
    return { kind: "new" };
  }

  keep(id: number, sequence: number, kept: Kept): void {
    const session = this.#sessions.get(id);
    if (session === undefined) return;
    session.answers.set(sequence, kept);
    session.bytes += kept.bytes.length;
    this.#bytes += kept.bytes.length;
    while (this.#bytes > SESSION_ANSWER_BYTES_MAX && this.#sessions.size > 1) this.#forgetOldest();
  }

  #acknowledge(session: Session, upTo: number): void {
    if (upTo <= session.acknowledged) return;
    session.acknowledged = upTo;
    for (const [sequence, kept] of session.answers) {
      if (sequence > upTo) continue;
      session.answers.delete(sequence);
      session.bytes -= kept.bytes.length;
      this.#bytes -= kept.bytes.length;
    }
  }

  #forgetOldest(): void {
    const [oldest] = this.#sessions.keys();
    if (oldest !== undefined) this.close(oldest);
  }

  /** magic u32, version u8, count u32, each: id, acknowledged, answers: sequence, failed, bytes. */
  encode(): Uint8Array {
    const writer = new ByteWriter(1024);
    writer.u32(MAGIC).u8(VERSION).u32(this.#sessions.size);
    for (const [id, { acknowledged, answers }] of this.#sessions) {
      writer.u64(id).u64(acknowledged).u32(answers.size);
      for (const [sequence, { failed, bytes }] of answers) {
        writer
          .u64(sequence)
          .u8(failed ? 1 : 0)
          .bytes(bytes);
      }
    }
    return writer.finish();
  }

  static decode(bytes: Uint8Array): Result<Sessions, string> {
    const sessions = new Sessions();
    const read = decodeWith(bytes, (reader) => {
      if (reader.u32() !== MAGIC) throw new RangeError("it does not begin with the sessions");
      const version = reader.u8();
      if (version !== VERSION) throw new RangeError(`sessions of version ${version}`);
      const count = reader.u32();
      if (count > SESSIONS_MAX) throw new RangeError(`${count} sessions`);
      for (let i = 0; i < count; i++) {
        const id = reader.u64();
        sessions.open(id);
        sessions.admit(id, 0, reader.u64());
        const answers = reader.u32();
        if (answers > SESSION_WINDOW) throw new RangeError(`${answers} answers of one session`);
        for (let k = 0; k < answers; k++) {
          const [sequence, flag] = [reader.u64(), reader.u8()];
          if (flag > 1) throw new RangeError(`flag ${flag}`);
          sessions.keep(id, sequence, { failed: flag === 1, bytes: reader.bytes().slice() });
        }
      }
    });
    return read.ok ? ok(sessions) : err(read.error);
  }
}
