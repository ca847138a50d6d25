/**
 * The closed union of failures that reach a user, with its one mapping to HTTP status, gRPC status and
 * process exit code (docs/errors.md lists them). Rooms below the doors return `Result`s with these.
 */

/** What each code carries. Adding a code here makes `ERRORS` below fail to type-check until mapped. */
export interface ErrorData {
  AlreadyExists: { kind: string; name: string };
  Ambiguous: { kind: string; name: string; matches: readonly string[] };
  Compacted: { requested: number; oldest: number };
  Conflict: { reason: string };
  Corrupt: { what: string; where: string };
  DiskFull: { path: string };
  DriverFailed: { driver: string; reason: string };
  GuestUnreachable: { vm: string; reason: string };
  Internal: { reason: string };
  InvalidArgument: { field: string; reason: string };
  NoCapacity: { reason: string; nodes: readonly { node: string; why: string }[] };
  NoDriver: { tried: readonly { driver: string; why: string }[] };
  NoLeader: { reason: string };
  NotFound: { kind: string; name: string };
  NotRunning: { vm: string; state: string };
  OutcomeUnknown: { operation: string; reason: string };
  PortInUse: { address: string };
  TooLarge: { what: string; limit: number; actual: number };
  Unauthorized: { reason: string };
  Unavailable: { reason: string };
  Unsupported: { what: string };
  TimedOut: { operation: string; timeoutMs: number };
}

export type ErrorCode = keyof ErrorData;

interface Mapping {
  readonly http: number;
  /** Canonical gRPC status number. */
  readonly grpc: number;
  /** Process exit code of the CLI; 0 and 1 are left to success and unclassified failure, 2 to usage. */
  readonly exit: number;
}

export const ERRORS: { readonly [C in ErrorCode]: Mapping } = {
  AlreadyExists: { http: 409, grpc: 6, exit: 4 },
  Ambiguous: { http: 409, grpc: 9, exit: 4 },
  Compacted: { http: 410, grpc: 11, exit: 4 },
  Conflict: { http: 409, grpc: 10, exit: 4 },
  Corrupt: { http: 500, grpc: 15, exit: 10 },
  DiskFull: { http: 507, grpc: 8, exit: 8 },
  DriverFailed: { http: 502, grpc: 13, exit: 9 },
  GuestUnreachable: { http: 504, grpc: 14, exit: 9 },
  Internal: { http: 500, grpc: 13, exit: 1 },
  InvalidArgument: { http: 400, grpc: 3, exit: 2 },
  NoCapacity: { http: 409, grpc: 8, exit: 8 },
  NoDriver: { http: 501, grpc: 12, exit: 9 },
  NoLeader: { http: 503, grpc: 14, exit: 7 },
  NotFound: { http: 404, grpc: 5, exit: 3 },
  NotRunning: { http: 409, grpc: 9, exit: 5 },
  OutcomeUnknown: { http: 504, grpc: 2, exit: 7 },
  PortInUse: { http: 409, grpc: 6, exit: 4 },
  TooLarge: { http: 413, grpc: 11, exit: 2 },
  Unauthorized: { http: 401, grpc: 16, exit: 6 },
  Unavailable: { http: 503, grpc: 14, exit: 7 },
  Unsupported: { http: 501, grpc: 12, exit: 9 },
  TimedOut: { http: 504, grpc: 4, exit: 7 },
};

/** A failure as plain data: what is stored, sent and compared. */
export type Failure = { [C in ErrorCode]: FailureOf<C> }[ErrorCode];
export interface FailureOf<C extends ErrorCode> {
  readonly code: C;
  readonly data: ErrorData[C];
  /** One sentence for people. */
  readonly message: string;
  /** What to do next, naming the command where there is one. */
  readonly hint?: string;
}

export function failure<C extends ErrorCode>(
  code: C,
  data: ErrorData[C],
  message: string,
  hint?: string,
): FailureOf<C> {
  return hint === undefined ? { code, data, message } : { code, data, message, hint };
}

/** A `Failure` on its way through code that throws; `context` is the chain of what was being done. */
export class BlixardError extends Error {
  override readonly name = "BlixardError";
  readonly failure: Failure;
  readonly context: readonly string[];

  constructor(failed: Failure, options: { cause?: unknown; context?: readonly string[] } = {}) {
    super(failed.message, options.cause === undefined ? {} : { cause: options.cause });
    this.failure = failed;
    this.context = options.context ?? [];
  }

  get code(): ErrorCode {
    return this.failure.code;
  }

  get exitCode(): number {
    return ERRORS[this.failure.code].exit;
  }

  get httpStatus(): number {
    return ERRORS[this.failure.code].http;
  }
}

/** Throws the failure of `C`: the short form at the doors. */
export function fail<C extends ErrorCode>(
  code: C,
  data: ErrorData[C],
  message: string,
  hint?: string,
): never {
  // Safe: FailureOf<C> for one C is a member of the union that Failure enumerates.
  throw new BlixardError(failure(code, data, message, hint) as unknown as Failure);
}

/** Wraps anything caught into a `BlixardError`, adding what was being done to the context chain. */
export function toBlixardError(caught: unknown, doing?: string): BlixardError {
  const context = doing === undefined ? [] : [doing];
  if (caught instanceof BlixardError) {
    if (doing === undefined) return caught;
    return new BlixardError(caught.failure, {
      cause: caught.cause,
      context: [...context, ...caught.context],
    });
  }
  const reason = caught instanceof Error ? caught.message : String(caught);
  return new BlixardError(failure("Internal", { reason }, reason), { cause: caught, context });
}

/** True for a value that came from outside and has the shape of a `Failure`. */
export function isFailure(value: unknown): value is Failure {
  return (
    typeof value === "object" &&
    value !== null &&
    "code" in value &&
    typeof value.code === "string" &&
    Object.hasOwn(ERRORS, value.code) &&
    "message" in value &&
    typeof value.message === "string" &&
    "data" in value &&
    typeof value.data === "object"
  );
}
