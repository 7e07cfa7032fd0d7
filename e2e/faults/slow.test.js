// Clients that read one byte a second: what they have not read is held once, in the log, and not for each of them; nobody else
// waits for them; and when they read again, they miss nothing.

import assert from "node:assert/strict";
import { after, before, describe } from "node:test";
import { proxy } from "../lib/proxy.js";
import { seed } from "../lib/random.js";
import { until } from "../lib/wait.js";
import { SERVICES, startCluster } from "./cluster.js";
import { Ledger } from "./ledger.js";
import { SseReader, StreamReader } from "./readers.js";
import { SocketReader } from "./sockets.js";
import { faultsOf } from "./trial.js";

const MIB = 1024 * 1024;
/** Of each kind; of the first few, each message is accounted for. */
const SLOW = 40;
const ACCOUNTED = 3;
/** What is published meanwhile: 1,001 messages of 8 KiB. */
const [BATCHES, BATCH, SIZE] = [143, 7, 8_192];
/** How much memory a replica may take more. Queued for each client it would be 40 times 8 MiB. */
const MORE = 64 * MIB;

const KINDS = { "comet-svc": StreamReader, "sse-svc": SseReader, "chat-svc": SocketReader };

describe(`slow readers (TRIDENT_SEED=${seed})`, () => {
  let cluster;
  const lines = [];
  before(async () => {
    cluster = await startCluster();
  });
  after(async () => {
    for (const line of lines) await line.stop();
    await cluster?.stop();
  });
  const fault = faultsOf(() => cluster);

  fault(`${3 * SLOW} clients read one byte a second`, async (trial) => {
    const unheard = new Ledger();
    const [slow, rest] = [[], []];
    for (const name of SERVICES) {
      const line = await proxy({ port: cluster.of(name)[0].port });
      lines.push(line);
      for (let n = 0; n < SLOW; n += 1) {
        const isKept = n < ACCOUNTED;
        const account = (isKept ? trial.ledger : unheard).reader(`slow ${n} of ${name}`, "slow");
        const reader = new KINDS[name]({ ...trial.shared, base: line.url, account, transports: ["websocket"] });
        (isKept ? slow : rest).push(reader);
        reader.start();
      }
    }
    // Also those without an account end with the trial, however it goes.
    trial.readers.push(...slow, ...rest);
    await until("all to read", () => [...slow, ...rest].every(({ account }) => account.last), { within: 30_000 });
    const replicas = SERVICES.map((name) => cluster.of(name)[0]);
    const before = await Promise.all(replicas.map((replica) => replica.resident()));

    for (const line of lines) line.trickle(1_000);
    let last;
    for (let batch = 0; batch < BATCHES; batch += 1) {
      const numbers = Array.from({ length: BATCH }, () => trial.ledger.next());
      await trial.publishers[0].publish(numbers, `bulk-${batch}`, SIZE);
      last = numbers.at(-1);
    }
    const others = () => trial.without(last).filter((name) => !name.startsWith("slow"));
    await until("all others to have it", () => others().length === 0, { within: 30_000 });
    assert.deepEqual(slow.filter(({ account }) => account.has(last)).map(({ account }) => account.name), [], "read too fast for this test to mean something");
    const more = await Promise.all(replicas.map(async (replica, at) => (await replica.resident()) - before[at]));
    more.forEach((bytes, at) => assert.ok(bytes < MORE, `${replicas[at].label} took ${Math.round(bytes / MIB)} MiB more`));
    console.log(`memory taken by the log and ${SLOW} slow readers: ${more.map((bytes, at) => `${replicas[at].name} ${Math.round(bytes / MIB)} MiB`).join(", ")}`);

    await Promise.all(rest.map((reader) => reader.stop()));
    for (const line of lines) line.trickle(0);
  }, {
    check: ({ silence }) => {
      const { slow, ...others } = silence;
      for (const [transport, longest] of Object.entries(others)) assert.ok(longest < 2_000, `${transport} waited ${longest} ms`);
      assert.ok(slow > 0);
    },
  });
});
