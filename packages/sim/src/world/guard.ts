/** Nothing in a world may see real time, real randomness or the event loop: inside, they throw. */

const GUARDED: readonly (readonly [object, string])[] = [
  [globalThis, "Date"],
  [globalThis, "setTimeout"],
  [globalThis, "setInterval"],
  [globalThis, "setImmediate"],
  [globalThis, "queueMicrotask"],
  [globalThis, "fetch"],
  [Math, "random"],
  [performance, "now"],
  [crypto, "getRandomValues"],
  [crypto, "randomUUID"],
  [process, "hrtime"],
  [process, "nextTick"],
];

/** Runs `inside`, which must be synchronous, with the real world out of reach. */
export function guarded<T>(inside: () => T): T {
  const saved = GUARDED.map(([owner, name]) => Object.getOwnPropertyDescriptor(owner, name));
  for (const [owner, name] of GUARDED) {
    Object.defineProperty(owner, name, {
      configurable: true,
      get: () => {
        throw new Error(`${name} was used inside the deterministic world`);
      },
    });
  }
  try {
    return inside();
  } finally {
    GUARDED.forEach(([owner, name], at) => {
      const descriptor = saved[at];
      if (descriptor === undefined) Reflect.deleteProperty(owner, name);
      else Object.defineProperty(owner, name, descriptor);
    });
  }
}
