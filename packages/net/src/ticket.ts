/**
 * Join tickets: what a new node needs to find the cluster, pin its servers' keys and prove that it
 * was invited. Text form: "blx1" and base64url (RFC 4648, section 5, no padding) of
 *
 *   version u8 = 1 | cluster id: u8 length, UTF-8 | server count u8 |
 *   per server: address u8 length, ASCII; public key 32 bytes |
 *   secret 32 bytes | CRC-32C of all before it, u32 little-endian
 */

import {
  as,
  ByteReader,
  ByteWriter,
  crc32c,
  fail,
  fromHex,
  type PublicKeyHex,
  toHex,
  utf8,
  utf8Text,
} from "@blixard/std";
import { parseAddress } from "./address.ts";

export interface TicketServer {
  /** host:port */
  readonly address: string;
  readonly publicKey: PublicKeyHex;
}

export interface Ticket {
  readonly clusterId: string;
  readonly servers: readonly TicketServer[];
  /** 32 bytes. */
  readonly secret: Uint8Array;
}

const PREFIX = "blx1";
const VERSION = 1;
const KEY_BYTES = 32;
const SECRET_BYTES = 32;
const MAX_SERVERS = 16;
const MAX_CLUSTER_ID_BYTES = 64;
const MAX_ADDRESS_BYTES = 255;
const MAX_TICKET_CHARACTERS = 8192;
const HINT = "Print a fresh ticket on a member with `blixard cluster ticket` and copy all of it.";

function refuse(reason: string): never {
  return fail(
    "InvalidArgument",
    { field: "ticket", reason },
    `Cannot read ticket: ${reason}.`,
    HINT,
  );
}

function shortBytes(writer: ByteWriter, text: string, most: number, what: string): void {
  const bytes = utf8(text);
  if (bytes.length === 0 || bytes.length > most) {
    refuse(`${what} has ${bytes.length} bytes, expected 1 to ${most}`);
  }
  writer.u8(bytes.length).raw(bytes);
}

/** The text form. Fails with InvalidArgument for a ticket that `parseTicket` would refuse. */
export function formatTicket(ticket: Ticket): string {
  const { servers, secret } = ticket;
  if (servers.length === 0 || servers.length > MAX_SERVERS) {
    refuse(`it names ${servers.length} servers, expected 1 to ${MAX_SERVERS}`);
  }
  if (secret.length !== SECRET_BYTES) refuse(`its secret has ${secret.length} bytes, expected 32`);
  const writer = new ByteWriter().u8(VERSION);
  shortBytes(writer, ticket.clusterId, MAX_CLUSTER_ID_BYTES, "the cluster id");
  writer.u8(servers.length);
  for (const server of servers) {
    const address = parseAddress(server.address);
    if (!address.ok) refuse(`a server's address ${address.error}`);
    const key = fromHex(server.publicKey);
    if (key?.length !== KEY_BYTES) refuse("a server's public key is not 64 hex digits");
    else {
      shortBytes(writer, server.address, MAX_ADDRESS_BYTES, "a server's address");
      writer.raw(key);
    }
  }
  writer.raw(secret);
  writer.u32(crc32c(writer.finish()));
  return PREFIX + Buffer.from(writer.finish()).toString("base64url");
}

/**
 * Reads a ticket; surrounding white space is allowed. Fails with InvalidArgument and the exact
 * reason.
 */
export function parseTicket(text: string): Ticket {
  const trimmed = text.trim();
  if (!trimmed.startsWith(PREFIX)) refuse(`it does not begin with "${PREFIX}"`);
  if (trimmed.length > MAX_TICKET_CHARACTERS) {
    refuse(`it has ${trimmed.length} characters, at most ${MAX_TICKET_CHARACTERS}`);
  }
  const encoded = trimmed.slice(PREFIX.length);
  const stray = /[^A-Za-z0-9_-]/.exec(encoded);
  if (stray !== null) {
    refuse(
      `character ${PREFIX.length + stray.index + 1} (${JSON.stringify(stray[0])}) is not base64url`,
    );
  }
  const bytes = new Uint8Array(Buffer.from(encoded, "base64url"));
  if (Buffer.from(bytes).toString("base64url") !== encoded)
    refuse("its last characters are cut off");
  if (bytes.length < 5) refuse("it is too short");
  const body = bytes.subarray(0, bytes.length - 4);
  if (new ByteReader(bytes.subarray(body.length)).u32() !== crc32c(body)) {
    refuse("its checksum does not match; a part is missing or mistyped");
  }
  try {
    return decode(new ByteReader(body));
  } catch (caught) {
    // Only the reader's own errors become refusals; refuse()'s pass through unchanged.
    if (caught instanceof RangeError || caught instanceof TypeError) return refuse(caught.message);
    if (caught instanceof Error && caught.name === "ShortReadError") return refuse(caught.message);
    throw caught;
  }
}

function decode(reader: ByteReader): Ticket {
  const version = reader.u8();
  if (version !== VERSION) refuse(`version ${version}; this program reads version ${VERSION}`);
  const clusterId = utf8Text(reader.raw(reader.u8()));
  if (clusterId === "") refuse("its cluster id is empty");
  const count = reader.u8();
  if (count === 0 || count > MAX_SERVERS) refuse(`it names ${count} servers`);
  const servers: TicketServer[] = [];
  for (let i = 0; i < count; i++) {
    const address = utf8Text(reader.raw(reader.u8()));
    const parsed = parseAddress(address);
    if (!parsed.ok) refuse(`a server's address ${parsed.error}`);
    servers.push({ address, publicKey: as<PublicKeyHex>(toHex(reader.raw(KEY_BYTES))) });
  }
  const secret = reader.raw(SECRET_BYTES).slice();
  if (reader.remaining > 0) refuse(`${reader.remaining} bytes are left over`);
  return { clusterId, servers, secret };
}
