// What happens to processes: services and the gateway are killed, restarted one after the other, and told to reload.

import assert from "node:assert/strict";
import { after, before, describe } from "node:test";
import { seed } from "../lib/random.js";
import { until } from "../lib/wait.js";
import { SERVICES, startCluster } from "./cluster.js";
import { faultsOf } from "./trial.js";

describe(`faults of services and gateway (TRIDENT_SEED=${seed})`, () => {
  let cluster;
  before(async () => {
    cluster = await startCluster();
  });
  after(() => cluster?.stop());
  const fault = faultsOf(() => cluster);

  fault("no fault", (trial) => trial.caughtUp());

  for (const name of SERVICES) {
    fault(`kill -9 of each ${name}`, async (trial) => {
      for (const replica of cluster.of(name)) {
        await replica.process.stop("SIGKILL");
        // The others take over what it had.
        await trial.caughtUp();
        await replica.start();
      }
    });
  }

  fault("kill -9 of everything but Redis and nginx", async () => {
    await Promise.all(cluster.replicas.map((replica) => replica.process.stop("SIGKILL")));
    await Promise.all(cluster.replicas.map((replica) => replica.start()));
  });

  fault("rolling restart of every replica", async () => {
    for (const replica of cluster.replicas) {
      const began = performance.now();
      assert.equal(await replica.process.stop("SIGTERM"), 0, `${replica.label} ends in order`);
      assert.ok(performance.now() - began < 10_000, `${replica.label} took ${performance.now() - began} ms to end`);
      await replica.start();
    }
  });

  fault("nginx reload, three times", async (trial) => {
    for (let at = 0; at < 3; at += 1) {
      const old = cluster.gateway.workers();
      cluster.gateway.signal("SIGHUP");
      await until("new workers", () => cluster.gateway.workers().some((pid) => !old.includes(pid)));
      await trial.caughtUp();
    }
  });

  fault("kill -9 of every nginx worker", async () => {
    const old = cluster.gateway.workers();
    for (const pid of old) process.kill(Number(pid), "SIGKILL");
    await until("new workers", () => cluster.gateway.workers().length > 0 && cluster.gateway.workers().every((pid) => !old.includes(pid)));
  });
});
