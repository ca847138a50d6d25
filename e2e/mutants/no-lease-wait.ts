/**
 * A test build in which the leader does not wait a lease out before it declares it lost. Preloaded into the
 * daemons by `npm run e2e -- --mutant no-lease-wait`; the at-most-once checker must then fail.
 */

import { registerHooks } from "node:module";

const WAIT = "const waitMs = options.leaseMs * (1 + options.maxDriftRatio);";

registerHooks({
  load(url, context, nextLoad) {
    const loaded = nextLoad(url, context);
    if (!url.endsWith("/leases/grantor.ts")) return loaded;
    const { source: original } = loaded;
    const source = typeof original === "string" ? original : new TextDecoder().decode(original);
    if (!source.includes(WAIT)) throw new Error("the mutant no longer matches grantor.ts");
    return { ...loaded, source: source.replace(WAIT, "const waitMs = 1500;") };
  },
});
