import { testProfile } from "./testing/profile.ts";

testProfile({
  profile: "node",
  runs: 250,
  reaches: ["acked", "reads", "leaders", "faults", "memberChanges", "restores", "damaged"],
  mutants: [
    ["lyingSync", /without rot|never rotted|acknowledged|differs|two leaders|a slot has room/],
    ["applyTwice", /state at index/],
  ],
});
