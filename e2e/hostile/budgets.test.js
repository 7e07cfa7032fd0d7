// Clients that choose the largest size that is allowed, as often as they can: each kind of memory has a budget, and the budget of one
// client is not taken from another.

import assert from "node:assert/strict";
import { ask } from "../lib/http.js";
import { sleep, until } from "../lib/wait.js";
import { attacksOn } from "./attack.js";
import { Crowd, address, request, tally } from "./crowd.js";
import { STANDALONE, bearer } from "./target.js";

const HANDSHAKE = "/socket.io/?EIO=4&transport=polling";

/** Opens a polling session in the namespace `/`: the path of its later requests, or the status of the refusal. */
async function openSession(port, from, auth = "") {
  const { status, body } = await request(port, HANDSHAKE, { from });
  if (status !== 200) return { status };
  const path = `${HANDSHAKE}&sid=${JSON.parse(body.slice(1)).sid}`;
  const posted = await request(port, path, { from, method: "POST", body: `40${auth}` }).catch(() => ({ status: "reset" }));
  return { status: posted.status, path };
}

/** Runs `one(n)` for 0 to `count`, so many at a time, and collects what they return. */
async function inTurns(count, atOnce, one) {
  const results = [];
  let next = 0;
  const worker = async () => {
    while (next < count) {
      const n = next;
      next += 1;
      results[n] = await one(n);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  return results;
}

/** Calls `one(first, count)` for slices of `total`, with a pause after each: attackers have machines of their own, and here they share one. */
async function inSlices(total, size, pause, one) {
  for (let first = 0; first < total; first += size) {
    await one(first, Math.min(size, total - first));
    await sleep(pause);
  }
}

attacksOn(STANDALONE, (attack) => {
  attack("unread long polls", "400 polls for 20 messages of 60 kB from 20 addresses; none reads its answer", async (target) => {
    const line = JSON.stringify({ data: "x".repeat(60_000) });
    for (let n = 0; n < 20; n += 1) {
      const answer = await request(target.port, "/data?channel=public.large", { method: "POST", headers: { ...bearer({ sub: "large" }), "Content-Type": "application/json" }, body: line });
      assert.equal(answer.status, 201, answer.body);
    }
    const say = "GET /data?channel=public.large&since=earliest&limit=1000 HTTP/1.1\r\nHost: a\r\n\r\n";
    const crowd = Crowd.call(target.port, 400, (n) => ({ from: address(700 + (n % 20)), say, paused: true }));
    try {
      await until("all to be connected", () => crowd.count(({ opened }) => opened) === 400);
      const later = await request(target.port, "/data?channel=public.large&since=earliest&limit=1", { from: address(730) });
      assert.equal(later.status, 200);
      return "each answer stays in the log until its client reads it";
    } finally {
      crowd.leave();
    }
  });

  attack("recovery sessions", "600 clients from 30 addresses subscribe to 120 long channel names each and are cut off", async (target) => {
    const channels = Array.from({ length: 120 }, (_, n) => `public.${String(n).padStart(4, "0")}-${"c".repeat(100)}`);
    const say = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    const statuses = [];
    await inSlices(600, 30, 100, async (first, count) => {
      const crowd = Crowd.call(target.port, count, (n) => ({ from: address(740 + ((first + n) % 30)), say }));
      try {
        await until("each to be answered", () => crowd.count(({ statuses: [status] }) => status) === count, { within: 20_000 });
        for (const caller of crowd.callers) caller.say(Buffer.concat([frame("40"), frame(`420["subscribe",${JSON.stringify({ channels })}]`)]));
        await until("the subscriptions to be answered", () => crowd.count(({ back, closed }) => closed || back.includes("430[")) === count, { within: 20_000 });
        statuses.push(...crowd.callers.map(({ statuses: [status] }) => status));
      } finally {
        crowd.leave();
      }
    });
    return `${tally(statuses)}, all cut off`;
  });

  attack("large `auth`", "300 sessions from 30 addresses with 900 kB of unknown fields in the CONNECT packet", async (target) => {
    const auth = JSON.stringify({ filler: "x".repeat(900_000) });
    const answers = await inTurns(300, 20, async (n) => {
      const from = address(780 + (n % 30));
      const { path, status } = await openSession(target.port, from, auth);
      if (!path || status !== 200) return `refused ${status}`;
      const { body } = await request(target.port, path, { from }).catch(() => ({ body: "reset" }));
      return body.startsWith("40") ? "accepted" : body.slice(0, 2);
    });
    assert.ok(answers.every((answer) => answer !== "accepted"), tally(answers));
    return tally(answers);
  });

  attack("empty channels", "300 anonymous streams from 10 addresses, 128 made-up channels each", async (target) => {
    const crowds = [];
    const statuses = () => crowds.flatMap(({ callers }) => callers.map(({ statuses: [status], closed }) => status ?? (closed ? "closed" : undefined)));
    try {
      await inSlices(300, 10, 100, (first, count) => {
        crowds.push(Crowd.call(target.port, count, (n) => {
          const names = Array.from({ length: 128 }, (_, at) => `channel=public.e${first + n}-${at}`).join("&");
          return { from: address(820 + (n % 10)), say: `GET /data?mode=stream&${names} HTTP/1.1\r\nHost: a\r\n\r\n` };
        }));
      });
      await until("each to be answered", () => statuses().every(Boolean));
      const own = await request(target.port, "/data?mode=poll&channel=orders.new", { from: address(840), headers: bearer({ sub: "orders" }) });
      assert.equal(own.status, 200, own.body);
      return `${tally(statuses())}; a token's own new channel: 200`;
    } finally {
      crowds.forEach((crowd) => crowd.leave());
    }
  });

  attack("idempotency keys", "batches of one token with a new key each for 3 s, then another token's first key", async (target) => {
    const publish = (sub, key, from) =>
      request(target.port, "/data?channel=public.keys", { from, method: "POST", headers: { ...bearer({ sub }), "Content-Type": "application/json", "Idempotency-Key": key }, body: "1" });
    const statuses = [];
    const ends = performance.now() + 3_000;
    await inTurns(4, 4, async (worker) => {
      for (let n = 0; performance.now() < ends; n += 1) statuses.push((await publish("keys", `${worker}-${n}-${"k".repeat(100)}`, address(850 + worker))).status);
    });
    const other = await publish("other", "first", address(860));
    assert.equal(other.status, 201, other.body);
    return `${tally(statuses)}; the other token: 201`;
  });

  attack("pipelined and gone", "300 long polls, 80 kB of further requests behind each, then a reset", async (target) => {
    const poll = "GET /data?channel=public.gone&wait=30 HTTP/1.1\r\nHost: a\r\n\r\n";
    const before = await target.figure("trident_connections");
    const crowd = Crowd.call(target.port, 300, (n) => ({ from: address(870 + (n % 30)), say: poll + poll.repeat(Math.ceil(80_000 / poll.length)) }));
    await until("all to be connected", () => crowd.count(({ opened }) => opened) === 300);
    for (const { socket } of crowd.callers) socket.resetAndDestroy();
    const reset = performance.now();
    await until("their places to be free", async () => (await target.figure("trident_connections")) <= before, { within: 5_000, every: 20 });
    return `all released ${Math.round(performance.now() - reset)} ms after the reset`;
  });
});

/** The target has few descriptors: connections that say nothing are what is attacked with. */
attacksOn(STANDALONE, (attack) => {
  attack("idle connections of one address", "400 kept connections of one address that send an empty line now and then, at a process with `ulimit -n 300`", async (target) => {
    const from = address(900);
    const crowd = Crowd.call(target.port, 400, () => ({ from, say: "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n" }));
    const stop = crowd.trickle("\r\n", 500);
    try {
      await until("their first answers", () => crowd.count(({ statuses, closed }) => closed || statuses.length > 0) >= 40);
      const asked = performance.now();
      await until("another address to be served", async () => (await request(target.port, "/healthz", { from: address(901) }).catch(() => ({}))).status === 200, { within: 5_000 });
      const waited = Math.round(performance.now() - asked);
      assert.equal((await ask(`${target.base}/healthz`)).status, 200);
      return `another address is served after ${waited} ms; ${crowd.closed()} of 400 are closed`;
    } finally {
      stop();
      crowd.leave();
    }
  });
}, { descriptors: 300 });

/** A text frame of a client (RFC 6455 §5.3); a mask of zeros changes nothing. */
function frame(text) {
  const words = Buffer.from(text);
  const length = words.length < 126 ? Buffer.from([0x80 | words.length]) : Buffer.from([0xfe, words.length >> 8, words.length & 0xff]);
  return Buffer.concat([Buffer.from([0x81]), length, Buffer.from([0, 0, 0, 0]), words]);
}
