// One process with its log on a file system that is really full, or read-only: a small one in memory, which only that process has; and one whose directory
// is moved away. docs/OPERATIONS.md says what happens then.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { ask } from "../lib/http.js";
import { startService } from "../lib/stack.js";
import { bearer } from "../lib/token.js";
import { until } from "../lib/wait.js";
import { SETTINGS } from "./cluster.js";

const CHANNEL = "public.full";

/** Why no process may mount anything here, if so. */
function refusal() {
  try {
    execFileSync("unshare", ["-Urm", "sh", "-c", "mount -t tmpfs none /mnt"], { stdio: "pipe" });
    return false;
  } catch (error) {
    return `a file system of its own needs user and mount namespaces: ${error.stderr ?? error.message}`;
  }
}

describe("one process with its log on a small file system", { skip: refusal() }, () => {
  const directory = mkdtempSync(path.join(tmpdir(), "trident-full-"));
  after(() => rmSync(directory, { recursive: true }));
  const settings = { ...SETTINGS, TRIDENT_BUS: `file:${directory}`, TRIDENT_DISK_TOTAL: "64MiB", TRIDENT_HISTORY_TOTAL: "64KiB" };
  const start = (options) => startService("standalone", settings, undefined, { mount: `mount -t tmpfs -o ${options} trident "${directory}"` });

  describe("that is full", () => {
    let service;
    before(async () => {
      service = await start("size=3m");
    });
    after(() => service?.stop("SIGKILL"));
    const acknowledged = [];
    const send = () => ask(`${service.base}/events?channel=${CHANNEL}`, { method: "POST", headers: { "Content-Type": "text/plain", ...bearer() }, body: "x".repeat(40_000) });
    const readiness = async () => {
      const answer = await ask(`${service.base}/readyz`);
      return { status: answer.status, ...answer.json() };
    };
    /** The ids of all that is there. */
    async function stored() {
      const ids = [];
      for (let since = "earliest"; ;) {
        const { messages, cursor, gap } = (await ask(`${service.base}/data?channel=${CHANNEL}&since=${since}&mode=poll`)).json();
        assert.ok(!gap, "nothing is missing");
        if (messages.length === 0) return ids;
        ids.push(...messages.map(({ id }) => id));
        since = cursor;
      }
    }

    test("refuses publications with disk_full, says so, and serves readers", async () => {
      let answer;
      for (answer = await send(); answer.status === 201; answer = await send()) {
        acknowledged.push(answer.json().id);
        assert.ok(acknowledged.length < 100, "3 MiB have no room for 4");
      }
      assert.ok(acknowledged.length > 20, `${acknowledged.length} had room: ${answer.body}`);
      assert.deepEqual([answer.status, answer.json().error.code], [503, "disk_full"]);
      assert.ok(answer.headers["retry-after"], "it says when to try again");
      const { status, degraded } = await readiness();
      assert.equal(status, "ready");
      assert.equal(degraded.length, 1);
      assert.equal(degraded[0].reason, "disk_full");
      assert.match(degraded[0].message, /no space is left on the disk/);
      assert.deepEqual(await stored(), acknowledged);
      assert.match(service.said(), /nothing can be published.*no space is left on the disk/);
    });

    test("publishes again by itself when there is space", async () => {
      execFileSync("nsenter", ["-t", String(service.pid), "-U", "-m", "--preserve-credentials", "mount", "-o", "remount,size=16m", directory]);
      const answer = await until("a publication", async () => {
        const answer = await send();
        return answer.status === 201 && answer;
      });
      acknowledged.push(answer.json().id);
      assert.deepEqual((await readiness()).degraded ?? [], []);
      assert.deepEqual(await stored(), acknowledged, "what was refused is not there");
      assert.match(service.said(), /messages can be published again/);
    });
  });

  test("that is read-only: it does not start, and says why", async () => {
    await assert.rejects(start("ro"), (error) => {
      assert.ok(error.message.includes(directory), error.message);
      assert.match(error.message, /the file system is read-only/);
      return true;
    });
  });
});

test("a directory that is moved away: publishing is refused until it is back", async () => {
  const directory = mkdtempSync(path.join(tmpdir(), "trident-moved-"));
  const service = await startService("standalone", { ...SETTINGS, TRIDENT_BUS: `file:${directory}` });
  const send = () => ask(`${service.base}/events?channel=${CHANNEL}`, { method: "POST", headers: { "Content-Type": "text/plain", ...bearer() }, body: "x" });
  const readiness = () => ask(`${service.base}/readyz`);
  try {
    assert.equal((await send()).status, 201);
    renameSync(directory, `${directory}-away`);
    // It is noticed once a second.
    const unready = await until("the reason on /readyz", async () => {
      const answer = await readiness();
      return answer.status === 503 && answer;
    });
    assert.match(unready.body, /bus_unavailable/);
    assert.ok(unready.body.includes(directory), unready.body);
    const refused = await send();
    assert.deepEqual([refused.status, refused.json().error.code], [503, "bus_unavailable"]);
    renameSync(`${directory}-away`, directory);
    await until("a publication", async () => (await send()).status === 201);
    await until("readiness", async () => (await readiness()).status === 200);
  } finally {
    await service.stop("SIGKILL");
    for (const name of [directory, `${directory}-away`]) rmSync(name, { recursive: true, force: true });
  }
});
