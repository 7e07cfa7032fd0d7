// One round of faults after another, for as long as there is time. Replica 0 of each service and standalone are left alone, so
// that their curves mean something over the whole run; all others are killed, restarted and cut off.

import { sleep, until } from "../lib/wait.js";
import { SERVICES } from "../faults/cluster.js";

/** Between two faults, in milliseconds. */
const REST = 2_000;
const AWAY_FOR = 3_000;

/** Whether a fault may end this replica. */
export const isTouched = (replica) => replica.number > 0;

/** `[name, fault()]` of each, in their order. `fronts`: proxies that clients come through; `loads`: who has others to cut. */
function faults({ cluster, fronts, loads }) {
  const touched = cluster.replicas.filter(isTouched);
  return [
    ...SERVICES.map((name) => [`kill -9 of ${name}`, async () => {
      for (const replica of touched.filter((replica) => replica.name === name)) {
        await replica.process.stop("SIGKILL");
        await replica.start();
      }
    }]),
    ["nginx reload", async () => {
      const old = cluster.gateway.workers();
      cluster.gateway.signal("SIGHUP");
      await until("new workers", () => cluster.gateway.workers().some((pid) => !old.includes(pid)));
    }],
    ["all clients disconnected", () => [...fronts, ...loads].forEach((one) => one.cut())],
    ["kill -9 of Redis", async () => {
      await cluster.redis.kill();
      await cluster.redis.start();
    }],
    ["rolling restart", async () => {
      for (const replica of touched) {
        await replica.process.stop("SIGTERM");
        await replica.start();
      }
    }],
    ["Redis disconnected", () => cluster.ways.forEach((way) => way.cut())],
    ["Redis unavailable", async () => {
      await cluster.redis.stop();
      await sleep(AWAY_FOR);
      await cluster.redis.start();
    }],
  ];
}

/** Goes round until `isOver()`. `tell(name)` is called before each fault. Gives how often each was done. */
export async function goRound(all, isOver, tell) {
  const done = new Map();
  for (;;) {
    for (const [name, fault] of faults(all)) {
      await sleep(REST);
      if (isOver()) return done;
      tell(name);
      await fault();
      await all.cluster.allReady();
      done.set(name, (done.get(name) ?? 0) + 1);
    }
  }
}
