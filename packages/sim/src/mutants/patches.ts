/** All planted bugs, by name. */

import type { Patch } from "./patch.ts";
import { CONTROL_PATCHES } from "./patches/control.ts";
import { RAFT_NODE_PATCHES } from "./patches/raft-node.ts";
import { RAFT_FEATURE_PATCHES } from "./patches/raft-features.ts";
import { RAFT_PATCHES } from "./patches/raft.ts";

export const PATCHES: readonly Patch[] = [
  ...RAFT_PATCHES,
  ...RAFT_FEATURE_PATCHES,
  ...RAFT_NODE_PATCHES,
  ...CONTROL_PATCHES,
];
