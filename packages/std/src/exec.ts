/** A command run inside a guest, as every layer between the terminal and the agent sees it. */

import type { TraceContext } from "./trace.ts";

export interface ExecRequest {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Allocates a pseudo-terminal of this size; stdout and stderr are then one stream. */
  readonly pty?: { readonly rows: number; readonly cols: number };
  readonly trace?: TraceContext;
}

export type ExecEvent =
  | { readonly kind: "stdout"; readonly data: Uint8Array }
  | { readonly kind: "stderr"; readonly data: Uint8Array }
  /** `code` is 128 + signal number when a signal ended it. Last event. */
  | { readonly kind: "exit"; readonly code: number };

export interface ExecSession {
  /** Ends after the "exit" event; throws BlixardError (GuestUnreachable) when the VM goes away. */
  readonly events: AsyncIterable<ExecEvent>;
  /** Resolves when the guest has room again: callers that wait are bounded. */
  write(data: Uint8Array): Promise<void>;
  closeStdin(): void;
  /** Signal number, as 2 for SIGINT. */
  signal(number: number): void;
  resize(rows: number, cols: number): void;
  /** Ends the session; the process gets SIGHUP, then SIGKILL. */
  close(): void;
}
