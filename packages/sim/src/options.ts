/** What the command lines of this package have in common. */

/** Ends a command with exit code 2: what was asked for, and how to ask. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** `least` and up; with `isInteger` whole numbers only. */
export function numberOf(
  text: string,
  option: string,
  { isInteger, least }: { readonly isInteger: boolean; readonly least: number },
): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value) || value < least) {
    throw new UsageError(`--${option} ${text}: expected ${kind(isInteger)} of ${least} or more`);
  }
  if (isInteger && !Number.isSafeInteger(value)) {
    throw new UsageError(`--${option} ${text}: expected ${kind(isInteger)}`);
  }
  return value;
}

function kind(isInteger: boolean): string {
  return isInteger ? "an integer" : "a number";
}

/** Of what parseArgs of node:util throws. */
function isParsing(caught: unknown): caught is TypeError {
  return caught instanceof TypeError && "code" in caught && String(caught.code).includes("ARGS");
}

/** Runs a command; the usage and exit code 2 when it was asked for in a way it does not know. */
export async function exitCodeOf(
  usage: string,
  command: () => number | Promise<number>,
): Promise<number> {
  try {
    return await command();
  } catch (caught) {
    if (!isParsing(caught) && !(caught instanceof UsageError)) throw caught;
    console.error(`${caught.message}\n${usage}`);
    return 2;
  }
}
