/**
 * Every limit of the simulator, named once, with its unit; their relations are asserted on import.
 */

import { assert } from "@blixard/std";

/** What a power cut keeps or loses as one piece. */
export const SECTOR_BYTES = 512;
/** Lines of a failing run that the command line shows. */
export const TRACE_LINES_MAX = 20_000;
/** A run with more events than this is called a livelock and fails. */
export const EVENTS_MAX = 3_000_000;
/** Datagrams longer than this are a bug of the sender. */
export const MESSAGE_BYTES_MAX = 8 * 1024 * 1024;
/** Datagrams in flight between one pair of hosts; the sender is refused beyond. */
export const IN_FLIGHT_MAX = 4096;
/** Bytes that one simulated disk may hold. */
export const DISK_BYTES_MAX = 256 * 1024 * 1024;
/**
 * The furthest that a clock drifts from true time; two clocks drift by twice this from each other.
 */
export const CLOCK_DRIFT_PPM_MAX = 4900;
/** Where safety must not depend on clocks at all, some run at half and others at double speed. */
export const WILD_DRIFT_PPM = 500_000;
/** Runs that the command line keeps of its failures. */
export const FAILURES_KEPT_MAX = 20;

/** How long a connection that was reset takes to come back. */
export const RECONNECT_US = 50_000;
/** Filler of the largest register commands. */
export const FILLER_BYTES_MAX = 2500;
/** Ticks within which a node that was told to stop has stopped; raft-node promises fewer. */
export const STOP_TICKS_MAX = 80;

assert(CLOCK_DRIFT_PPM_MAX < WILD_DRIFT_PPM, "wild clocks drift further than good ones");
