/** Brings a node up from its folder, keeps its parts connected, and takes it down in order. */

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { createApiServer } from "@blixard/api";
import {
  checkProposable,
  COMMAND_VERSION,
  type Command,
  type CommandResult,
  decodeLeaseMessage,
  DEFAULT_LEASE_OPTIONS,
  encodeLeaseMessage,
  getNode,
  type LeaderLoop,
  LeaseClient,
  listNodes,
} from "@blixard/control";
import { type InstanceStatus, pruneCompileCache, type VmDriver } from "@blixard/drivers";
import { hostClock, hostRandom } from "@blixard/host";
import { createTlsTransport, type Identity, type PeerInfo, type Transport } from "@blixard/net";
import type { RaftNodeEvent } from "@blixard/raft-node";
import { BlixardError, newTrace, toBlixardError } from "@blixard/std";
import { admit } from "./admission.ts";
import { Backend } from "./backend.ts";
import { detectCapacity } from "./capacity.ts";
import {
  type ClusterFile,
  type NodeConfig,
  readNodeConfig,
  requireClusterFile,
  writeClusterFile,
} from "./config.ts";
import { Consensus } from "./consensus.ts";
import { chooseDriver, type ChosenDriver } from "./driver-choice.ts";
import { createLeaderLoop } from "./leader.ts";
import { logFailure } from "./log-failure.ts";
import * as limits from "./limits.ts";
import { createLogger, type Logger } from "./log.ts";
import { decodeMember, encodeMember, peerInfo } from "./member.ts";
import { ownIdentity } from "./own-identity.ts";
import { Reconciler } from "./reconciler.ts";
import { VmAccess } from "./vm-access.ts";
import { vmBoundsTeller } from "./vm-bounds.ts";

export interface DaemonOptions {
  readonly dataDir: string;
  /** pino's level names; default "info". */
  readonly logLevel?: string;
}

export interface RunningDaemon {
  /** host:port of the HTTP API. */
  readonly apiAddress: string;
  readonly nodeAddress: string;
  /** Resolves after close(); rejects with BlixardError when the node had to stop by itself. */
  readonly closed: Promise<void>;
  close(): Promise<void>;
}

const VERSION_FILE = join(import.meta.dirname, "..", "package.json");

function splitHostPort(text: string): { host: string; port: number } {
  const at = text.lastIndexOf(":");
  return { host: text.slice(0, at).replace(/^\[|\]$/g, ""), port: Number(text.slice(at + 1)) };
}

/** Starts the node that lives in `dataDir`; resolves once it serves (a leader may still be missing). */
export async function startDaemon(options: DaemonOptions): Promise<RunningDaemon> {
  const config = await readNodeConfig(options.dataDir);
  const cluster = await requireClusterFile(options.dataDir);
  const log = createLogger({ level: options.logLevel ?? "info", node: config.name });
  const daemon = new Daemon(options.dataDir, config, cluster, log);
  try {
    await daemon.start();
  } catch (caught) {
    await daemon.close();
    throw caught;
  }
  return daemon;
}

class Daemon implements RunningDaemon {
  apiAddress = "";
  nodeAddress = "";
  readonly closed: Promise<void>;
  readonly #dataDir: string;
  readonly #config: NodeConfig;
  readonly #log: Logger;
  #cluster: ClusterFile;
  #settle: { resolve: () => void; reject: (error: BlixardError) => void };
  /** What was started, newest last; closing goes through it backwards. */
  readonly #closers: (() => Promise<void> | void)[] = [];
  #closing: Promise<void> | undefined;
  /** Writes of cluster.json, one after the other. */
  #remembering: Promise<void> = Promise.resolve();
  /** True once a linearizable point was reached: the state says who the peers are. */
  #current = false;
  #recovered = false;
  #damaged = false;
  #onChange: () => void = () => undefined;

