// One `standalone` with its log on disk, that is killed at any moment, also while it starts, and started again.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { launch, PINGS } from "../lib/stack.js";
import { sleep } from "../lib/wait.js";
import { Replica, SETTINGS } from "./cluster.js";

/** The longest time from a start to the next fault, in milliseconds. */
const MAX_LIFE = 700;
/** How long a start takes, about: within that, it can be killed while it starts. */
const START = 150;

/** A directory on a disk that loses nothing. */
class PlainDisk {
  live = mkdtempSync(path.join(tmpdir(), "trident-disk-"));
  environment = {};

  remove() {
    rmSync(this.live, { recursive: true });
  }
}

/** Kills a process, which must have run until then. */
async function endOf(process) {
  assert.equal(await process.stop("SIGKILL"), "SIGKILL", process.said());
  assert.doesNotMatch(process.said(), /panicked|unsynced:/);
}

/** Starts it on a directory of its own, or on `disk`, with room there for what is published while it is killed `kills` times. */
export async function startAlone({ disk = new PlainDisk(), kills = 1, settings = {} } = {}) {
  const all = {
    ...SETTINGS,
    ...PINGS,
    ...disk.environment,
    TRIDENT_BUS: `file:${disk.live}`,
    // Most of what is published is read from the disk by clients that connect later, and from several sealed segments.
    TRIDENT_HISTORY_TOTAL: "64KiB",
    TRIDENT_DISK_TOTAL: `${4 * Math.max(1, Math.ceil(kills / 20))}MiB`,
    ...settings,
  };
  const replica = new Replica("standalone", 0, all);
  await replica.start();
  const kill = () => endOf(replica.process);
  return {
    disk,
    base: replica.base,
    gateway: { told: () => "" },
    of: () => [replica],
    start: () => replica.start(),
    kill,
    /** Kills it so many times while `trial` is at work; after each, `then` is what happens besides. */
    async killed(trial, times, then = () => {}) {
      for (let at = 1; at <= times; at += 1) {
        // Nobody is left behind for good.
        if (at % 10 === 0) await trial.caughtUp(60_000);
        // Sometimes in the midst of what follows a start, sometimes after everybody has returned.
        if (trial.pick(3) === 0) await trial.publish(1, 30_000);
        await sleep(trial.pick(MAX_LIFE));
        trial.killed();
        await kill();
        await then();
        if (trial.pick(4) === 0) {
          const starting = launch("standalone", all, replica.port);
          await sleep(trial.pick(START));
          await endOf(starting);
          await then();
        }
        await replica.start();
      }
    },
    said: () => replica.process.said().slice(-6_000),
    async mend() {
      if (!replica.process.alive()) await replica.start();
    },
    async stop() {
      await replica.process.stop("SIGKILL");
      disk.remove();
    },
  };
}

/** How often sessions were recovered; `owed`: had to be. */
export const recoveries = (trial) => Object.fromEntries(["recovered", "owed", "fresh"].map((what) => [what, trial.sockets().reduce((sum, socket) => sum + socket[what], 0)]));
