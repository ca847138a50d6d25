/**
 * What a person types on a console that takes every key, at the beginning of a line, as in ssh(1): `~.` to
 * leave, `~?` for what there is, `~~` for a tilde.
 */

import { Transform, type TransformCallback } from "node:stream";

const TILDE = 0x7e;
const DOT = 0x2e;
const QUESTION = 0x3f;
const NEWLINES = [0x0a, 0x0d];

export class EscapeFilter extends Transform {
  readonly #active: boolean;
  readonly #onLeave: () => void;
  readonly #onHelp: () => void;
  #atLineStart = true;
  #tilde = false;

  /** Not `active`, everything passes: what comes from a file is no typing. */
  constructor(active: boolean, onLeave: () => void, onHelp: () => void = () => undefined) {
    super();
    this.#active = active;
    this.#onLeave = onLeave;
    this.#onHelp = onHelp;
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    done(null, this.#active ? this.#filter(chunk) : chunk);
  }

  /** A tilde is held back until the next key; a second one stands for it. */
  #filter(chunk: Buffer): Buffer {
    const passed: number[] = [];
    for (const byte of chunk) {
      if (this.#tilde) {
        this.#tilde = false;
        if (byte === DOT) {
          this.#onLeave();
          break;
        }
        if (byte === QUESTION) {
          // The line is as empty as before: another one may follow at once.
          this.#atLineStart = true;
          this.#onHelp();
          continue;
        }
        passed.push(TILDE);
        if (byte === TILDE) continue;
      } else if (this.#atLineStart && byte === TILDE) {
        this.#tilde = true;
        this.#atLineStart = false;
        continue;
      }
      passed.push(byte);
      this.#atLineStart = NEWLINES.includes(byte);
    }
    return Buffer.from(passed);
  }
}
