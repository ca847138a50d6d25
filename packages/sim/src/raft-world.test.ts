import { testProfile } from "./testing/profile.ts";

testProfile({
  profile: "raft",
  runs: 1650,
  reaches: ["acked", "reads", "leaders", "faults", "memberChanges", "installs", "repairs"],
  mutants: [
    ["lyingSync", /two leaders|acknowledged|differs|voted|caught up|committed/],
    ["sendBeforePersist", /committed|acknowledged|differs|caught up|livelock/],
    ["forgetVote", /voted for|two leaders/],
    ["applyTwice", /state at index/],
  ],
});
