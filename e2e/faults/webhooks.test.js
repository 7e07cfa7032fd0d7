// Webhooks of one process with its log on disk, to a receiver that fails by chance, while the process is killed: every event at least once, in
// order, and again only under the same `webhook-id`.
//   WEBHOOK_EVENTS=1000000 WEBHOOK_KILLS=20 node --test --test-timeout=7200000 faults/webhooks.test.js

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import { test } from "node:test";
import { io } from "socket.io-client";
import { isAfter } from "../lib/cursor.js";
import { ask } from "../lib/http.js";
import { chance, seed } from "../lib/random.js";
import { bearer, token } from "../lib/token.js";
import { sleep, until } from "../lib/wait.js";
import { startAlone } from "./alone.js";

const EVENTS = Number(process.env.WEBHOOK_EVENTS ?? 2_000);
const KILLS = Number(process.env.WEBHOOK_KILLS ?? 2);
/** Messages of a publication, and events of the Socket.IO client after it. */
const STEP = 100;
const STEPS = Math.ceil(EVENTS / STEP / 2);
const FAULTS = ["500", "503", "reset", "slow"];
/** One request of so many fails. A request that is not answered takes 15 s, which a short test has no time for: it ends with the process. */
const ONE_OF = 50;
const UNANSWERED_ONE_OF = 2_000;

