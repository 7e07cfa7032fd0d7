// One process with its log on disk: kill -9, and power cuts that lose what was not synced.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { ask, publish } from "../lib/http.js";
import { seed } from "../lib/random.js";
import { UnsyncedDisk } from "../lib/unsynced.js";
import { sleep } from "../lib/wait.js";
import { recoveries, startAlone } from "./alone.js";
import { faultsOf } from "./trial.js";

/** How often the process is killed, and the power is cut; TRIDENT_KILLS=200 for a run by hand. */
const KILLS = Number(process.env.TRIDENT_KILLS || 20);
const CUTS = Number(process.env.TRIDENT_KILLS || 10);

/** Declares a fault: `times` of `fault(alone, trial)`, in a process that `start()` starts. */
function suffers(name, times, start, fault) {
  describe(`${name} (TRIDENT_SEED=${seed})`, () => {
    let alone;
    before(async () => {
      alone = await start();
    });
    after(() => alone?.stop());
    faultsOf(() => alone)(name, (trial) => fault(alone, trial), {
      renames: true,
      // Less than the slowest reader takes, which gets one message an answer, and older ones from the disk.
      every: 150,
      timeout: 60_000 + times * 10_000,
      check(row, trial) {
        const { recovered, owed, fresh } = recoveries(trial);
        console.log(`sessions recovered: ${recovered}, of which had to be: ${owed}; not recovered: ${fresh}`);
        assert.ok(owed > times, "most sessions are older than their last change");
      },
    });
  });
}

suffers(
  `one process with its log on disk: kill -9, ${KILLS} times`,
  KILLS,
  () => startAlone({ kills: KILLS, settings: { TRIDENT_FSYNC: process.env.TRIDENT_FSYNC || "always" } }),
  (alone, trial) => alone.killed(trial, KILLS),
);
suffers(
  `one process with its log on disk: ${CUTS} power cuts`,
  CUTS,
  () => startAlone({ disk: new UnsyncedDisk(), kills: CUTS }),
  (alone, trial) => alone.killed(trial, CUTS, () => alone.disk.cut(trial.pick(2) ? trial.pick : undefined)),
);

describe("a power cut loses what TRIDENT_FSYNC allows", () => {
  const CHANNEL = "public.cut";
  const COUNT = 30;
  /** Publishes `COUNT` messages, and for so many milliseconds, cuts the power, and gives what was acknowledged: its id, how long before the cut, whether it is there. */
  async function cut(fsync, during = 0) {
    const alone = await startAlone({ disk: new UnsyncedDisk(), settings: { TRIDENT_FSYNC: fsync } });
    try {
      const poll = async (since) => (await ask(`${alone.base}/data?channel=${CHANNEL}&since=${since}&mode=poll&limit=1000`)).json();
      const { cursor } = (await ask(`${alone.base}/data?channel=${CHANNEL}&mode=poll`)).json();
      const published = [];
      const begun = performance.now();
      while (published.length < COUNT || performance.now() - begun < during) {
        const id = await publish(alone.base, CHANNEL, published.length);
        published.push({ id, at: performance.now() });
        await sleep(10);
      }
      const end = performance.now();
      await alone.kill();
      alone.disk.cut();
      await alone.start();
      const ids = new Set();
      for (let batch = await poll(cursor); batch.messages.length > 0; batch = await poll(batch.cursor)) batch.messages.forEach(({ id }) => ids.add(id));
      const isGap = (await poll(published.at(-1).id)).gap;
      return { isGap, published: published.map(({ id, at }) => ({ id, age: end - at, isThere: ids.has(id) })) };
    } finally {
      await alone.stop();
    }
  }
  const lost = (published) => published.filter(({ isThere }) => !isThere);

  test("always: no message", async () => {
    const { published, isGap } = await cut("always");
    assert.deepEqual([lost(published), isGap], [[], false]);
  });

  test("never: unsynced messages are lost, and readers that had them get a gap", async () => {
    const { published, isGap } = await cut("never");
    assert.ok(lost(published).length > COUNT / 2, `${lost(published).length} of ${published.length} are lost`);
    assert.equal(isGap, true);
  });

  test("1s: messages of one second", async () => {
    const { published, isGap } = await cut("1s", 5_000);
    // However long a sync takes. The answer may reach this client late.
    const times = lost(published).map(({ age }) => age);
    assert.ok(times.length === 0 || times[0] - times.at(-1) < 2_000, `what is lost was acknowledged ${times} ms before the cut`);
    assert.equal(isGap, !published.at(-1).isThere);
  });
});
