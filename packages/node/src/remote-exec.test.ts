import assert from "node:assert/strict";
import { duplexPair } from "node:stream";
import { test } from "node:test";
import type { ExecEvent, ExecSession } from "@blixard/std";
import { BlixardError, failure } from "@blixard/std";
import { openRemoteExec, sendFailure, serveExec } from "./remote-exec.ts";

interface Recorded {
  readonly input: string[];
  closed: boolean;
}

/** A session that answers with `events` once its stdin was closed. */
function fakeSession(events: readonly ExecEvent[]): { session: ExecSession; recorded: Recorded } {
  const recorded: Recorded = { input: [], closed: false };
  const stdin = Promise.withResolvers<void>();
  const session: ExecSession = {
    events: (async function* () {
      await stdin.promise;
      yield* events;
    })(),
    write: (data) => {
      recorded.input.push(`write ${new TextDecoder().decode(data)}`);
      return Promise.resolve();
    },
    closeStdin: () => {
      recorded.input.push("closeStdin");
      stdin.resolve();
    },
    signal: (number) => recorded.input.push(`signal ${number}`),
    resize: (rows, cols) => recorded.input.push(`resize ${rows}x${cols}`),
    close: () => {
      recorded.closed = true;
      stdin.resolve();
    },
  };
  return { session, recorded };
}

test("input, output and the exit code pass through in order", async () => {
  const [near, far] = duplexPair();
  const big = new Uint8Array(200_000).fill(65);
  const { session, recorded } = fakeSession([
    { kind: "stdout", data: big },
    { kind: "stderr", data: Uint8Array.of(66) },
    { kind: "exit", code: 137 },
  ]);
  const served = serveExec(session, far);
  const remote = await openRemoteExec(near);
  await remote.write(new TextEncoder().encode("hello"));
  remote.resize(24, 80);
  remote.signal(2);
  remote.closeStdin();
  let stdout = 0;
  const rest: ExecEvent[] = [];
  for await (const event of remote.events) {
    if (event.kind === "stdout") stdout += event.data.length;
    else rest.push(event);
  }
  await served;
  assert.equal(stdout, big.length);
  assert.deepEqual(rest, [
    { kind: "stderr", data: Uint8Array.of(66) },
    { kind: "exit", code: 137 },
  ]);
  assert.deepEqual(recorded.input, ["write hello", "resize 24x80", "signal 2", "closeStdin"]);
});

test("a failure to open arrives with its code", async () => {
  const [near, far] = duplexPair();
  const failed = failure("NotRunning", { vm: "web", state: "stopped" }, "VM web is stopped");
  void sendFailure(far, new BlixardError(failed));
  await assert.rejects(openRemoteExec(near), (thrown) => {
    assert.ok(thrown instanceof BlixardError);
    assert.deepEqual(thrown.failure, failed);
    return true;
  });
});

test("when the asking side goes away the session is closed", async () => {
  const [near, far] = duplexPair();
  const { session, recorded } = fakeSession([{ kind: "exit", code: 0 }]);
  const served = serveExec(session, far);
  const remote = await openRemoteExec(near);
  remote.close();
  await served;
  assert.equal(recorded.closed, true);
});

test("a lost stream and an oversize frame are GuestUnreachable, not silence", async () => {
  const [near, far] = duplexPair();
  far.write(Uint8Array.of(20, 0, 0, 0, 0));
  const remote = await openRemoteExec(near);
  far.end(Uint8Array.of(16, 255, 255, 255, 255));
  await assert.rejects(
    async () => {
      for await (const event of remote.events) assert.fail(event.kind);
    },
    (thrown) => thrown instanceof BlixardError && thrown.code === "GuestUnreachable",
  );
});
