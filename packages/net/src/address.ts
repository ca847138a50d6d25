/** host:port text; IPv6 hosts stand in brackets, as in URLs (RFC 3986, section 3.2.2). */

import { err, ok, type Result } from "@blixard/std";

export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/** Host names follow RFC 1123; an error is a reason for people. */
export function parseAddress(text: string): Result<HostPort, string> {
  const match = /^(?:\[([0-9a-fA-F:.%a-z]+)\]|([^[\]:\s/@]+)):([0-9]{1,5})$/.exec(text);
  if (match === null) return err(`"${text.slice(0, 80)}" is not host:port`);
  const host = match[1] ?? match[2] ?? "";
  if (host.length > 253) return err(`host name of ${host.length} characters; at most 253`);
  const port = Number(match[3]);
  if (port < 1 || port > 65535) return err(`port ${port} is not within 1 to 65535`);
  return ok({ host, port });
}

export function formatAddress({ host, port }: HostPort): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}
