/** Failures of guest operations: Linux errno numbers, as agents send them, to the house's error codes. */

import { BlixardError, failure, type Failure } from "@blixard/std";

/** Linux errno values that mean something more precise than "failed". */
export const ERRNO = {
  EPERM: 1,
  ENOENT: 2,
  ESRCH: 3,
  E2BIG: 7,
  EAGAIN: 11,
  EACCES: 13,
  EEXIST: 17,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  EFBIG: 27,
  ENOSPC: 28,
  EROFS: 30,
  ENAMETOOLONG: 36,
  EPROTO: 71,
  EOPNOTSUPP: 95,
  EALREADY: 114,
} as const;

function failureOf(errno: number, subject: string, reason: string, message: string): Failure {
  switch (errno) {
    case ERRNO.ENOENT:
      return failure("NotFound", { kind: "path in the guest", name: subject }, message);
    case ERRNO.ENOSPC:
      return failure("DiskFull", { path: subject }, message);
    case ERRNO.EAGAIN:
      return failure("Unavailable", { reason }, message, "close other sessions and try again");
    case ERRNO.EALREADY:
      return failure("Conflict", { reason }, message);
    case ERRNO.EOPNOTSUPP:
      return failure("Unsupported", { what: reason }, message);
    case ERRNO.EPERM:
    case ERRNO.E2BIG:
    case ERRNO.EACCES:
    case ERRNO.EEXIST:
    case ERRNO.ENOTDIR:
    case ERRNO.EISDIR:
    case ERRNO.EINVAL:
    case ERRNO.EFBIG:
    case ERRNO.EROFS:
    case ERRNO.ENAMETOOLONG:
      return failure("InvalidArgument", { field: subject, reason }, message);
    default:
      return failure("DriverFailed", { driver: "agent", reason }, message);
  }
}

/** `subject` is the path or program the operation was about; `text` comes from the guest. */
export function guestError(
  operation: string,
  subject: string,
  errno: number,
  text: string,
): BlixardError {
  const reason = `${text} (errno ${errno})`;
  return new BlixardError(
    failureOf(errno, subject, reason, `Cannot ${operation} "${subject}" in the guest: ${text}`),
  );
}

export function unreachableGuest(vm: string, reason: string): BlixardError {
  return new BlixardError(
    failure(
      "GuestUnreachable",
      { vm, reason },
      `The agent of VM "${vm}" cannot be reached: ${reason}`,
      `see the guest's console with: blixard vm logs ${vm}`,
    ),
  );
}
