/** What the examples in doc comments take for granted; main.ts puts it before each. Never run. */

import type { ClusterTransport, RaftCluster } from "@blixard/raft-node";

import { Counter } from "../../examples/counter/counter.ts";

export { Counter };
export declare const machine: Counter;
export declare const transport: ClusterTransport;
export declare const cluster: RaftCluster<number, number, "value", number>;
