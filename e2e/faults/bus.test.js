// What happens to Redis and to the way to it. While it is away nothing is acknowledged that could be lost, nobody who reads is
// sent away, and when it is back everything goes on where it stopped.

import assert from "node:assert/strict";
import { after, before, describe } from "node:test";
import { ask } from "../lib/http.js";
import { seed } from "../lib/random.js";
import { bearer } from "../lib/token.js";
import { sleep, soon, until } from "../lib/wait.js";
import { startCluster } from "./cluster.js";
import { faultsOf } from "./trial.js";

const AWAY_FOR = 10_000;

describe(`faults of Redis and the way to it (TRIDENT_SEED=${seed})`, () => {
  let cluster;
  before(async () => {
    cluster = await startCluster();
  });
  after(() => cluster?.stop());
  const fault = faultsOf(() => cluster);

  /** The answers of all services while Redis is unavailable, after `leave`. */
  async function away(trial, leave) {
    const left = performance.now();
    const links = trial.links();
    await leave();
    await until("all replicas to say that they are not ready", async () => (await cluster.readiness()).every((status) => status === 503), { within: 8_000 });
    for (const replica of cluster.replicas) {
      const { body } = await ask(`${replica.base}/readyz`);
      assert.equal(JSON.parse(body).error.code, "bus_unavailable", replica.label);
    }
    for (const path of ["/events", "/data"]) {
      const answer = await ask(`${cluster.base}${path}?channel=${trial.channels[0]}`, { method: "POST", headers: { "Content-Type": "text/plain", ...bearer() }, body: "not to be added" });
      assert.equal(answer.status, 503, answer.body);
      assert.equal(answer.json().error.code, "bus_unavailable");
      assert.ok(Number(answer.headers["retry-after"]) > 0);
    }
    const signs = trial.signs();
    assert.ok(Object.keys(signs).length > 5);
    await sleep(Math.max(0, AWAY_FOR - (performance.now() - left)));
    const quiet = Object.entries(trial.signs()).filter(([name, pieces]) => pieces <= signs[name]).map(([name]) => name);
    assert.deepEqual(quiet, [], "without a sign of life");
    assert.deepEqual(trial.links(), links, "nobody had to come back");
  }

  fault("Redis frozen for 10 s", async (trial) => {
    await away(trial, () => cluster.redis.freeze());
    cluster.redis.thaw();
    await cluster.allReady();
  });

  fault("Redis shut down for 10 s", async (trial) => {
    await away(trial, () => cluster.redis.stop());
    await cluster.redis.start();
    await cluster.allReady();
  });

  fault("kill -9 of Redis, three times, each time restarted with its file", async (trial) => {
    for (let at = 0; at < 3; at += 1) {
      await cluster.redis.kill();
      await cluster.redis.start();
      await trial.caughtUp();
    }
  });

  fault("half of the replicas cannot reach Redis for 5 s; data in transit is delayed", async (trial) => {
    cluster.ways[0].stall(true);
    await Promise.all([
      sleep(5_000),
      until("them to say so", async () => (await Promise.all(cluster.behind(0).map((replica) => replica.readiness()))).every((status) => status === 503)),
    ]);
    cluster.ways[0].stall(false);
  });

  fault("half of the replicas cannot reach Redis, and all others are killed; every client reconnects to a replica that is behind", async (trial) => {
    const [way] = cluster.ways;
    way.stall(true);
    await trial.publish(4, 30_000, trial.publishers.filter(({ keyed }) => keyed !== undefined));
    const others = cluster.replicas.filter((replica) => !cluster.behind(0).includes(replica));
    await Promise.all(others.map((replica) => replica.process.stop("SIGKILL")));
    const sockets = trial.readers.filter(({ socket }) => socket);
    await until("all to be there", () => sockets.every(({ socket }) => socket.connected), { within: 20_000 });
    // Longer than a replica waits for what a cursor means before it says that it cannot know.
    await sleep(3_000);
    way.stall(false);
    await Promise.all(others.map((replica) => replica.start()));
  });

  fault("the connection to Redis breaks in the middle of a response, 30 times", async (trial) => {
    for (let at = 0; at < 30; at += 1) {
      const way = cluster.ways[at % cluster.ways.length];
      await soon("the break", way.breakOff((length) => trial.pick(length)), 15_000);
      await sleep(trial.pick(400));
    }
  });

  fault("the connection to Redis has 50 to 250 ms of latency in both directions", async (trial) => {
    for (const way of cluster.ways) way.slow(() => 50 + trial.pick(200));
    await sleep(5_000);
    await trial.caughtUp();
    for (const way of cluster.ways) way.slow();
  });

  fault("Redis restarts empty, and some replicas had not read its last entries", async (trial) => {
    const { ledger } = trial;
    const way = cluster.ways[1];
    way.stall(true);
    // Whoever waits for an answer through it has it by another way. Chat clients stay where they are, and do not try again.
    await trial.publish(4, 30_000, trial.publishers.filter(({ keyed }) => keyed !== undefined));
    // Nothing is under way when it dies: of that, nobody could say whether it was added.
    cluster.redis.freeze();
    await until("all replicas to notice", async () => (await cluster.readiness()).every((status) => status === 503));
    await cluster.redis.kill();
    ledger.lossUpTo(ledger.newest());
    way.cut();
    way.stall(false);
    cluster.redis.forget();
    await cluster.redis.start();
    await cluster.allReady();
  }, {
    gaps: true,
    check: (row) => assert.ok(row.excused > 0, "something was really lost"),
  });
});
