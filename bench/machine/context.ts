/** What every part of the benchmark needs to know, and guests that end whatever happens. */

import { type Guest, type Launch, type Options, type Side, startGuest } from "./guest.ts";

export interface Context extends Options {
  readonly rounds: number;
  /** Half of the work, once: for direction. */
  readonly quick: boolean;
  /** For what is made on the way; removed at the end. */
  readonly folder: string;
  readonly say: (line: string) => void;
  /** Whether any of these names was asked for. */
  readonly wanted: (...names: readonly string[]) => boolean;
}

export const SIDES: readonly Side[] = ["ours", "qemu"];

/** Who is first changes with every round. */
export function order(round: number): readonly Side[] {
  return round % 2 === 0 ? SIDES : SIDES.toReversed();
}

export async function withGuest<T>(
  side: Side,
  launch: Launch,
  context: Context,
  use: (guest: Guest) => Promise<T>,
): Promise<T> {
  const guest = await startGuest(side, launch, context);
  try {
    return await use(guest);
  } finally {
    await guest.stop();
  }
}

export async function withBoth<T>(
  launch: Launch,
  context: Context,
  use: (guests: Record<Side, Guest>) => Promise<T>,
): Promise<T> {
  return await withGuest("ours", launch, context, async (ours) =>
    withGuest("qemu", launch, context, async (qemu) => use({ ours, qemu })),
  );
}

export async function withSeveral<T>(
  count: number,
  side: Side,
  launch: Launch,
  context: Context,
  use: (guests: readonly Guest[]) => Promise<T>,
): Promise<T> {
  const start = async (guests: readonly Guest[]): Promise<T> => {
    if (guests.length === count) return await use(guests);
    return await withGuest(side, launch, context, async (guest) => start([...guests, guest]));
  };
  return await start([]);
}

/** A part that cannot be measured must not take the others with it. */
export function reasonOf(caught: unknown): string {
  return caught instanceof Error ? caught.message : String(caught);
}
