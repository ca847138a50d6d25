/** Saved form of the console. */

import { ByteQueue } from "../byte-queue.ts";
import { CONSOLE_PORTS_MAX, INPUT_BUFFER_BYTES } from "../limits.ts";
import { openSaved, type SavedHeader } from "../saved.ts";

interface PortFlags {
  /** The guest has the port open. */
  guestOpen: boolean;
  hostConnected: boolean;
  /** What the guest was last told of the host's side, and whether it must hear of an end in between. */
  hostToldConnected: boolean;
  hostEndPending: boolean;
  /** Messages of the control queue that are due. Flags, so that a guest cannot make them pile up. */
  addDue: boolean;
  consoleDue: boolean;
  nameDue: boolean;
  /** The driver has set this port up: from now on it is told when the host comes and goes. */
  ready: boolean;
}

export interface PortState extends PortFlags {
  readonly input: ByteQueue;
  /** Bytes taken since the shell was last told of room. */
  taken: number;
}

export interface SavedConsole extends SavedHeader {
  readonly ports: readonly (Readonly<PortFlags> & { readonly input: Uint8Array })[];
}

const KIND = "virtio-console";
const VERSION = 1;

export function freshPort(): PortState {
  return {
    guestOpen: false,
    hostConnected: false,
    hostToldConnected: false,
    hostEndPending: false,
    addDue: false,
    consoleDue: false,
    nameDue: false,
    ready: false,
    input: new ByteQueue(INPUT_BUFFER_BYTES),
    taken: 0,
  };
}

export function saveConsole(ports: readonly PortState[]): SavedConsole {
  return {
    device: KIND,
    version: VERSION,
    ports: ports.map((port) => ({
      guestOpen: port.guestOpen,
      hostConnected: port.hostConnected,
      hostToldConnected: port.hostToldConnected,
      hostEndPending: port.hostEndPending,
      addDue: port.addDue,
      consoleDue: port.consoleDue,
      nameDue: port.nameDue,
      ready: port.ready,
      input: port.input.copy(),
    })),
  };
}

/** Throws `Corrupt`. Ports beyond the saved ones start afresh. */
export function loadConsole(saved: unknown, ports: number): PortState[] {
  const fields = openSaved(saved, KIND, VERSION);
  const loaded = fields.list("ports", Math.min(ports, CONSOLE_PORTS_MAX), (item) => {
    const input = new ByteQueue(INPUT_BUFFER_BYTES);
    input.push(item.bytes("input", INPUT_BUFFER_BYTES));
    return {
      guestOpen: item.bool("guestOpen"),
      hostConnected: item.bool("hostConnected"),
      hostToldConnected: item.bool("hostToldConnected"),
      hostEndPending: item.bool("hostEndPending"),
      addDue: item.bool("addDue"),
      consoleDue: item.bool("consoleDue"),
      nameDue: item.bool("nameDue"),
      ready: item.bool("ready"),
      input,
      taken: 0,
    };
  });
  return Array.from({ length: ports }, (_, index) => loaded[index] ?? freshPort());
}
