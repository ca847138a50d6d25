/**
 * Shapes of everything that the HTTP API takes and gives. Requests are strict: an unknown field is
 * refused by name, so that a misspelt option never passes silently. Answers are open: a client must
 * accept fields that a newer server adds.
 */

import { z } from "@hono/zod-openapi";
import { ERRORS, type VmStats as VmStatsRecord } from "@blixard/std";
import type { NodeRecord, PlacementExplanation, VmRecord, VmSpec } from "@blixard/control";
import type { ClusterStatus, NodeView } from "../backend.ts";
import { EXEC_ARGS_MAX, REF_CHARS_MAX } from "../limits.ts";

const count = z.int().min(0);
const revision = z.int().min(0).openapi({ description: "Position in the change stream." });
const strings = z.record(z.string(), z.string());

export const Name = z
  .string()
  .regex(
    /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/,
    "expected 1 to 63 of a-z, 0-9 and -, beginning and ending with a letter or digit",
  )
  .openapi({ example: "web-1" });

export const Ref = z
  .string()
  .min(1)
  .max(REF_CHARS_MAX)
  .openapi({ description: "An id, a name, or a unique prefix of one.", example: "web-1" });

export const Phase = z.enum([
  "pending",
  "scheduled",
  "starting",
  "running",
  "stopping",
  "stopped",
  "failed",
]);
export const Desired = z.enum(["running", "stopped"]);

export const CreateVmSpec = z
  .strictObject({
    name: Name,
    image: z.string().min(1).max(255).openapi({ example: "base" }),
    vcpus: z.int().min(1).default(1),
    memoryBytes: z.int().min(1).default(268_435_456),
    diskBytes: count.default(0).openapi({ description: "0: no disk beside the image." }),
    labels: strings.default({}),
    command: z
      .array(z.string())
      .max(EXEC_ARGS_MAX)
      .default([])
      .openapi({ description: "Run after boot, output on the console; empty: nothing." }),
  })
  .openapi("CreateVmSpec");

export const CreateVm = z
  .strictObject({ spec: CreateVmSpec, desired: Desired.default("running") })
  .openapi("CreateVm");

export const Spec = z
  .strictObject({
    name: z.string(),
    image: z.string(),
    vcpus: z.int(),
    memoryBytes: z.int(),
    diskBytes: z.int(),
    labels: strings,
    command: z.array(z.string()),
  })
  .openapi("VmSpec");

export const Vm = z
  .strictObject({
    id: z.string(),
    spec: Spec,
    desired: Desired,
    deleting: z.boolean(),
    phase: Phase,
    nodeId: z.string().optional(),
    epoch: count,
    restarts: count.openapi({
      description: "Starts in a row, the first among them, since it last ran well or was touched.",
    }),
    reason: z.string().optional(),
    health: z
      .enum(["unresponsive"])
      .optional()
      .openapi({ description: "Of a running VM whose agent has stopped to answer its node." }),
    commandExit: z.int().optional(),
    createdRevision: revision,
    modifiedRevision: revision,
  })
  .openapi("Vm");

const Capacity = z
  .strictObject({ vcpus: count, memoryBytes: count, diskBytes: count })
  .openapi("Capacity");

export const NodeResource = z
  .strictObject({
    id: z.string(),
    peerId: z.int(),
    name: z.string(),
    publicKey: z.string(),
    address: z.string(),
    capacity: Capacity,
    drivers: z.array(z.string()),
    labels: strings,
    vmBounds: z
      .strictObject({ vcpusMax: count, memoryBytesMin: count, memoryBytesMax: count })
      .optional()
      .openapi({ description: "What its driver can make of one VM; absent until it says so." }),
    commandVersion: z.int(),
    state: z.enum(["joining", "up", "lost"]),
    maintenance: z
      .enum(["cordon", "drain", "drainDisks"])
      .optional()
      .openapi({ description: "Absent: the node takes VMs." }),
    leaseEpoch: count,
    createdRevision: revision,
    modifiedRevision: revision,
  })
  .openapi("NodeRecord");

export const Node = NodeResource.extend({
  used: Capacity,
  role: z.enum(["leader", "voter", "learner", "none"]),
}).openapi("Node");

export const SetMaintenance = z
  .strictObject({
    maintenance: z.enum(["none", "cordon", "drain", "drainDisks"]).openapi({
      description:
        "cordon: takes no new VMs. drain: its VMs move off, too, one at a time, but those with a disk, " +
        "which would be lost. drainDisks: these as well.",
    }),
  })
  .openapi("SetMaintenance");

export const VmList = z.object({ items: z.array(Vm), revision }).openapi("VmList");
export const NodeList = z.object({ items: z.array(Node), revision }).openapi("NodeList");

export const Status = z
  .strictObject({
    clusterId: z.string(),
    self: z.object({ id: z.string(), name: z.string(), version: z.string() }),
    leader: z.object({ id: z.string(), name: z.string() }).optional(),
    term: count,
    commitIndex: count,
    appliedIndex: count,
    stateHash: z.string(),
    members: z.array(
      z.object({
        peerId: z.int(),
        id: z.string(),
        name: z.string(),
        address: z.string(),
        voter: z.boolean(),
      }),
    ),
    healthy: z.boolean(),
    alarms: z.array(z.string()),
  })
  .openapi("ClusterStatus");