  constructor(dataDir: string, config: NodeConfig, cluster: ClusterFile, log: Logger) {
    this.#dataDir = dataDir;
    this.#config = config;
    this.#cluster = cluster;
    this.#log = log;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.closed = promise;
    // Whoever awaits `closed` sees the rejection; a start that fails throws it by itself.
    promise.catch(() => undefined);
    this.#settle = { resolve, reject };
  }

  async start(): Promise<void> {
    const identity = await ownIdentity(this.#dataDir, this.#cluster);
    const transport = createTlsTransport({
      identity,
      listen: splitHostPort(this.#config.listen),
    });
    this.#closers.push(() => transport.close());
    const consensus = await this.#openConsensus(transport, identity);
    const driver = await this.#openDriver();
    const adopted = await driver.driver.readopt();
    this.nodeAddress = await transport.listen();
    this.#setPeers(transport, consensus);
    consensus.start();
    const backend = this.#wire(identity, transport, consensus, driver, adopted);
    const { version } = JSON.parse(await readFile(VERSION_FILE, "utf8")) as { version: string }; // ours
    const api = await createApiServer({
      backend: backend(version),
      tokenHashes: [...this.#cluster.tokenHashes],
      listen: splitHostPort(this.#config.api),
      socketPath: join(this.#dataDir, "api.sock"),
    });
    this.#closers.push(() => api.close());
    if (this.#closing !== undefined) {
      // The log failed meanwhile, and its end did not know of the parts that were still to come.
      await this.#closing;
      await this.#close();
      return await this.closed;
    }
    this.apiAddress = api.address;
    this.#log.info({ api: api.address, address: this.nodeAddress }, "node is up");
  }

  async #openConsensus(transport: Transport, { publicKey }: Identity): Promise<Consensus> {
    const { nodeId, peerId, bootstrap } = this.#cluster;
    const context = encodeMember({ nodeId, publicKey, address: this.#config.listen });
    const consensus = await Consensus.open(
      {
        id: peerId,
        dataDir: join(this.#dataDir, "raft"),
        ...(bootstrap ? { bootstrap: [{ peer: peerId, context }] } : {}),
      },
      {
        network: transport.channel("raft"),
        clock: hostClock,
        random: hostRandom,
        log: this.#log,
        onChange: (changes) => {
          if (changes.length === 0 || changes.some((change) => change.kind === "node")) {
            this.#setPeers(transport, consensus);
          }
          this.#onChange();
        },
        onEvent: (event) => this.#onRaftEvent(event, transport, () => consensus),
      },
    );
    this.#closers.push(() => consensus.close());
    transport.onMessage("raft", (from, message) => consensus.receive(from, message));
    transport.onDisconnect((peer) => consensus.disconnected(peer));
    return consensus;
  }

  #onRaftEvent(event: RaftNodeEvent, transport: Transport, consensus: () => Consensus): void {
    switch (event.kind) {
      case "recovered":
        this.#recovered = true;
        this.#damaged = event.damaged;
        this.#log.info({ lastIndex: event.lastIndex, damaged: event.damaged }, "log recovered");
        break;
      case "fatal":
        this.#fatal(event);
        break;
      case "role":
        this.#log.info(
          { role: event.status.role, term: event.status.term, leader: event.status.leader },
          "role",
        );
        this.#onChange();
        break;
      case "members":
        this.#setPeers(transport, consensus());
        break;
      case "restored":
        this.#log.info({ index: event.index }, "state restored from a snapshot");
        break;
      case "repaired":
        this.#damaged = false;
        this.#log.info("the log was repaired by the other members; this node counts again");
        break;
      case "snapshot":
        this.#log.debug({ index: event.index }, "snapshot taken");
        break;
      case "disk":
        this.#log.warn({ disk: event.state }, "state of the disk under the log");
        break;
      default:
        event satisfies never;
    }
  }

  #fatal(event: Extract<RaftNodeEvent, { kind: "fatal" }>): void {
    this.#log.fatal({ reason: event.reason }, "the node must stop");
    this.#settle.reject(new BlixardError(logFailure(event, join(this.#dataDir, "raft"))));
    void this.close();
  }

  /**
   * Peers are the admitted nodes and the members. Until this node's state is known to be current, the
   * remembered ones are peers too: an old state (a snapshot behind a damaged log) may not know the very
   * node that could bring it up to date.
   */
  #setPeers(transport: Transport, consensus: Consensus): void {
    const known = new Map<number, PeerInfo>();
    for (const node of listNodes(consensus.state)) known.set(node.peerId, peerInfo(node));
    for (const member of consensus.members()) {
      const info = decodeMember(member);
      if (info.ok && !known.has(member.peer)) known.set(member.peer, info.value);
    }
    const remembered = this.#cluster.peers;
    if (!this.#current) {
      for (const peer of remembered) if (!known.has(peer.peerId)) known.set(peer.peerId, peer);
    }
    known.delete(this.#cluster.peerId);
    const peers = [...known.values()].sort((a, b) => a.peerId - b.peerId);
    transport.setPeers(peers);
    if (JSON.stringify(peers) === JSON.stringify(remembered)) return;
    this.#cluster = { ...this.#cluster, peers };
    const file = this.#cluster;
    const write = (): Promise<void> => writeClusterFile(this.#dataDir, file);
    this.#remembering = this.#remembering.then(write).catch((caught: unknown) => {
      this.#log.warn(
        { err: String(caught) },
        "cannot remember the members; they are in the log too",
      );
    });
  }

  async #openDriver(): Promise<ChosenDriver> {
    pruneCompileCache()
      .then((gone) => this.#log.debug(gone, "compile cache pruned"))
      .catch((caught: unknown) => this.#log.warn({ err: String(caught) }, "compile cache"));
    const chosen = await chooseDriver(this.#dataDir, this.#config, this.#log);
    this.#closers.push(() => chosen.driver.close());
    return chosen;
  }

  #wire(
    identity: Identity,
    transport: Transport,
    consensus: Consensus,
    chosen: ChosenDriver,
    adopted: readonly InstanceStatus[],
  ): (version: string) => Backend {
    const { driver } = chosen;
    const self = this.#cluster.nodeId;
    const log = this.#log;
    const state = () => consensus.state;
    const propose = (command: Command): Promise<CommandResult> =>
      consensus.tryPropose(command, newTrace(hostRandom));
    const lease = this.#leases(transport, consensus, driver, propose, () => reconciler);
    const reconciler = new Reconciler(
      {
        self,
        driver,
        clock: hostClock,
        random: hostRandom,
        log,
        state,
        propose,
        mayPropose: (command) => checkProposable(state(), command).ok,
        lease: () => lease.client.current(),
      },
      adopted,
    );
    this.#closers.push(() => reconciler.close());
    this.#every(limits.LEASE_TICK_MS, () => lease.client.tick());
    this.#every(limits.LEADER_LOOP_EVERY_MS, () => lease.leader.tick());
    this.#every(limits.RECONCILE_EVERY_MS, () => reconciler.poke());
    let due = false;
    this.#onChange = () => {
      // Many entries are applied in one turn of the loop; they are looked at once, after it.
      if (due) return;
      due = true;
      setImmediate(() => {
        due = false;
        if (this.#closing !== undefined) return;
        lease.leader.tick();
        reconciler.poke();
      });
    };
    void this.#register(identity, consensus, chosen, propose, () => {
      this.#current = true;
      this.#setPeers(transport, consensus);
      if (chosen.available) {
        const { bounds } = driver;
        const tell = vmBoundsTeller({ self, bounds, state, propose, log });
        tell();
        this.#every(limits.VM_BOUNDS_EVERY_MS, tell);
      }
      const record = getNode(consensus.state, self);
      lease.client.begin(reconciler.liveCount() > 0 ? record?.leaseEpoch : undefined);
    });
    transport.onJoin((publicKey, body) =>
      admit(
        {
          clusterId: this.#cluster.clusterId,
          consensus,
          wallMs: () => hostClock.wallMs(),
          random: hostRandom,
        },
        publicKey,
        body,
      ),
    );
    const access = new VmAccess({ self, driver, transport, state, log });
    return (version) =>
      new Backend({
        consensus,
        access,
        clusterId: this.#cluster.clusterId,
        self: { id: self, name: this.#config.name, version },
        wallMs: () => hostClock.wallMs(),
        healthy: () => this.#recovered && !this.#damaged,
      });
  }

  #leases(
    transport: Transport,
    consensus: Consensus,
    driver: VmDriver,
    propose: (command: Command) => Promise<CommandResult>,
    reconciler: () => Reconciler,
  ): { client: LeaseClient; leader: LeaderLoop } {
    const self = this.#cluster.nodeId;
    const selfPeer = this.#cluster.peerId;
    const network = transport.channel("lease");
    const options = DEFAULT_LEASE_OPTIONS;
    const log = this.#log;
    const leader = createLeaderLoop({
      selfPeer,
      consensus,
      clock: hostClock,
      network,
      options,
      log,
      propose,
      local: (message) => client.reply(message),
    });
    const client: LeaseClient = new LeaseClient({
      self,
      options,
      clock: hostClock,
      random: hostRandom,
      leader: () => consensus.status().leader,
      ask: (to, message) => {
        if (to === selfPeer) leader.renew(selfPeer, message);
        else network.send(to, encodeLeaseMessage(message));
      },
      recordedEpoch: () => getNode(consensus.state, self)?.leaseEpoch,
      runningVms: () => reconciler().liveCount(),
      extend: (deadlineMs) => driver.renew(deadlineMs),
      killAll: (done) => reconciler().killAll(done),
      acquire: (fromEpoch, done) => {
        propose({ kind: "acquireLease", nodeId: self, fromEpoch })
          .catch((caught: unknown) => {
            log.debug({ err: String(caught) }, "lease not acquired; will retry");
          })
          .finally(done);
      },
      note: (level, data, text) => log[level](data, text),
    });
    transport.onMessage("lease", (from, message) => {
      const decoded = decodeLeaseMessage(message);
      if (!decoded.ok) log.warn({ reason: decoded.error }, "bad lease message");
      else if (decoded.value.kind === "renew") leader.renew(from, decoded.value);
      else client.reply(decoded.value);
    });
    return { client, leader };
  }

  /** Tells the cluster what this node is, again at each start; nothing runs here before that. */
  async #register(
    { publicKey }: Identity,
    consensus: Consensus,
    chosen: ChosenDriver,
    propose: (command: Command) => Promise<CommandResult>,
    onRegistered: () => void,
  ): Promise<void> {
    const capacity = await detectCapacity(this.#dataDir, this.#config, chosen.available);
    while (this.#closing === undefined) {
      try {
        const result = await propose({
          kind: "registerNode",
          node: {
            id: this.#cluster.nodeId,
            peerId: this.#cluster.peerId,
            name: this.#config.name,
            publicKey,
            address: this.#config.listen,
            capacity,
            drivers: chosen.available ? [chosen.name] : [],
            labels: this.#config.labels ?? {},
            commandVersion: COMMAND_VERSION,
          },
        });
        if (result.ok) {
          await consensus.readBarrier();
          onRegistered();
          return;
        }
        this.#log.error({ why: result.error.message }, "this node's registration was refused");
      } catch (caught) {
        this.#log.debug({ err: toBlixardError(caught).message }, "not registered yet");
      }
      await new Promise((resolve) => setTimeout(resolve, limits.REGISTER_RETRY_MS));
    }
  }

  #every(ms: number, work: () => void): void {
    const timer = setInterval(work, ms);
    this.#closers.push(() => clearInterval(timer));
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#onChange = () => undefined;
    for (let closer = this.#closers.pop(); closer !== undefined; closer = this.#closers.pop()) {
      try {
        await closer();
      } catch (caught) {
        this.#log.warn({ err: String(caught) }, "a part did not close cleanly");
      }
    }
    await this.#remembering;
    this.#log.info("node is down");
    this.#settle.resolve();
  }
}
