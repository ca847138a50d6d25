/** TCP ports for servers that tests start, and start again, while others connect all around them. */

import { createServer, type Server } from "node:net";

/**
 * Below what systems hand out by themselves (Linux from 32768, others from 49152): a port from there
 * may become some connection's own end while its server is down, and then nobody can listen on it.
 */
const FIRST = 10_000;
const LAST = 32_000;

function listen(port: number): Promise<Server | undefined> {
  const server = createServer();
  return new Promise((resolve) => {
    server.once("error", () => resolve(undefined));
    server.listen(port, "127.0.0.1", () => resolve(server));
  });
}

/** Different ports of 127.0.0.1, each of which was free a moment ago. */
export async function freePorts(count: number): Promise<number[]> {
  const held = new Map<number, Server>();
  while (held.size < count) {
    const port = FIRST + Math.floor(Math.random() * (LAST - FIRST));
    const server = await listen(port);
    if (server !== undefined) held.set(port, server);
  }
  for (const server of held.values()) await new Promise((resolve) => server.close(resolve));
  return [...held.keys()];
}
