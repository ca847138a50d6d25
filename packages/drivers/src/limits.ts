/** Every limit of this room, once, with its unit; the relations between them are asserted below. */

import { assert } from "@blixard/std";

export const LIMITS = {
  /** sockaddr_un.sun_path holds 108 bytes with its terminating zero (unix(7)). */
  socketPathBytes: 107,

  /** One segment of the console log; two are kept, so at most twice this on disk for each VM. */
  consoleSegmentBytes: 8 * 1024 * 1024,
  consoleSegments: 2,
  /** Payload of one console record: what one read of the serial line may bring. */
  consoleRecordBytes: 64 * 1024,
  /** Console bytes read and not yet on disk; the serial line is paused above it. */
  consoleQueueBytes: 1024 * 1024,
  /** A console line longer than this is cut in pieces by the line reader. */
  consoleLineBytes: 64 * 1024,

  /** One control frame between daemon and supervisor. */
  frameBytes: 64 * 1024,
  /** Bytes of control frames waiting for a daemon; one that does not read them is cut off. */
  clientQueueBytes: 1024 * 1024,
  /** Connections of one supervisor; more are refused. */
  connections: 8,
  /** From connecting to the preamble. */
  preambleMs: 5_000,
  /** instance.json and the supervisor's configuration. */
  stateBytes: 1024 * 1024,

  vcpus: 255,
  memoryBytesMin: 64 * 1024 * 1024,
  /** More than any host has. */
  memoryBytesMax: 16 * 1024 ** 4,
  /** An embedded machine's memory shares 2 GiB of address space with its tables. */
  embeddedMemoryBytesMax: 1792 * 1024 * 1024,
  /** Of a guest under the interpreter between two looks at the deadline and at what came in: some 4 ms. */
  embeddedSliceInstructions: 1_000_000,
  /** A guest that sleeps longer is looked at in between; setTimeout counts no further than 2^31 ms. */
  embeddedSleepMs: 60_000,
  /** Bytes of host input that wait for room in a guest's port. */
  embeddedInputBytes: 64 * 1024,
  /** Bytes of guest output that wait for their reader; above it the guest is held. */
  embeddedOutputBytes: 8 * 1024 * 1024,
  /** Added to the daemon's own nice level: consensus and leases come before busy guests. */
  guestNice: 5,
  /** The least share of a core that a guest may be given, in thousandths: below it none boots. */
  cpuMillicoresMin: 10,
  cpuMillicoresMax: 64_000,
  /** V8's heap in an embedded machine's process; the guest's memory lies outside. */
  embeddedHeapBytes: 256 * 1024 * 1024,
  /** What such a process has resident beside the guest's RAM: its tables, code and heap, and Node. */
  embeddedOverheadBytes: 256 * 1024 * 1024,
  /** Groups of counters, and counters of a group. */
  statsNames: 128,
  /** A machine's answer to a question about its statistics; it looks between two slices. */
  statsMs: 5_000,
  /** Questions about statistics that wait for their answers, of one supervisor. */
  statsWaiting: 64,
  /** One line between a supervisor and its embedded machine. */
  embeddedLineBytes: 1024 * 1024,
  /** Unpacked kernel or initrd of an embedded machine. */
  embeddedImageBytes: 256 * 1024 * 1024,
  /** Slots of the board that the console and the random numbers leave. */
  embeddedDisks: 6,
  /** Of a disk with an overlay, whose bits are held in memory: at most 64 MiB of them. */
  overlayDiskBytesMax: 256 * 1024 * 1024 * 1024,
  /** From spawning an embedded machine to its word that the guest lies in memory. */
  embeddedReadyMs: 15_000,
  /** Bytes of one line of QMP. */
  qmpLineBytes: 1024 * 1024,

  /** How often a supervisor looks at its clocks beside the exact timer of the deadline. */
  clockCheckMs: 100,
  /** Boot time may run ahead of monotonic time by this much before it counts as a suspend;
   * /proc/uptime has a resolution of 10 ms. */
  suspendToleranceMs: 500,

  /** From spawning a supervisor to its word that the backend runs. */
  supervisorStartMs: 20_000,
  /** From `cont` to the agent's hello: emulated guests on a busy machine boot slowly. */
  helloMs: 120_000,
  /** From the end of the agent's line to the machine's own, when both have one cause. */
  lastWordsMs: 1_000,
  /** Node's compile cache for supervisors and machines: a release takes some 5 MiB of it. */
  compileCacheBytes: 128 * 1024 * 1024,
  compileCacheUnusedMs: 30 * 24 * 60 * 60 * 1000,
  /** Files of compiled regions, of 4 MiB at most: one for each size of RAM, of this release and those before. */
  regionFilesMax: 16,
  /** How often a running guest's agent is asked how it is, and how long it may take to say so. */
  healthEveryMs: 5_000,
  healthReplyMs: 5_000,
  /** From its last answer until a guest counts as unresponsive. */
  healthUnansweredMs: 15_000,
  /** Before greeting an agent again that broke off. */
  agentBackoffMs: 1_000,
  /** An answer of QMP. */
  qmpMs: 10_000,
  /** An answer of a supervisor on its socket; after it, the supervisor counts as stuck. */
  supervisorReplyMs: 5_000,
  /** From the order to kill to the machine's end; then the supervisor is killed with it. */
  killReplyMs: 2_000,
  /** From SIGKILL to the process being gone. */
  reapMs: 10_000,
  /** Between two looks at whether a process is gone. */
  reapPollMs: 10,
  /** From a machine's exit to the end of reading what it left in its sockets. */
  drainMs: 3_000,
  /** For a probe guest that a working accelerator ends in under a tenth of a second. */
  probeGuestMs: 3_000,
  versionMs: 5_000,
  /** A follower of the console looks at the file at least this often. */
  followPollMs: 500,
} as const;

assert(LIMITS.memoryBytesMin < LIMITS.embeddedMemoryBytesMax, "an embedded machine fits");
assert(LIMITS.embeddedReadyMs < LIMITS.supervisorStartMs, "a late machine is told as such");
assert(
  2 * (LIMITS.healthEveryMs + LIMITS.healthReplyMs) >= LIMITS.healthUnansweredMs,
  "two questions without an answer take long enough",
);
assert(LIMITS.frameBytes < LIMITS.clientQueueBytes, "the queue holds a frame");
assert(LIMITS.consoleRecordBytes < LIMITS.consoleSegmentBytes, "a console segment holds a record");
assert(LIMITS.consoleSegments >= 2, "rotation keeps what was just written");
assert(
  LIMITS.suspendToleranceMs > 2 * LIMITS.clockCheckMs,
  "a late look at the clocks is no suspend",
);