export const Explanation = z
  .strictObject({
    vmId: z.string(),
    chosen: z.string().optional(),
    nodes: z.array(
      z.object({
        nodeId: z.string(),
        name: z.string(),
        fits: z.boolean(),
        score: z.number().optional(),
        why: z.string(),
      }),
    ),
  })
  .openapi("PlacementExplanation");

const amount = z.number().min(0);
const milliseconds = amount.openapi({ description: "Milliseconds." });

export const VmStats = z
  .strictObject({
    vmId: z.string(),
    epoch: count,
    driver: z.string(),
    process: z
      .strictObject({
        pid: z.int(),
        cpuSeconds: amount,
        residentBytes: count,
        privateBytes: count,
      })
      .optional()
      .openapi({ description: "Of the process that runs the guest, as its host counts it." }),
    consoleBytes: count,
    execution: z
      .strictObject({
        instructions: count,
        mips: z.strictObject({ lastSecond: amount, average: amount, busy: amount }),
        time: z.strictObject({
          totalMs: milliseconds,
          busyMs: milliseconds,
          idleMs: milliseconds,
          heldMs: milliseconds,
          throttledMs: milliseconds,
        }),
      })
      .optional()
      .openapi({ description: "Of a machine that counts its guest's instructions." }),
    counters: z.record(z.string(), z.record(z.string(), amount)).openapi({
      description:
        "Groups of counters since the VM's start, as the driver has them: exits, tlb, memory, code, and " +
        "one for each device. Groups and names may be added at any time.",
    }),
  })
  .openapi("VmStats");

export const CreateTicket = z
  .strictObject({
    uses: z.int().min(1).max(1000).default(1),
    ttlMs: z.int().min(1000).max(2_592_000_000).default(3_600_000),
  })
  .openapi("CreateTicket");

export const Ticket = z
  .strictObject({ ticket: z.string(), expiresAtMs: z.int() })
  .openapi("Ticket");

export const Health = z.object({ ok: z.literal(true) }).openapi("Health");

/** The keys of ERRORS are the closed union of codes; z.enum wants a tuple of at least one. */
const codes = Object.keys(ERRORS);
export const ErrorBody = z
  .strictObject({
    error: z.object({
      code: z.enum(codes),
      data: z.record(z.string(), z.unknown()),
      message: z.string(),
      hint: z.string().optional(),
    }),
    correlationId: z.string(),
  })
  .openapi("Error");

/** The first message of an exec session, as JSON text. */
export const ExecStart = z
  .strictObject({
    argv: z.array(z.string()).min(1).max(EXEC_ARGS_MAX),
    env: strings.default({}),
    cwd: z.string().min(1).optional(),
    pty: z
      .strictObject({ rows: z.int().min(1).max(65_535), cols: z.int().min(1).max(65_535) })
      .optional(),
  })
  .openapi("ExecStart");

export const WatchEventBody = z
  .discriminatedUnion("kind", [
    z.object({
      kind: z.literal("vm"),
      type: z.enum(["added", "modified", "removed"]),
      revision,
      object: Vm,
    }),
    z.object({
      kind: z.literal("node"),
      type: z.enum(["added", "modified", "removed"]),
      revision,
      object: NodeResource,
    }),
    z.object({ kind: z.literal("bookmark"), revision }),
  ])
  .openapi("WatchEvent");

const wholeNumber = z
  .string()
  .regex(/^\d{1,15}$/, "expected a whole number")
  .transform(Number);

export const ReadQuery = z.strictObject({
  consistency: z.enum(["linearizable", "stale"]).default("linearizable").openapi({
    description: "linearizable waits for a quorum round; stale answers from this node at once.",
  }),
});
export const WatchQuery = z.strictObject({
  fromRevision: wholeNumber
    .optional()
    .openapi({ type: "integer", description: "Begin just after it; without: from now." }),
});
export const LogsQuery = z.strictObject({
  follow: z
    .enum(["true", "false"])
    .default("false")
    .transform((text) => text === "true")
    .openapi({ type: "boolean" }),
  tailBytes: wholeNumber.optional().openapi({ type: "integer" }),
});

/**
 * Compile-time proof that schema and record have the same fields: a field added to a record and not
 * here (or the reverse) makes one of these `false`, and the assignment an error.
 */
type SameKeys<A, B> = [keyof A, keyof B] extends [keyof B, keyof A] ? true : false;
type Fits<Record_, Schema extends z.ZodType> =
  Record_ extends z.input<Schema> ? SameKeys<Record_, z.input<Schema>> : false;
type Mutable<T> = T extends readonly (infer Item)[]
  ? Mutable<Item>[]
  : T extends string | number | boolean
    ? T
    : { -readonly [K in keyof T]: Mutable<T[K]> };

export const SCHEMAS_MATCH_RECORDS: readonly [
  Fits<Mutable<VmRecord>, typeof Vm>,
  Fits<Mutable<VmSpec>, typeof Spec>,
  Fits<Mutable<NodeRecord>, typeof NodeResource>,
  Fits<Mutable<NodeView>, typeof Node>,
  Fits<Mutable<ClusterStatus>, typeof Status>,
  Fits<Mutable<PlacementExplanation>, typeof Explanation>,
  Fits<Mutable<VmStatsRecord>, typeof VmStats>,
  z.output<typeof CreateVmSpec> extends VmSpec ? true : false,
] = [true, true, true, true, true, true, true, true];
