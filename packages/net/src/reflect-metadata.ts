/**
 * The three functions of the Reflect metadata proposal that @peculiar/x509's dependency container
 * calls while its modules load. Importing this file provides them unless something else already
 * has.
 */

interface ReflectMetadata {
  defineMetadata?: (key: unknown, value: unknown, target: object) => void;
  getOwnMetadata?: (key: unknown, target: object) => unknown;
  getMetadata?: (key: unknown, target: object) => unknown;
}

const store = new WeakMap<object, Map<unknown, unknown>>();

function getOwn(key: unknown, target: object): unknown {
  return store.get(target)?.get(key);
}

// Safe: the three members are optional, and are only added where they are absent.
const reflect = Reflect as ReflectMetadata;
if (reflect.getMetadata === undefined) {
  reflect.defineMetadata = (key, value, target) => {
    const entries = store.get(target) ?? new Map<unknown, unknown>();
    entries.set(key, value);
    store.set(target, entries);
  };
  reflect.getOwnMetadata = getOwn;
  reflect.getMetadata = (key, target) => {
    for (let at: object | null = target; at !== null; at = Reflect.getPrototypeOf(at)) {
      const value = getOwn(key, at);
      if (value !== undefined) return value;
    }
    return undefined;
  };
}