/** Receives webhooks; `killed()` ends their sender. What is wrong with them is in `faults`. */
async function receiver(killed) {
  const pick = chance();
  const seen = new Map(); // By `webhook-id`: the digest of the body, and whether it was accepted.
  const state = {
    requests: 0, repeated: 0, failed: {}, kills: 0, faults: [], orders: new Uint8Array(STEPS * STEP), received: 0, feed: [],
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  let [current, last] = [undefined, "0-0"];
  // The process is killed at a request, half of them unanswered.
  const quota = () => 1 + pick(Math.max(1, Math.floor((2 * EVENTS) / (KILLS + 1))));
  let killAt = quota();

  /** Checks a batch that comes for the first time. */
  function check(id, events) {
    if (current && !seen.get(current).isAccepted) state.faults.push(`${id} came before ${current} was accepted`);
    for (const { id: event, event: name } of events) {
      if (!isAfter(event, last)) state.faults.push(`${event} came after ${last}`);
      if (name === "feed_gap") state.faults.push(`a gap at ${event}`);
      last = event;
    }
    current = id;
  }

  function accept(events) {
    for (const { id, channel, data } of events) {
      if (channel === "orders") state.orders[data] += 1;
      else state.feed.push(id);
    }
    state.received += events.length;
  }

  const server = createServer(async (request, response) => {
    const body = Buffer.concat(await request.toArray());
    const id = request.headers["webhook-id"];
    const digest = createHash("sha256").update(body).digest("base64");
    const { events } = JSON.parse(body);
    state.requests += 1;
    if (seen.has(id)) {
      state.repeated += 1;
      if (seen.get(id).digest !== digest) state.faults.push(`${id} has other bytes`);
    } else {
      check(id, events);
      seen.set(id, { digest, isAccepted: false });
    }
    const fail = (what) => {
      state.failed[what] = (state.failed[what] ?? 0) + 1;
    };
    const forced = state.requests % 3 === 0 ? FAULTS[state.requests / 3 - 1] : undefined;
    const fault = forced ?? (pick(ONE_OF) === 0 ? FAULTS[pick(FAULTS.length)] : undefined);
    if (state.kills < KILLS && state.received >= killAt) {
      state.kills += 1;
      killAt = state.received + quota();
      killed();
      if (pick(2) === 0) return;
    }
    if (EVENTS >= 100_000 && pick(UNANSWERED_ONE_OF) === 0) return fail("unanswered");
    if (fault && fault !== "slow") fail(fault);
    if (fault === "reset") return request.socket.resetAndDestroy();
    if (fault === "500" || fault === "503") return response.writeHead(Number(fault)).end();
    if (fault === "slow") {
      fail(fault);
      await sleep(200);
    }
    if (!seen.get(id).isAccepted) accept(events);
    seen.get(id).isAccepted = true;
    response.writeHead(204).end();
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  state.url = `http://127.0.0.1:${server.address().port}/hooks`;
  return state;
}

test(`webhooks: ${EVENTS} events, a receiver that fails, and ${KILLS} times kill -9 (seed ${seed})`, async () => {
  let alone;
  let restarting;
  const hooks = await receiver(() => {
    restarting = alone.kill().then(() => alone.start());
  });
  const began = performance.now();
  alone = await startAlone({
    settings: {
      TRIDENT_HOOK_URL: hooks.url,
      TRIDENT_HOOK_CHANNELS: "orders",
      TRIDENT_EVENTS: "client_event",
      TRIDENT_HOOK_EVENTS: "client_event",
      TRIDENT_EVENTS_RATE: "0",
      TRIDENT_SOCKET_RATE: "0",
      TRIDENT_HISTORY_COUNT: "0",
      TRIDENT_HISTORY_BYTES: "0",
      TRIDENT_HISTORY_TOTAL: "64MiB",
      TRIDENT_DISK_TOTAL: "4GiB",
      TRIDENT_FSYNC: "1s",
    },
  });
  const socket = io(alone.base, { transports: ["websocket"], reconnectionDelay: 20, reconnectionDelayMax: 50 });
  try {
    const headers = { ...bearer(), "Content-Type": "application/x-ndjson" };
    for (let step = 0; step < STEPS; step += 1) {
      const lines = Array.from({ length: STEP }, (_, at) => JSON.stringify({ channel: "orders", data: step * STEP + at }));
      const publish = () => ask(`${alone.base}/events`, { method: "POST", headers: { ...headers, "Idempotency-Key": `${step}` }, body: lines.join("\n") });
      // Repeated until it is acknowledged: a process that is killed may have it or not.
      await until("a publication", async () => (await publish().catch(() => undefined))?.status === 201, { within: 60_000 });
      for (let at = 1; at < STEP; at += 1) socket.emit("order", at);
      await socket.timeout(1_000).emitWithAck("order", step).catch(() => undefined);
    }
    // The process is killed as often as it should be, also if it is too fast for that.
    while (hooks.kills < KILLS) {
      hooks.kills += 1;
      await restarting;
      await alone.kill();
      await alone.start();
    }
    await restarting;
    const within = 600_000;
    await until("every message", () => hooks.faults.length > 0 || hooks.orders.every((times) => times > 0), { within, every: 100 });
    // Of the feed: what the log has of it. An event that was not written when the process was killed is in neither.
    const stored = [];
    const read = { Authorization: `Bearer ${token({ trident: { api: ["read"] } })}` };
    for (let since = "earliest"; since; ) {
      const page = (await ask(`${alone.base}/v1/channels/%24events/messages?limit=1000&since=${since}`, { headers: read })).json();
      stored.push(...page.messages.map(({ id }) => id));
      since = page.messages.length > 0 ? page.messages.at(-1).id : undefined;
    }
    await until("every event of the feed", () => hooks.faults.length > 0 || hooks.feed.length >= stored.length, { within, every: 100 });
    assert.deepEqual(hooks.faults, []);
    assert.ok(hooks.orders.every((times) => times === 1), "each message is in one batch");
    assert.deepEqual(hooks.feed, stored);
    assert.ok(hooks.feed.length > 0 && hooks.kills === KILLS);
    for (const fault of FAULTS) assert.ok(hooks.failed[fault] > 0, `${fault}: ${JSON.stringify(hooks.failed)}`);
    const seconds = ((performance.now() - began) / 1_000).toFixed(1);
    const { requests, repeated, failed } = hooks;
    console.log(JSON.stringify({ seconds, messages: hooks.orders.length, feed: stored.length, requests, repeated, failed, kills: KILLS, seed }));
  } finally {
    socket.disconnect();
    await restarting;
    await alone.kill();
    alone.disk.remove();
    await hooks.close();
  }
});
