/** Branded identifiers, one alphabetical file: a `VmId` cannot be passed where a `NodeId` is meant. */

declare const brand: unique symbol;
/**
 * A plain value that the type checker tells apart from others by `Name`; at run time it is just the
 * value.
 */
export type Brand<T, Name extends string> = T & {
  /** For the type checker alone. */
  readonly [brand]: Name;
};

/** W3C trace-context trace id: 32 lower-case hex digits. Travels in every request and log command. */
export type CorrelationId = Brand<string, "CorrelationId">;
/** Generation of one VM start; a guest stamps its output with it. Increases by one per start. */
export type Epoch = Brand<number, "Epoch">;
/** Names one submitted I/O operation; its completion carries the same token. */
export type IoToken = Brand<number, "IoToken">;
/** Position in the replicated log; the first entry is 1. */
export type LogIndex = Brand<number, "LogIndex">;
/** First 32 hex digits of SHA-256 over a node's raw Ed25519 public key. */
export type NodeId = Brand<string, "NodeId">;
/** Small integer naming a Raft member; allocated once per joined node and never reused. */
export type PeerId = Brand<number, "PeerId">;
/** Raw 32-byte Ed25519 public key as 64 lower-case hex digits. */
export type PublicKeyHex = Brand<string, "PublicKeyHex">;
/** Raft term: it has one leader at most, and grows with every election. */
export type Term = Brand<number, "Term">;
/** 16 lower-case hex digits, allocated when a VM is created. */
export type VmId = Brand<string, "VmId">;

/** Gives a plain value its brand, as in `as<PeerId>(4)`; call it where the value was validated. */
export function as<T extends Brand<string, string> | Brand<number, string>>(
  value: T extends string ? string : number,
): T {
  // Safe: a brand exists in the type system only; the run-time value is unchanged.
  return value as unknown as T;
}
