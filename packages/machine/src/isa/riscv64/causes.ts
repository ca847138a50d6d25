/** Exception causes (privileged specification, table of scause values). */

export const CAUSE = {
  instructionMisaligned: 0,
  instructionAccess: 1,
  illegal: 2,
  breakpoint: 3,
  loadMisaligned: 4,
  loadAccess: 5,
  storeMisaligned: 6,
  storeAccess: 7,
  userEcall: 8,
  supervisorEcall: 9,
  instructionPage: 12,
  loadPage: 13,
  storePage: 15,
} as const;

/** Bits of sip and sie, which are also the interrupts' cause numbers. */
export const INTERRUPT = { software: 1, timer: 5, external: 9 } as const;

/**
 * An exception on its way from the place that found it to the hart. There is one object for all of them, so
 * that a guest's page fault does not cost a stack trace: catch it before anything else can raise.
 */
export class GuestTrap extends Error {
  override readonly name = "GuestTrap";
  exception = 0;
  value = 0n;
}
const shared = new GuestTrap("an exception of the guest");

export function guestTrap(exception: number, value: bigint): GuestTrap {
  shared.exception = exception;
  shared.value = value;
  return shared;
}
