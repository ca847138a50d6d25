/** Bugs of the control plane: leases, placement, the life of a VM. */

import type { Patch } from "../patch.ts";

const CONTROL = "packages/control/src";

export const CONTROL_PATCHES: readonly Patch[] = [
  {
    name: "lease-not-awaited",
    file: `${CONTROL}/leases/grantor.ts`,
    find: "if (nowMs - lease.grantedAtMs <= waitMs) continue;",
    replace: "if (nowMs - lease.grantedAtMs <= Math.min(waitMs, options.renewEveryMs)) continue;",
    why: "a node is given up as soon as one renewal is late",
    profile: "control",
  },
  {
    name: "new-leader-does-not-wait",
    file: `${CONTROL}/leases/grantor.ts`,
    find: "const grantedAtMs = Math.max(nowMs, grantor.leading?.sinceMs ?? nowMs);",
    replace:
      "const isNew = (grantor.leading?.sinceMs ?? nowMs) === nowMs;\n" +
      "  const grantedAtMs = isNew ? Number.NEGATIVE_INFINITY : nowMs;",
    why: "a new leader gives up at once the nodes that the old one had granted a lease",
    profile: "control",
  },
  {
    name: "granted-while-expiring",
    file: `${CONTROL}/leases/grantor.ts`,
    find: 'if (lease.expiryProposedAtMs !== undefined) return refuse("expiring");',
    replace: "",
    why: "a lease is renewed while its expiry is on its way through the log",
    profile: "control",
  },
  {
    name: "granted-to-an-old-epoch",
    file: `${CONTROL}/leases/grantor.ts`,
    find: 'if (record.leaseEpoch !== leaseEpoch) return refuse("wrongEpoch");',
    replace: "",
    why: "a lease epoch that is over is renewed",
    profile: "control",
  },
  {
    name: "granted-to-the-lost",
    file: `${CONTROL}/leases/grantor.ts`,
    find: 'if (record.state !== "up") return refuse("lost");',
    replace: "",
    why: "a node that was declared lost has its lease renewed",
    profile: "control",
  },
  {
    name: "deadline-from-the-answer",
    file: `${CONTROL}/leases/holder.ts`,
    find: "const deadline = deadlineFrom(holder, request.sentAt);",
    replace: "const deadline = deadlineFrom(holder, now ?? request.sentAt);",
    why: "the deadline counts from the answer, not from the request",
    profile: "control",
  },
  {
    name: "acquired-while-running",
    file: `${CONTROL}/leases/client.ts`,
    find: "    this.#perform(holderTick(this.#holder, { ...this.#now(), runningVms, ...known }));\n",
    // Both layers: holder.ts waits until nothing is live, #acquire kills and waits for that. Either
    // one alone is enough, as they look at the same instances.
    replace:
      "    for (const effect of holderTick(this.#holder, { ...this.#now(), ...known })) {\n" +
      '      if (effect.kind !== "acquire") this.#perform([effect]);\n' +
      "      else this.#deps.acquire(effect.fromEpoch, () => undefined);\n" +
      "    }\n",
    why: "a node says that nothing runs there while something does",
    profile: "control",
  },
  {
    name: "clock-jump-not-noticed",
    file: `${CONTROL}/leases/holder.ts`,
    find: "if (Math.abs(jumpMs) > options.maxClockJumpMs) {",
    replace: "if (Math.abs(jumpMs) > Number.MAX_VALUE) {",
    why: "a machine that slept goes on as though it had not",
    profile: "control",
  },
  {
    name: "expiry-of-another-term",
    file: `${CONTROL}/apply/leases.ts`,
    find: "if (term !== tx.term) {",
    replace: "if (term > tx.term) {",
    why: "an expiry of a former leader takes effect after a later one renewed the lease",
    profile: "control",
  },
  {
    name: "expiry-of-another-epoch",
    file: `${CONTROL}/apply/leases.ts`,
    find: "if (node.leaseEpoch !== leaseEpoch) {",
    replace: "if (node.leaseEpoch < leaseEpoch) {",
    why: "a late expiry takes away a newer lease",
    profile: "control",
  },
  {
    name: "stale-claim",
    file: `${CONTROL}/apply/placement.ts`,
    find: "  if (stale !== undefined) return stale;\n",
    replace: "",
    why: "a start is claimed under a lease epoch that is over",
    profile: "control",
  },
  {
    name: "no-capacity-check",
    file: `${CONTROL}/apply/placement.ts`,
    find: "  if (why !== undefined) {",
    replace: '  if (why === "nothing") {',
    why: "two plans together overfill a node",
    profile: "control",
  },
  {
    name: "placed-again",
    file: `${CONTROL}/apply/placement.ts`,
    find: `  if (vm.phase !== "pending") return conflict(\`VM \${name} is \${vm.phase}, not pending\`);
  if (vm.desired !== "running") return conflict(\`VM \${name} is not wanted to run\`);
  if (vm.modifiedRevision !== atRevision) {`,
    replace: `  if (vm.desired !== "running") return conflict(\`VM \${name} is not wanted to run\`);
  if (vm.modifiedRevision < atRevision) {`,
    why: "a VM that has a node is placed on another by a plan that came late",
    profile: "control",
  },
  {
    name: "epoch-used-twice",
    file: `${CONTROL}/apply/placement.ts`,
    find: "epoch: as<Epoch>(last + 1),",
    replace: "epoch: as<Epoch>(Math.max(1, last)),",
    why: "two starts have the same epoch",
    profile: "control",
  },
  {
    name: "report-of-an-old-start",
    file: `${CONTROL}/apply/report.ts`,
    find: "if (vm.epoch !== report.epoch) {",
    replace: "if (vm.epoch < report.epoch) {",
    why: "what is said about an earlier start changes a later one",
    profile: "control",
  },
  {
    name: "deleted-while-running",
    file: `${CONTROL}/apply/vms.ts`,
    find: "if (vm.nodeId === undefined) dropVm(tx, vm);",
    replace: "dropVm(tx, vm);",
    why: "a VM's record goes before its node has stopped it",
    profile: "control",
  },
];
