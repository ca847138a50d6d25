/**
 * The closed union of failures that reach a user, with its one mapping to HTTP status, gRPC status
 * and process exit code (docs/exit-codes.md lists them). Rooms below the doors return `Result`s
 * with these.
 */

// Adding a code here makes `ERRORS` below fail to type-check until it is mapped.
/** The codes, and what each carries. */
export interface ErrorData {
  /** Something of that kind has the name already. */
  AlreadyExists: {
    /** What it is: "vm", "node", "token" ... */
    kind: string;
    /** As it was given. */
    name: string;
  };
  /** More than one thing of that kind is meant by the name. */
  Ambiguous: {
    /** What it is: "vm", "node", "token" ... */
    kind: string;
    /** As it was given. */
    name: string;
    /** Names or ids of all that are meant. */
    matches: readonly string[];
  };
  /** What was asked for lies before the oldest that is kept. */
  Compacted: {
    /** Revision or index asked for. */
    requested: number;
    /** The first that is still kept. */
    oldest: number;
  };
  /** Somebody else is in the way: a folder in use, a state that does not allow it. */
  Conflict: {
    /** In words for people. */
    reason: string;
  };
  /** Stored data is damaged. */
  Corrupt: {
    /** What is damaged. */
    what: string;
    /** The file, or the place in it. */
    where: string;
  };
  /** No room is left at the path. */
  DiskFull: {
    /** Of the file or folder. */
    path: string;
  };
  /** A driver of VMs could not do what it was told. */
  DriverFailed: {
    /** Its name. */
    driver: string;
    /** In words for people. */
    reason: string;
  };
  /** The agent in the VM does not answer. */
  GuestUnreachable: {
    /** Name or id of the VM. */
    vm: string;
    /** In words for people. */
    reason: string;
  };
  /** Nothing that was foreseen: a bug. */
  Internal: {
    /** In words for people. */
    reason: string;
  };
  /** A value that was given is wrong; `field` names it. */
  InvalidArgument: {
    /** Its name, with dots where it is nested. */
    field: string;
    /** In words for people. */
    reason: string;
  };
  /** No node has room, and why each has not. */
  NoCapacity: {
    /** In words for people. */
    reason: string;
    /** All nodes that were considered. */
    nodes: readonly {
      /** Name or id of the node. */
      node: string;
      /** In words for people. */
      why: string;
    }[];
  };
  /** No driver works on this machine, and why each does not. */
  NoDriver: {
    /** All drivers there are. */
    tried: readonly {
      /** Its name. */
      driver: string;
      /** In words for people. */
      why: string;
    }[];
  };
  /** The cluster has no leader now. Nothing happened. */
  NoLeader: {
    /** In words for people. */
    reason: string;
  };
  /** Nothing of that kind has the name. */
  NotFound: {
    /** What it is: "vm", "node", "token" ... */
    kind: string;
    /** As it was given. */
    name: string;
  };
  /** The VM is in another state. */
  NotRunning: {
    /** Name or id of the VM. */
    vm: string;
    /** What it is doing instead. */
    state: string;
  };
  /** It may have happened, or may happen yet. */
  OutcomeUnknown: {
    /** What was tried. */
    operation: string;
    /** In words for people. */
    reason: string;
  };
  /** Something else listens at the address. */
  PortInUse: {
    /** host:port or path. */
    address: string;
  };
  /** `actual` is more than `limit`. */
  TooLarge: {
    /** What is too large. */
    what: string;
    /** What is allowed. */
    limit: number;
    /** What it was. */
    actual: number;
  };
  /** The token does not allow it. */
  Unauthorized: {
    /** In words for people. */
    reason: string;
  };
  /** Not reached, or not able to serve now. */
  Unavailable: {
    /** In words for people. */
    reason: string;
  };
  /** This is not there, on this machine or in this version. */
  Unsupported: {
    /** What is not there. */
    what: string;
  };
  /** It took longer than `timeoutMs`. */
  TimedOut: {
    /** What was tried. */
    operation: string;
    /** How long it was given. */
    timeoutMs: number;
  };
}

/** The name of a failure, stable across versions. */
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
/** A failure of one code. */
export interface FailureOf<C extends ErrorCode> {
  /** Tells what it is. */
  readonly code: C;
  /** What the code carries. */
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

/** A {@link Failure} on its way through code that throws. */
export class BlixardError extends Error {
  /** Always "BlixardError". */
  override readonly name = "BlixardError";
  /** What it is. */
  readonly failure: Failure;
  /** The chain of what was being done, outermost first. */
  readonly context: readonly string[];

  /** The message is the failure's. */
  constructor(failed: Failure, options: { cause?: unknown; context?: readonly string[] } = {}) {
    super(failed.message, options.cause === undefined ? {} : { cause: options.cause });
    this.failure = failed;
    this.context = options.context ?? [];
  }

  /** The failure's. */
  get code(): ErrorCode {
    return this.failure.code;
  }

  /** The exit code of a command that ends with it: docs/exit-codes.md. */
  get exitCode(): number {
    return ERRORS[this.failure.code].exit;
  }

  /** The HTTP status of an answer that tells it. */
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
