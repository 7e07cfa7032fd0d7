// One process with its log on disk: kill -9.

import assert from "node:assert/strict";
import { after, before, describe } from "node:test";
import { seed } from "../lib/random.js";
import { recoveries, startAlone } from "./alone.js";
import { faultsOf } from "./trial.js";

/** How often the process is killed; TRIDENT_KILLS=200 for a run by hand. */
const KILLS = Number(process.env.TRIDENT_KILLS || 20);

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
  () => startAlone({ settings: { TRIDENT_FSYNC: process.env.TRIDENT_FSYNC || "always" } }),
  (alone, trial) => alone.killed(trial, KILLS),
);
