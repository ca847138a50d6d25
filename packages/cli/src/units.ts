/** Sizes, durations, labels and addresses as people type them. Failures are InvalidArgument. */

import { fail } from "@blixard/std";

const SIZE_UNITS: Readonly<Record<string, number>> = {
  "": 1,
  b: 1,
  k: 2 ** 10,
  m: 2 ** 20,
  g: 2 ** 30,
  t: 2 ** 40,
};
const DURATION_UNITS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

function refuse(what: string, text: string, expected: string): never {
  return fail(
    "InvalidArgument",
    { field: what, reason: `expected ${expected}` },
    `Cannot parse ${what} ${JSON.stringify(text)}: expected ${expected}.`,
  );
}

/** Bytes. Units are binary, with or without "iB" or "B": 256M, 1.5GiB, 4096. */
export function parseSize(text: string): number {
  const match = /^(\d{1,15}(?:\.\d{1,6})?)\s*([a-z]?)(?:i?b)?$/i.exec(text.trim());
  const factor = SIZE_UNITS[(match?.[2] ?? "?").toLowerCase()];
  const bytes = Number(match?.[1]) * (factor ?? Number.NaN);
  if (match === null || factor === undefined) {
    return refuse("size", text, "a number and a unit such as K, M or G");
  }
  if (!Number.isSafeInteger(bytes)) return refuse("size", text, "a whole number of bytes");
  return bytes;
}

/** Milliseconds: 500ms, 30s, 5m, 1.5h, 7d. A bare number is refused: its unit would be a guess. */
export function parseDuration(text: string): number {
  const match = /^(\d{1,12}(?:\.\d{1,3})?)\s*(ms|s|m|h|d)$/i.exec(text.trim());
  const factor = DURATION_UNITS[(match?.[2] ?? "").toLowerCase()];
  if (match === null || factor === undefined) {
    return refuse("duration", text, "a number and a unit such as s, m or h");
  }
  const ms = Math.round(Number(match[1]) * factor);
  if (ms < 1 || ms > 2 ** 31 - 1) return refuse("duration", text, "between 1ms and 24d");
  return ms;
}

export function parseCount(text: string): number {
  if (!/^\d{1,9}$/.test(text)) return refuse("number", text, "a whole number");
  return Number(text);
}

/** Collects repeated `--label key=value`. */
export function collectLabel(
  text: string,
  previous: Readonly<Record<string, string>> = {},
): Record<string, string> {
  const at = text.indexOf("=");
  if (at < 1) return refuse("label", text, "key=value");
  return { ...previous, [text.slice(0, at)]: text.slice(at + 1) };
}

/** A disk as `--disk` has it: FILE, FILE,ro or FILE,overlay=F2; names with a comma cannot be given. */
export interface DiskArgument {
  readonly path: string;
  readonly readOnly?: boolean;
  readonly overlay?: string;
}

/** Collects repeated `--disk`. */
export function collectDisk(text: string, previous: readonly DiskArgument[] = []): DiskArgument[] {
  const [path = "", ...options] = text.split(",");
  const expected = "FILE, FILE,ro or FILE,overlay=F2";
  if (path === "" || options.length > 1) return refuse("disk", text, expected);
  const [option] = options;
  if (option === undefined) return [...previous, { path }];
  if (option === "ro") return [...previous, { path, readOnly: true }];
  const overlay = /^overlay=(.+)$/.exec(option)?.[1];
  if (overlay === undefined) return refuse("disk", text, expected);
  return [...previous, { path, overlay }];
}

/** Thousandths of a core: 0.5, 2. */
export function parseCpus(text: string): number {
  const millicores = /^\d{1,2}(?:\.\d{1,3})?$/.test(text) ? Math.round(Number(text) * 1000) : 0;
  if (millicores < 10 || millicores > 64_000) return refuse("cpus", text, "0.01 to 64, as 0.5");
  return millicores;
}

export function collect(text: string, previous: readonly string[] = []): string[] {
  return [...previous, text];
}

/** host:port, the host possibly in brackets. */
export function parseAddress(text: string): string {
  const match = /^(\[[0-9a-f:.]+\]|[^:[\]\s]+):(\d{1,5})$/i.exec(text);
  if (match === null || Number(match[2]) > 65_535) return refuse("address", text, "HOST:PORT");
  return text;
}

/** "256 MiB": the largest binary unit that gives at least 1, with at most one decimal. */
export function formatSize(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  const shown = Number.isInteger(value) ? String(value) : value.toFixed(1);
  return `${shown} ${units[unit] ?? "B"}`;
}
