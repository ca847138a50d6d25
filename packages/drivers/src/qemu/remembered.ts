/**
 * The probe's answer in `probe.json`, good until anything that it depends on changes. A daemon that
 * comes back has seconds to renew its VMs' lease, and on a host with a broken KVM, or a busy one, the
 * probe alone takes longer: its VMs would die of the wait.
 */

import { readFile, realpath, rename, rm, stat, writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { hasCode, isMissing } from "@blixard/host";
import { asObject, asOneOf, asText, type JsonObject, parseWith, ShapeError } from "../json.ts";
import { optional } from "../json.ts";
import { hostOs } from "../os/index.ts";
import { probeQemu, type QemuProbe } from "./probe.ts";

export const PROBE_FILE = "probe.json";
const FORMAT = "blixard-probe";
const VERSION = 1;

type Found = Extract<QemuProbe, { available: true }>;

export interface RememberedProbe {
  /** Everything the answer depends on, as text to compare. */
  readonly host: string;
  readonly found: Found;
}

export function encodeProbe({ host, found }: RememberedProbe): string {
  const { version, accel, noKvm, sandbox } = found;
  const stored = { version, accel, ...(noKvm === undefined ? {} : { noKvm }), sandbox };
  return `${JSON.stringify({ format: FORMAT, version: VERSION, host, found: stored }, undefined, 2)}\n`;
}

function readFound(value: unknown, what: string): Found {
  const fields: JsonObject = asObject(value, what);
  const noKvm = optional(fields["noKvm"], `${what}.noKvm`, asText);
  if (typeof fields["sandbox"] !== "boolean") throw new ShapeError(`${what}.sandbox is no boolean`);
  return {
    available: true,
    version: asText(fields["version"], `${what}.version`),
    accel: asOneOf(fields["accel"], ["kvm", "tcg"] as const, `${what}.accel`),
    ...(noKvm === undefined ? {} : { noKvm }),
    sandbox: fields["sandbox"],
  };
}

/** Undefined for anything but an intact file of this version: the host is then probed again. */
export function decodeProbe(text: string): RememberedProbe | undefined {
  const parsed = parseWith(text, (value) => {
    const fields = asObject(value, "the file");
    if (fields["format"] !== FORMAT || fields["version"] !== VERSION) {
      throw new ShapeError("another format");
    }
    return { host: asText(fields["host"], "host"), found: readFound(fields["found"], "found") };
  });
  return parsed.ok ? parsed.value : undefined;
}

async function pathOf(binary: string): Promise<string | undefined> {
  const folders = binary.includes("/") ? [""] : (process.env["PATH"] ?? "").split(delimiter);
  for (const folder of folders) {
    try {
      return await realpath(join(folder, binary));
    } catch (caught) {
      if (!isMissing(caught)) throw caught;
    }
  }
  return undefined;
}

async function identityOf(path: string): Promise<string> {
  try {
    const { ino, size, mode, uid, gid, mtimeMs, ctimeMs } = await stat(path);
    return [path, ino, size, mode, uid, gid, mtimeMs, ctimeMs].join(" ");
  } catch (caught) {
    if (isMissing(caught)) return `no ${path}`;
    throw caught;
  }
}

/** Undefined where the system does not tell one boot from another: nothing is then remembered. */
async function hostOf(binary: string): Promise<string | undefined> {
  const path = await pathOf(binary);
  // The first process of a boot (or of a container) names it.
  const boot = hostOs.identify(1)?.startTime;
  if (path === undefined || boot === undefined) return undefined;
  const user = process.getuid?.() ?? 0;
  const device = await identityOf("/dev/kvm");
  return [`boot ${boot}`, `user ${user}`, await identityOf(path), device].join("; ");
}

async function recall(path: string): Promise<RememberedProbe | undefined> {
  try {
    return decodeProbe(await readFile(path, "utf8"));
  } catch (caught) {
    if (isMissing(caught)) return undefined;
    throw caught;
  }
}

/** As probeQemu, without running a guest when the same host has answered before; see `PROBE_FILE`. */
export async function rememberedProbe(
  binary: string,
  scratch: string,
  probe: (binary: string, options: { scratch: string }) => Promise<QemuProbe> = probeQemu,
): Promise<QemuProbe> {
  const path = join(scratch, PROBE_FILE);
  const host = await hostOf(binary);
  const known = await recall(path);
  if (host !== undefined && known?.host === host) return known.found;
  const found = await probe(binary, { scratch });
  if (host === undefined || !found.available) return found;
  await remember(path, encodeProbe({ host, found }));
  return found;
}

/** Not synced: a lost or torn file costs another probe, and so does a full disk. */
async function remember(path: string, text: string): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    await writeFile(temporary, text, { mode: 0o600 });
    await rename(temporary, path);
  } catch (caught) {
    await rm(temporary, { force: true });
    if (!hasCode(caught, "ENOSPC")) throw caught;
  }
}
