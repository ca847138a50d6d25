/**
 * Which node to talk to, and with what token. Flags win over the environment, and that over what
 * `blixard node init` left in the data directory (api.json and api.token).
 */

import { readFile, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { fail } from "@blixard/std";
import { createClient, type Client } from "@blixard/api";
import type { Io } from "./io.ts";

export interface ConnectionFlags {
  readonly endpoint?: string;
  readonly tokenFile?: string;
  readonly data?: string;
}

export function dataDirOf(flags: { readonly data?: string }, env: Io["env"]): string {
  const set = flags.data ?? env["BLIXARD_DATA"];
  if (set !== undefined && set !== "") return set;
  const xdg = env["XDG_DATA_HOME"];
  const base =
    xdg !== undefined && xdg !== "" ? xdg : join(env["HOME"] ?? homedir(), ".local", "share");
  return join(base, "blixard");
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    const reason = error instanceof Error ? error.message : String(error);
    return fail("Unavailable", { reason }, `Cannot read ${path}: ${reason}`);
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/** The unix socket when it is there, as file permissions guard it; else the TCP endpoint. */
async function contextEndpoint(dataDir: string): Promise<string> {
  const path = join(dataDir, "api.json");
  const text = await readIfThere(path);
  if (text === undefined) {
    return fail(
      "Unavailable",
      { reason: "no node is configured" },
      `No node is configured in ${dataDir}.`,
      "run `blixard node init` and `blixard node start`, or set BLIXARD_ENDPOINT and BLIXARD_TOKEN",
    );
  }
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    parsed = undefined;
  }
  if (typeof parsed === "object" && parsed !== null) {
    const socket = "socket" in parsed ? parsed.socket : undefined;
    if (typeof socket === "string" && (await exists(socket))) return `unix:${socket}`;
    const endpoint = "endpoint" in parsed ? parsed.endpoint : undefined;
    if (typeof endpoint === "string") return endpoint;
  }
  return fail(
    "Corrupt",
    { what: "context file", where: path },
    `${path} is not a context file with an endpoint.`,
    "remove it and set BLIXARD_ENDPOINT, or run `blixard node init` in another directory",
  );
}

export async function connect(io: Io, flags: ConnectionFlags): Promise<Client> {
  const dataDir = dataDirOf(flags, io.env);
  const endpoint = flags.endpoint ?? io.env["BLIXARD_ENDPOINT"] ?? (await contextEndpoint(dataDir));
  const fromFile = async (path: string): Promise<string | undefined> =>
    (await readIfThere(path))?.trim();
  let token: string | undefined;
  if (flags.tokenFile !== undefined) {
    token = await fromFile(flags.tokenFile);
    if (token === undefined) {
      const reason = "no such file";
      fail("InvalidArgument", { field: "token-file", reason }, `${flags.tokenFile}: ${reason}.`);
    }
  } else token = io.env["BLIXARD_TOKEN"] ?? (await fromFile(join(dataDir, "api.token")));
  if (token === undefined || token === "") {
    return fail(
      "Unauthorized",
      { reason: "no token" },
      `No token for ${endpoint}: BLIXARD_TOKEN is not set and ${dataDir} has no api.token.`,
      "set BLIXARD_TOKEN, or give --token-file or --data",
    );
  }
  return createClient({ endpoint, token });
}
