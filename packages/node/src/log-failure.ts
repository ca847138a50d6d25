/** What a user is told when the log cannot go on: where it is, what is wrong, and what to do. */

import type { RaftNodeEvent } from "@blixard/raft-node";
import { type Failure, failure } from "@blixard/std";

/** `where` is the folder of the log. */
export function logFailure(
  { code, reason }: Extract<RaftNodeEvent, { kind: "fatal" }>,
  where: string,
): Failure {
  const message = `Cannot use the log in ${where}: ${reason}`;
  switch (code) {
    case "DiskFull":
      return failure(
        "DiskFull",
        { path: where },
        message,
        "free space under the data folder, then run `blixard node start` again",
      );
    case "Corrupt":
      return failure(
        "Corrupt",
        { what: "log", where },
        message,
        "restore the folder from a backup; where other nodes live, remove this one there with " +
          "`blixard cluster rm` and join it anew",
      );
    case "Io":
      return failure(
        "Internal",
        { reason },
        message,
        "see what the system's log says of this disk, then run `blixard node start` again",
      );
    default:
      return code satisfies never;
  }
}
