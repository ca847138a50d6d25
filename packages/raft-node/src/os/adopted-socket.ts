/**
 * Reads of an accepted connection into one buffer that is used again. Without it Node (26) cuts what is
 * read from slabs of 64 KiB that all connections of the process share, and each read of a plain socket
 * after one of a TLS socket begins a new slab: with peers on TLS and clients in plain that is 64 KiB of
 * garbage for each command, and with one client half of the leader's time went into collecting it.
 */

import { Socket } from "node:net";
import type { SocketConstructorOpts } from "node:net";

/** For each connection: those that one door takes hold 64 MiB at most. */
const READ_BYTES = 16 * 1024;

/**
 * `accepted` as a socket that reads this way; it emits "data" like any other. The server must have been
 * made with `pauseOnConnect`. Where Node does not show the handle, the socket itself.
 */
export function adoptSocket(accepted: Socket): Socket {
  const handle: unknown = Reflect.get(accepted, "_handle");
  if (typeof handle !== "object" || handle === null) return accepted.resume();
  const buffer = Buffer.allocUnsafeSlow(READ_BYTES);
  const callback = (bytes: number): boolean => {
    socket.emit("data", Buffer.from(buffer.subarray(0, bytes)));
    return true;
  };
  // Safe: Node's own server makes its sockets by this option, which the types leave out.
  const options = { handle, onread: { buffer, callback } } as SocketConstructorOpts;
  const socket = new Socket(options);
  // What is left of the accepted one only counts as a connection of its server.
  Reflect.set(accepted, "_handle", null);
  socket.once("close", () => accepted.destroy());
  return socket;
}
