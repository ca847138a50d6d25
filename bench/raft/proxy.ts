/** TCP proxies in front of members' peer ports, so that one member's links can be dropped, silently. */

import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";

interface Link {
  readonly from: Socket;
  readonly to: Socket;
  readonly target: number;
}

export class PeerProxies {
  readonly #servers: Server[] = [];
  readonly #links = new Set<Link>();
  /** Connections from and to these processes go nowhere. */
  #isCut: (link: Link) => boolean = () => false;

  /** Forwards 127.0.0.1:`port` to 127.0.0.1:`target`. */
  async add(port: number, target: number): Promise<void> {
    const server = createServer({ pauseOnConnect: true }, (from) => this.#accept(from, target));
    this.#servers.push(server);
    await new Promise<void>((resolve) => void server.listen(port, "127.0.0.1", resolve));
  }

  #accept(from: Socket, target: number): void {
    const to = connect({ host: "127.0.0.1", port: target });
    const link: Link = { from, to, target };
    this.#links.add(link);
    from.setNoDelay(true);
    to.setNoDelay(true);
    const end = (): void => {
      this.#links.delete(link);
      from.destroy();
      to.destroy();
    };
    for (const socket of [from, to]) {
      socket.on("error", end);
      socket.on("close", end);
    }
    // A cut link takes what is sent and passes nothing on, as a dead wire does.
    from.on("data", (chunk) => void (this.#isCut(link) || to.write(chunk)));
    to.on("data", (chunk) => void (this.#isCut(link) || from.write(chunk)));
    from.resume();
  }

  /** Drops whatever the process `pid`, which listens on `target`, sends or is sent. */
  cut(pid: number, target: number): void {
    const own = portsOf(pid);
    this.#isCut = (link) => link.target === target || own.has(link.from.remotePort ?? 0);
    // Connections that it opens from now on are cut as well.
    const known = new Set(this.#links);
    const isCut = this.#isCut;
    this.#isCut = (link) => {
      if (known.has(link)) return isCut(link);
      known.add(link);
      for (const port of portsOf(pid)) own.add(port);
      return isCut(link);
    };
  }

  /** The links carry again; those that were cut are closed, and dialled anew by the members. */
  heal(): void {
    const isCut = this.#isCut;
    this.#isCut = () => false;
    for (const link of this.#links) if (isCut(link)) link.from.destroy();
  }

  close(): void {
    for (const server of this.#servers) server.close();
    for (const { from } of this.#links) from.destroy();
  }
}

/** Local ports of a process's TCP sockets. */
function portsOf(pid: number): Set<number> {
  const inodes = new Set<string>();
  for (const fd of readdirSync(`/proc/${pid}/fd`)) {
    const link = readlinkOrEmpty(`/proc/${pid}/fd/${fd}`);
    const inode = /^socket:\[(\d+)\]$/.exec(link)?.[1];
    if (inode !== undefined) inodes.add(inode);
  }
  const ports = new Set<number>();
  for (const line of readFileSync("/proc/net/tcp", "utf8").split("\n").slice(1)) {
    const fields = line.trim().split(/\s+/);
    const port = Number.parseInt(fields[1]?.split(":")[1] ?? "", 16);
    if (inodes.has(fields[9] ?? "") && Number.isInteger(port)) ports.add(port);
  }
  return ports;
}

/** A descriptor may be closed between the listing and the look at it. */
function readlinkOrEmpty(path: string): string {
  try {
    return readlinkSync(path);
  } catch (caught) {
    if (caught instanceof Error && "code" in caught && caught.code === "ENOENT") return "";
    throw caught;
  }
}
