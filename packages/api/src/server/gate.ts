/**
 * What every request passes before it is routed, upgrades included: who may call at all. Closed by
 * default; only liveness is answered without a token.
 */

import { hash, randomFillSync, timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { isIP } from "node:net";
import {
  assert,
  childSpan,
  failure,
  newTrace,
  parseTraceparent,
  type Failure,
  type Random,
} from "@blixard/std";
import type { CallContext } from "../backend.ts";

/** Draws from the system's generator in blocks: one call per request would dominate its cost. */
class SystemRandom implements Random {
  readonly #pool = new Uint32Array(256);
  #next = this.#pool.length;

  u32(): number {
    if (this.#next === this.#pool.length) {
      randomFillSync(this.#pool);
      this.#next = 0;
    }
    return this.#pool[this.#next++] ?? 0;
  }
}

export const systemRandom: Random = new SystemRandom();

export interface GateOptions {
  readonly tokenHashes: readonly string[];
  readonly allowedHosts: readonly string[];
  /** Requests came through the unix socket: the principal is "local", and Host means nothing. */
  readonly local: boolean;
}

export type Gate = (request: IncomingMessage) => GateAnswer;
export interface GateAnswer {
  readonly call: CallContext;
  readonly refused?: Failure;
}

const HEALTH_PATH = "/v1/health";

function hostName(host: string): string {
  if (host.startsWith("[")) return host.slice(1, host.indexOf("]"));
  const colon = host.lastIndexOf(":");
  return (colon < 0 ? host : host.slice(0, colon)).toLowerCase();
}

function unauthorized(reason: string, hint?: string): Failure {
  return failure("Unauthorized", { reason }, `Refused: ${reason}.`, hint);
}

/**
 * A page on another site can make a browser send requests here: with an Origin, or, by rebinding its own
 * name to this address, with its own name as Host. IP addresses cannot be rebound.
 */
function checkBrowser(request: IncomingMessage, options: GateOptions): Failure | undefined {
  const { host, origin } = request.headers;
  if (!options.local) {
    const name = hostName(host ?? "");
    const known = name === "localhost" || isIP(name) !== 0 || options.allowedHosts.includes(name);
    if (!known) {
      return unauthorized(
        `the Host header names ${JSON.stringify(name)}, which is not this server`,
        "use an IP address, or list the name among the API's allowed hosts",
      );
    }
  }
  if (origin !== undefined && origin !== `http://${host ?? ""}`) {
    return unauthorized(`requests from the web origin ${JSON.stringify(origin)} are not accepted`);
  }
  return undefined;
}

function tokenChecker(tokenHashes: readonly string[]): (header: string | undefined) => string {
  const accepted = tokenHashes.map((text) => {
    assert(/^[0-9a-f]{64}$/.test(text), "a token hash is 64 lower-case hex digits");
    return Buffer.from(text, "hex");
  });
  return (header) => {
    if (header === undefined) return "no bearer token was sent";
    const token = /^Bearer +([\x21-\x7e]{1,1024})$/i.exec(header)?.[1];
    if (token === undefined) return "the Authorization header is not a bearer token";
    const presented = hash("sha256", token, "buffer");
    let matches = 0;
    // All are compared, whichever matches, so that time tells nothing.
    for (const one of accepted) matches += timingSafeEqual(one, presented) ? 1 : 0;
    return matches > 0 ? "" : "the token is not valid";
  };
}

export function createGate(options: GateOptions): Gate {
  const check = tokenChecker(options.tokenHashes);
  const principal = options.local ? "local" : "token";
  return (request) => {
    // Safe: node:http types traceparent as possibly a list, but joins repeats of unknown headers.
    const sent = request.headers["traceparent"] as string | undefined;
    const parent = sent === undefined ? undefined : parseTraceparent(sent);
    const trace = parent === undefined ? newTrace(systemRandom) : childSpan(parent, systemRandom);
    const call = { trace, principal };
    const browser = checkBrowser(request, options);
    if (browser !== undefined) return { call, refused: browser };
    if (request.url === HEALTH_PATH) return { call };
    const reason = check(request.headers.authorization);
    if (reason === "") return { call };
    const hint = "set BLIXARD_TOKEN, or point BLIXARD_DATA at the data directory of a node";
    return { call, refused: unauthorized(reason, hint) };
  };
}
