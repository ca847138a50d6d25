/** How typed commands, responses, queries and answers become bytes. */

import { AssertionError, err, ok, utf8, utf8Text } from "@blixard/std";
import type { Result } from "@blixard/std";

/** How values of one type become bytes and are read again, by this version and by later ones. */
export interface Codec<T> {
  /** The bytes of a value; they are not changed afterwards. */
  encode(value: T): Uint8Array;
  /**
   * Reads bytes from the log or the network: it validates and never throws. An error is a sentence
   * that says what is wrong.
   */
  decode(bytes: Uint8Array): Result<T, string>;
}

/** Bytes as they are. A decoded value is a view: copy it if you keep it beyond `apply`. */
export const bytesCodec: Codec<Uint8Array> = {
  encode: (value) => value,
  decode: (bytes) => ok(bytes),
};

/** UTF-8; what is not, is refused. */
export const textCodec: Codec<string> = {
  encode: (value) => utf8(value),
  decode: (bytes) => attempt(() => utf8Text(bytes)),
};

/**
 * JSON text. `validate` turns the parsed value into a T or throws with the reason: what another
 * version or a hostile client sent must not pass as a T.
 *
 * @example
 * ```ts
 * const codec = jsonCodec((value) => {
 *   if (typeof value !== "number") throw new TypeError("expected a number");
 *   return value;
 * });
 * console.log(codec.decode(codec.encode(5)));
 * ```
 */
export function jsonCodec<T>(validate: (value: unknown) => T): Codec<T> {
  return {
    encode: (value) => utf8(JSON.stringify(value)),
    decode: (bytes) => attempt(() => validate(JSON.parse(utf8Text(bytes)) as unknown)),
  };
}

/**
 * For what a cluster is never asked, such as answers over a door that is never opened: decoding is
 * an error, encoding throws. `what` is the plural that their messages name.
 */
export function noCodec<T>(what: string): Codec<T> {
  return {
    encode: () => {
      throw new AssertionError(`${what} are never encoded`);
    },
    decode: () => err(`${what} are never sent`),
  };
}

function attempt<T>(decode: () => T): Result<T, string> {
  try {
    return ok(decode());
  } catch (caught) {
    return err(caught instanceof Error ? caught.message : String(caught));
  }
}
