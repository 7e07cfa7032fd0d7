// Three replicas of each service and three thousand clients on all transports: each message reaches each of them once, and how
// long that takes.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { ask } from "../lib/http.js";
import { chance, seed } from "../lib/random.js";
import { sleep, until } from "../lib/wait.js";
import { SERVICES, startCluster } from "../faults/cluster.js";
import { Ledger } from "../faults/ledger.js";
import { HttpPublisher } from "../faults/publishers.js";
import { LongPollReader, SseReader, StreamReader } from "../faults/readers.js";
import { SocketReader } from "../faults/sockets.js";

/** How many of which: 3,000. */
const CLIENTS = [
  ["SSE", 1_000, SseReader],
  ["comet, stream", 500, StreamReader],
  ["comet, long poll", 500, LongPollReader],
  ["Socket.IO, WebSocket", 700, SocketReader, { transports: ["websocket"] }],
  ["Socket.IO, polling", 300, SocketReader, { transports: ["polling"] }],
];
const MESSAGES = 30;
/** Between two messages, in milliseconds: one after the other, and not a queue of them. */
const PAUSE = 1_000;
/** Clients that come at a time. */
const AT_A_TIME = 50;

const quantile = (sorted, part) => Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] * 10) / 10;

describe(`many clients (TRIDENT_SEED=${seed})`, () => {
  let cluster;
  before(async () => {
    cluster = await startCluster({ count: Object.fromEntries(SERVICES.map((name) => [name, 3])) });
  });
  after(() => cluster?.stop());

  test("each message reaches 3,000 clients once", { timeout: 300_000 }, async () => {
    const [ledger, pick, channels] = [new Ledger(), chance(), ["public.many"]];
    const { cursor } = (await ask(`${cluster.base}/data?mode=poll&channel=public.many`)).json();
    const publisher = new HttpPublisher({ base: cluster.base, channel: channels[0], ledger, keyed: true, pick });
    const sent = new Map();
    const publish = async () => {
      const n = ledger.next();
      sent.set(n, performance.now());
      await publisher.publish([n], `many-${n}`, 100);
      return n;
    };
    const clients = [];
    try {
      const first = await publish();
      for (const [kind, count, Kind, options] of CLIENTS) {
        for (let n = 0; n < count; n += 1) {
          const client = new Kind({ base: cluster.base, channels, cursor, pick, account: ledger.reader(`${kind} ${n}`, kind), ...options });
          clients.push(client);
          client.start();
          // As many as a network would let in at a time.
          if (clients.length % AT_A_TIME === 0) await until("those who came to be in", () => clients.slice(0, -2 * AT_A_TIME).every(({ account }) => account.has(first)), { within: 60_000, every: 10 });
        }
      }
      await until("all to be in", () => clients.every(({ account }) => account.has(first)), { within: 60_000 });
      let last;
      for (let n = 0; n < MESSAGES; n += 1) {
        await sleep(PAUSE);
        last = await publish();
      }
      await until("all to have the last one", () => clients.every(({ account }) => account.has(last)), { within: 30_000 }).catch(() => {});
      assert.deepEqual(clients.flatMap(({ refused }) => refused), []);
    } finally {
      publisher.stop();
      await Promise.all(clients.map((client) => client.stop()));
    }
    const { wrong, lost, repeated, gaps, delivered } = ledger.close();
    assert.deepEqual(wrong.slice(0, 20), [], `${wrong.length} things are wrong`);
    assert.deepEqual([lost, repeated, gaps, delivered], [0, 0, 0, 3_000 * (MESSAGES + 1)]);
    for (const [kind] of CLIENTS) {
      const accounts = ledger.accounts.filter(({ transport }) => transport === kind);
      // The first message was there before they were.
      const times = accounts.flatMap(({ entries }) => entries.slice(1).map(({ n, at }) => at - sent.get(n))).sort((a, b) => a - b);
      console.log(`publish to delivery, ${kind}, ${accounts.length} clients: p50 ${quantile(times, 0.5)} ms, p99 ${quantile(times, 0.99)} ms`);
    }
  });
});
