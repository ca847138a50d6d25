/**
 * Console with several ports (virtio 1.2, section 5.3): a port with a name becomes /dev/virtio-ports/NAME, a
 * console port becomes hvcN. Input waits in a bounded buffer until the guest has opened the port.
 */

import { assert, utf8 } from "@blixard/std";
import type { DeviceInput } from "../../types.ts";
import {
  CONSOLE_BYTES_PER_RUN_MAX,
  CONSOLE_CHAIN_BYTES_MAX,
  CONSOLE_PORT_NAME_BYTES_MAX,
  CONSOLE_PORTS_MAX,
  CONSOLE_QUEUE_SIZE,
  INPUT_BUFFER_BYTES,
} from "../limits.ts";
import type { VirtioBackend, VirtioIo } from "../virtio-mmio/backend.ts";
import { gather, scatter, slice } from "../virtio-mmio/chain.ts";
import { VirtioMmio, type VirtioMmioOptions } from "../virtio-mmio/device.ts";
import { freshPort, loadConsole, saveConsole, type PortState } from "./persist.ts";

const DEVICE_ID = 3;
const FEATURE_MULTIPORT = 1;

const CONTROL_RECEIVE = 2;
const CONTROL_TRANSMIT = 3;
const CONTROL_BYTES = 8;

const DEVICE_READY = 0;
const PORT_ADD = 1;
const PORT_READY = 3;
const CONSOLE_PORT = 4;
const PORT_OPEN = 6;
const PORT_NAME = 7;

export interface ConsolePortOptions {
  /** Name under /dev/virtio-ports. */
  readonly name?: string;
  /** A terminal (hvc) instead of a plain port. Always counts as opened by the guest. */
  readonly console: boolean;
}

export interface VirtioConsoleOptions extends VirtioMmioOptions {
  readonly ports: readonly ConsolePortOptions[];
}

export function createVirtioConsole(options: VirtioConsoleOptions): VirtioMmio<ConsoleBackend> {
  return new VirtioMmio(options, new ConsoleBackend(options.ports));
}

export class ConsoleBackend implements VirtioBackend {
  readonly deviceId = DEVICE_ID;
  readonly features = 1n << BigInt(FEATURE_MULTIPORT);
  readonly queueSizes: readonly number[];
  readonly #options: readonly ConsolePortOptions[];
  #ports: PortState[];
  /** The shell knows of no room yet. */
  #announced = false;

  constructor(ports: readonly ConsolePortOptions[]) {
    assert(ports.length >= 1 && ports.length <= CONSOLE_PORTS_MAX, "console ports");
    for (const { name } of ports) {
      const length = name === undefined ? 1 : utf8(name).length;
      assert(length >= 1 && length <= CONSOLE_PORT_NAME_BYTES_MAX, "name of a console port");
    }
    this.#options = ports;
    this.#ports = ports.map(freshPort);
    this.queueSizes = Array.from({ length: 2 * (ports.length + 1) }, () => CONSOLE_QUEUE_SIZE);
  }

