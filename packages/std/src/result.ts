/** Expected outcomes as values. `Result` is what a total function returns; a throw is a broken invariant. */

/** Either outcome, told apart by `ok`. */
export type Result<T, E> = Ok<T> | Err<E>;
/** It succeeded. */
export interface Ok<T> {
  /** Tells it apart from an {@link Err}. */
  readonly ok: true;
  /** What came of it. */
  readonly value: T;
}
/** It did not succeed. */
export interface Err<E> {
  /** Tells it apart from an {@link Ok}. */
  readonly ok: false;
  /** Why. */
  readonly error: E;
}

/** `{ ok: true, value }`; `ok(undefined)` where there is nothing to tell. */
export function ok<T>(value: T): Ok<T> {
  return { ok: true, value };
}

/** `{ ok: false, error }` */
export function err<E>(error: E): Err<E> {
  return { ok: false, error };
}
