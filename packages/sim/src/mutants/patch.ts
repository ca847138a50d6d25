/** A planted bug: a small replacement in the text of one file of the shipped code. */

import { err, ok, type Result } from "@blixard/std";
import type { Profile } from "../plan.ts";

export interface Patch {
  readonly name: string;
  /** From the root of the project. */
  readonly file: string;
  /** Must occur in the file exactly once. */
  readonly find: string;
  readonly replace: string;
  /** What goes wrong with it. */
  readonly why: string;
  /** The profile whose world must notice. */
  readonly profile: Profile;
}

/** The patched text; an error when the place is not there, or not unique. */
export function applyPatch(text: string, { name, find, replace }: Patch): Result<string, string> {
  const at = text.indexOf(find);
  if (at < 0) return err(`${name}: what it replaces is not there`);
  if (text.includes(find, at + 1)) return err(`${name}: what it replaces is there more than once`);
  return ok(text.slice(0, at) + replace + text.slice(at + find.length));
}
