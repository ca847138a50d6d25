/** How typed commands, responses, queries and answers become bytes. */

import { AssertionError, err, ok, utf8, utf8Text } from "@blixard/std";
import type { Result } from "@blixard/std";

/** `decode` is given bytes from the log or the network: it validates and never throws. */
export interface Codec<T> {
  encode(value: T): Uint8Array;
  decode(bytes: Uint8Array): Result<T, string>;
}

/** Bytes as they are. A decoded value is a view: copy it if you keep it beyond `apply`. */
export const bytesCodec: Codec<Uint8Array> = {
  encode: (value) => value,
  decode: (bytes) => ok(bytes),
};

export const textCodec: Codec<string> = {
  encode: (value) => utf8(value),
  decode: (bytes) => attempt(() => utf8Text(bytes)),
};

/**
 * JSON text. `validate` turns the parsed value into a T or throws with the reason: what another
 * version or a hostile client sent must not pass as a T.
 */
export function jsonCodec<T>(validate: (value: unknown) => T): Codec<T> {
  return {
    encode: (value) => utf8(JSON.stringify(value)),
    decode: (bytes) => attempt(() => validate(JSON.parse(utf8Text(bytes)) as unknown)),
  };
}

/** For what a cluster is never asked, such as answers over a door that is never opened. */
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
