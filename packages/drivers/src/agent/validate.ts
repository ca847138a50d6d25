/** Checks of what callers want sent to a guest, so that errors name the field and not the wire. */

import { fail, utf8 } from "@blixard/std";
import { ARGS_MAX, HOSTNAME_BYTES_MAX, PATH_BYTES_MAX } from "./limits.ts";

function refuse(field: string, reason: string): never {
  fail("InvalidArgument", { field, reason }, `Invalid ${field}: ${reason}`);
}

/** At most ARGS_MAX arguments and variables, none with a zero byte; names without "=". */
export function checkArguments(
  argv: readonly string[],
  env: Readonly<Record<string, string>>,
): void {
  const names = Object.keys(env);
  if (argv.length > ARGS_MAX) refuse("argv", `${argv.length} arguments, at most ${ARGS_MAX}`);
  if (names.length > ARGS_MAX) refuse("env", `${names.length} variables, at most ${ARGS_MAX}`);
  if (argv.some((text) => text.includes("\0"))) refuse("argv", "an argument holds a zero byte");
  for (const name of names) {
    if (name === "" || /[=\0]/.test(name)) {
      refuse("env", `${JSON.stringify(name)} is not a variable's name`);
    }
    if (env[name]?.includes("\0") === true) refuse("env", `${name} holds a zero byte`);
  }
}

/** Absolute, at most PATH_BYTES_MAX bytes. */
export function checkPath(field: string, path: string): void {
  if (!path.startsWith("/")) refuse(field, `${JSON.stringify(path)} is not an absolute path`);
  if (path.includes("\0")) refuse(field, "the path holds a zero byte");
  const length = utf8(path).length;
  if (length > PATH_BYTES_MAX) refuse(field, `${length} bytes long, at most ${PATH_BYTES_MAX}`);
}

export function checkHostname(hostname: string): void {
  if (!/^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$/.test(hostname)) {
    refuse("hostname", `${JSON.stringify(hostname)} is not letters, digits, "-" and "."`);
  }
  if (hostname.length > HOSTNAME_BYTES_MAX) {
    refuse("hostname", `${hostname.length} bytes long, at most ${HOSTNAME_BYTES_MAX}`);
  }
}
