/** One way to print what was listed or inspected: as a table, JSON, YAML, or names only. */

import type { Io } from "./io.ts";
import { write } from "./io.ts";

export const FORMATS = ["table", "json", "yaml", "name"] as const;
export type Format = (typeof FORMATS)[number];

export interface Column<T> {
  readonly title: string;
  readonly value: (item: T) => string;
}

/** What the terminal must not be made to do by a name, label or message from elsewhere. */
export function printable(text: string): string {
  let out = "";
  for (const char of text) {
    const code = char.codePointAt(0) ?? 0;
    const control = code < 0x20 || (code >= 0x7f && code < 0xa0);
    out += control ? `\\x${code.toString(16).padStart(2, "0")}` : char;
  }
  return out;
}

export function table<T>(items: readonly T[], columns: readonly Column<T>[]): string {
  const rows = [
    columns.map((column) => column.title),
    ...items.map((item) => columns.map((column) => printable(column.value(item)) || "-")),
  ];
  const widths = columns.map((_, at) => Math.max(...rows.map((row) => (row[at] ?? "").length)));
  return rows
    .map((row) => row.map((cell, at) => cell.padEnd(widths[at] ?? 0)).join("  "))
    .map((line) => `${line.trimEnd()}\n`)
    .join("");
}

async function structured(value: unknown, format: "json" | "yaml"): Promise<string> {
  if (format === "json") return `${JSON.stringify(value, null, 2)}\n`;
  const { stringify } = await import("yaml");
  return stringify(value);
}

export async function printList<T>(
  io: Io,
  format: Format,
  items: readonly T[],
  nameOf: (item: T) => string,
  columns: readonly Column<T>[],
): Promise<void> {
  if (format === "name") await write(io.stdout, items.map((item) => `${nameOf(item)}\n`).join(""));
  else if (format === "table") await write(io.stdout, table(items, columns));
  else await write(io.stdout, await structured(items, format));
}

/** As a table: one "FIELD value" line for each of `fields`. */
export async function printOne<T>(
  io: Io,
  format: Format,
  item: T,
  nameOf: (item: T) => string,
  fields: readonly Column<T>[],
): Promise<void> {
  if (format === "name") return write(io.stdout, `${nameOf(item)}\n`);
  if (format !== "table") return write(io.stdout, await structured(item, format));
  const width = Math.max(...fields.map((field) => field.title.length));
  const lines = fields.map(
    (field) => `${field.title.padEnd(width)}  ${printable(field.value(item)) || "-"}\n`,
  );
  return write(io.stdout, lines.join(""));
}