  config(): Uint8Array {
    const config = new Uint8Array(12);
    new DataView(config.buffer).setUint32(4, this.#options.length, true);
    return config;
  }

  notify(queue: number, io: VirtioIo): void {
    if (queue === CONTROL_RECEIVE) this.#sendControl(io);
    else if (queue === CONTROL_TRANSMIT) this.#takeControl(io);
    else if (queue % 2 === 0) this.#deliver(portOf(queue), io);
    else this.#takeOutput(portOf(queue), io);
  }

  input(input: DeviceInput, io: VirtioIo): void {
    if (input.kind === "consoleInput") {
      // What exceeds the room that was granted is the shell's mistake and is lost.
      this.#ports[input.port]?.input.push(input.data);
      this.#deliver(input.port, io);
    } else if (input.kind === "hostConnected") {
      const port = this.#ports[input.port];
      if (port === undefined || port.hostConnected === input.connected) return;
      port.hostConnected = input.connected;
      if (!input.connected && port.hostToldConnected) port.hostEndPending = true;
      this.#sendControl(io);
    }
  }

  reset(io: VirtioIo): void {
    this.#ports.forEach((old, index) => {
      if (old.guestOpen) this.#setOpen(index, false, io);
      const { hostConnected, input, taken } = old;
      this.#ports[index] = { ...freshPort(), hostConnected, input, taken };
    });
  }

  resume(io: VirtioIo): void {
    this.#announced = true;
    this.#ports.forEach((port, index) => {
      port.taken = INPUT_BUFFER_BYTES - port.input.length;
      this.#grantRoom(index, io);
      if (port.guestOpen) {
        io.emit({ kind: "consolePort", device: io.name, port: index, open: true });
      }
    });
  }

  save(): unknown {
    return saveConsole(this.#ports);
  }

  load(saved: unknown): void {
    this.#ports = loadConsole(saved, this.#options.length);
    this.#announced = false;
  }

  /** Guest to host. */
  #takeOutput(port: number, io: VirtioIo): void {
    const queue = transmitQueue(port);
    let left = CONSOLE_BYTES_PER_RUN_MAX;
    while (left >= CONSOLE_CHAIN_BYTES_MAX) {
      const chain = io.pop(queue);
      if (chain === undefined) return;
      if (chain.readableBytes > CONSOLE_CHAIN_BYTES_MAX) {
        io.broken(`console buffer of ${chain.readableBytes} bytes`);
        return;
      }
      const data = gather(io.memory, chain.readable);
      if (data !== undefined && data.length > 0) {
        io.emit({ kind: "consoleOutput", device: io.name, port, data });
      }
      left -= chain.readableBytes;
      io.push(queue, chain.head, 0);
    }
    io.defer(queue);
  }

  /** Host to guest. */
  #deliver(index: number, io: VirtioIo): void {
    const port = this.#ports[index];
    if (port === undefined) return;
    const open =
      port.guestOpen || this.#options[index]?.console === true || !io.negotiated(FEATURE_MULTIPORT);
    if (!open) return;
    const queue = receiveQueue(index);
    while (port.input.length > 0) {
      const chain = io.pop(queue);
      if (chain === undefined) break;
      if (chain.writableBytes === 0) {
        io.broken("console receive buffer without room");
        return;
      }
      const data = port.input.take(chain.writableBytes);
      port.taken += data.length;
      scatter(io.memory, chain.writable, data);
      io.push(queue, chain.head, data.length);
    }
    if (port.input.length === 0 || port.taken >= INPUT_BUFFER_BYTES / 4) this.#grantRoom(index, io);
  }

  #grantRoom(index: number, io: VirtioIo): void {
    const port = this.#ports[index];
    if (port === undefined || port.taken === 0 || !this.#announced) return;
    const bytes = port.taken;
    port.taken = 0;
    io.emit({ kind: "inputRoom", device: io.name, port: index, bytes });
  }

  /** Messages of the guest. Unknown ones are ignored, as the specification allows new ones. */
  #takeControl(io: VirtioIo): void {
    for (;;) {
      const chain = io.pop(CONTROL_TRANSMIT);
      if (chain === undefined) break;
      const message = gather(io.memory, slice(chain.readable, 0, CONTROL_BYTES));
      io.push(CONTROL_TRANSMIT, chain.head, 0);
      if (message === undefined || message.length < CONTROL_BYTES) continue;
      const view = new DataView(message.buffer);
      this.#control(view.getUint32(0, true), view.getUint16(4, true), view.getUint16(6, true), io);
    }
    this.#sendControl(io);
  }

  #control(id: number, event: number, value: number, io: VirtioIo): void {
    if (event === DEVICE_READY) {
      if (value === 1) for (const port of this.#ports) port.addDue = true;
      return;
    }
    const port = this.#ports[id];
    if (port === undefined) return;
    if (event === PORT_READY) {
      if (value !== 1) return;
      port.ready = true;
      port.hostToldConnected = false;
      port.hostEndPending = false;
      port.consoleDue = this.#options[id]?.console === true;
      port.nameDue = this.#options[id]?.name !== undefined;
    } else if (event === PORT_OPEN) {
      this.#setOpen(id, value === 1, io);
    }
  }

  #setOpen(index: number, open: boolean, io: VirtioIo): void {
    const port = this.#ports[index];
    if (port === undefined || port.guestOpen === open) return;
    port.guestOpen = open;
    io.emit({ kind: "consolePort", device: io.name, port: index, open });
    if (open) this.#deliver(index, io);
  }

  /** Sends what is due for as long as the guest has buffers for it. */
  #sendControl(io: VirtioIo): void {
    this.#ports.forEach((port, id) => {
      if (port.addDue && this.#send(io, id, PORT_ADD, 1)) port.addDue = false;
      if (port.consoleDue && this.#send(io, id, CONSOLE_PORT, 1)) port.consoleDue = false;
      if (port.nameDue && this.#send(io, id, PORT_NAME, 1, this.#options[id]?.name)) {
        port.nameDue = false;
      }
      if (!port.ready || port.consoleDue || port.nameDue) return;
      if (port.hostEndPending && this.#send(io, id, PORT_OPEN, 0)) {
        port.hostEndPending = false;
        port.hostToldConnected = false;
      }
      const news = !port.hostEndPending && port.hostToldConnected !== port.hostConnected;
      if (news && this.#send(io, id, PORT_OPEN, port.hostConnected ? 1 : 0)) {
        port.hostToldConnected = port.hostConnected;
      }
    });
  }

  /** False when the guest has no buffer for it now. */
  #send(io: VirtioIo, id: number, event: number, value: number, name?: string): boolean {
    const chain = io.pop(CONTROL_RECEIVE);
    if (chain === undefined) return false;
    const text = name === undefined ? new Uint8Array(0) : utf8(name);
    const message = new Uint8Array(CONTROL_BYTES + text.length);
    const view = new DataView(message.buffer);
    view.setUint32(0, id, true);
    view.setUint16(4, event, true);
    view.setUint16(6, value, true);
    message.set(text, CONTROL_BYTES);
    if (chain.writableBytes < message.length) {
      io.broken(`control buffer of ${chain.writableBytes} bytes`);
      return false;
    }
    scatter(io.memory, chain.writable, message);
    io.push(CONTROL_RECEIVE, chain.head, message.length);
    return true;
  }
}

/** Port 0 has queues 0 and 1, the control queues are 2 and 3, port n the pair from 2n + 2 on. */
function receiveQueue(port: number): number {
  return port === 0 ? 0 : 2 * port + 2;
}

function transmitQueue(port: number): number {
  return receiveQueue(port) + 1;
}

function portOf(queue: number): number {
  return queue < 2 ? 0 : (queue - (queue % 2)) / 2 - 1;
}
