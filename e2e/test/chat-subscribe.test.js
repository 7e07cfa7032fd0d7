// Any channel over Socket.IO: subscribe, unsubscribe, from where, and what a gap looks like.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { WAYS, chat, figure, leaveAll, newRoom } from "../lib/chat.js";
import { isAfter } from "../lib/cursor.js";
import { publish } from "../lib/http.js";
import { ONE_LOG, STANDALONE, startStack } from "../lib/stack.js";
import { until } from "../lib/wait.js";

const newChannel = () => `public.${newRoom()}`;
/** The data of what a client heard on these channels. */
const heard = (client, ...channels) => client.told.filter(({ args }) => channels.includes(args[1]?.channel)).map(({ args }) => args[0]);

for (const kind of [STANDALONE, ONE_LOG]) {
  describe(`subscribe: ${kind}`, () => {
    let stack;
    before(async () => {
      stack = await startStack(kind);
    });
    after(async () => {
      leaveAll();
      await stack?.stop();
    });

    const several = async (channel, ...data) => {
      const ids = [];
      for (const one of data) ids.push(await publish(stack.base, channel, one));
      return ids;
    };

    for (const [way, options] of Object.entries(WAYS)) {
      test(`from new messages, from the earliest, and after a cursor, ${way}`, async () => {
        const channel = newChannel();
        const ids = await several(channel, 1, 2, 3);
        const [now, earliest, after] = await Promise.all([1, 2, 3].map(() => chat(stack.base, options)));
        const answer = await now.ask("subscribe", { channels: [channel] });
        assert.equal(answer.ok, true);
        assert.ok(!isAfter(ids[2], answer.cursor), `${answer.cursor} is not behind ${ids[2]}`);
        assert.equal((await earliest.ask("subscribe", { channels: [channel], since: "earliest" })).ok, true);
        assert.deepEqual(await after.ask("subscribe", { channels: [channel], since: ids[0] }), { ok: true, cursor: ids[0] });
        const last = await publish(stack.base, channel, "end", { event: "done" });
        for (const client of [now, earliest, after]) await client.hears("done");
        assert.deepEqual(heard(now, channel), ["end"]);
        assert.deepEqual(heard(earliest, channel), [1, 2, 3, "end"]);
        assert.deepEqual(heard(after, channel), [2, 3, "end"]);
        const [, meta] = after.of("message").find(([data]) => data === 2);
        assert.deepEqual(meta, { id: ids[1], channel, room: null, from: null, time: Number(ids[1].split("-")[0]) });
        assert.equal(after.of("done")[0][1].id, last);
        for (const client of [now, earliest, after]) assert.equal(client.of("gap").length, 0);
      });
    }

    test("the cursor of an ack resumes where the subscription began", async () => {
      const channel = newChannel();
      const one = await chat(stack.base);
      const { cursor } = await one.ask("subscribe", { channels: [channel] });
      await several(channel, 1, 2);
      await one.hears("message", (data) => data === 2);
      const other = await chat(stack.base);
      await other.ask("subscribe", { channels: [channel], since: cursor });
      await other.hears("message", (data) => data === 2);
      assert.deepEqual(heard(other, channel), [1, 2]);
    });

    test("several channels come in the order of their ids", async () => {
      const [a, b] = [newChannel(), newChannel()];
      const ids = [];
      for (let n = 0; n < 6; n += 1) ids.push(await publish(stack.base, [a, b][n % 2], n));
      const client = await chat(stack.base);
      await client.ask("subscribe", { channels: [a, b, a], since: "earliest" });
      await client.hears("message", (data) => data === 5);
      assert.deepEqual(heard(client, a, b), [0, 1, 2, 3, 4, 5]);
      assert.deepEqual(client.of("message").map(([, meta]) => meta.id), ids);
    });

    test("unsubscribe ends a subscription, and joined rooms continue", async () => {
      const [a, b, room] = [newChannel(), newChannel(), newRoom()];
      const client = await chat(stack.base);
      await client.ask("join", room);
      await client.ask("subscribe", { channels: [a, b, `chat.${room}`] });
      await several(a, 1);
      await client.hears("message", (data) => data === 1);
      assert.deepEqual(await client.ask("unsubscribe", { channels: [a, `chat.${room}`, newChannel()] }), { ok: true });
      await several(a, 2);
      await several(b, 3);
      await several(`chat.${room}`, 4);
      await client.hears("message", (data) => data === 4);
      assert.deepEqual(heard(client, a, b, `chat.${room}`), [1, 3, 4], "each once");
      // And the other way round: who leaves the room still reads what they subscribed to.
      await client.ask("subscribe", { channels: [`chat.${room}`] });
      await client.ask("leave", room);
      await several(`chat.${room}`, 5);
      await client.hears("message", (data) => data === 5);
    });

    test("128 channels are accepted, and no more", async () => {
      const client = await chat(stack.base);
      // One of them is the lobby's.
      const channels = Array.from({ length: 127 }, newChannel);
      assert.equal((await client.ask("subscribe", { channels })).ok, true);
      assert.equal((await client.ask("subscribe", { channels: channels.slice(0, 5) })).ok, true, "read already");
      const more = await client.ask("subscribe", { channels: [newChannel()] });
      assert.deepEqual([more.ok, more.error?.code], [false, "too_many_channels"]);
      const room = newRoom();
      const joined = await client.ask("join", room);
      assert.deepEqual([joined.ok, joined.error?.code], [false, "too_many_channels"]);
      assert.equal((await client.ask("unsubscribe", { channels: [channels[0]] })).ok, true);
      assert.equal((await client.ask("join", room)).ok, true);
      await several(channels[126], "still");
      await client.hears("message", (data) => data === "still");
      await several(channels[0], "unheard");
      await several(channels[1], "heard");
      await client.hears("message", (data) => data === "heard");
      assert.deepEqual(heard(client, channels[0]), []);
    });

    test("a refused subscription changes nothing", async () => {
      const open = newChannel();
      const client = await chat(stack.base);
      const answer = await client.ask("subscribe", { channels: [open, "private"] });
      assert.equal(answer.error.code, "token_needed");
      await several(open, "unheard");
      await client.ask("subscribe", { channels: [open] });
      await several(open, "heard");
      await client.hears("message", (data) => data === "heard");
      assert.deepEqual(heard(client, open), ["heard"]);
    });

    test("a cursor ahead of the log is a gap", async () => {
      const channel = newChannel();
      const [id] = await several(channel, 1);
      const client = await chat(stack.base);
      const requested = `${Date.now() + 3_600_000}-0`;
      assert.equal((await client.ask("subscribe", { channels: [channel], since: requested })).ok, true);
      const [gap] = await client.hears("gap");
      assert.equal(gap.requested, requested);
      await client.hears("message", (data) => data === 1);
      assert.deepEqual(client.told.filter(({ event }) => ["gap", "message"].includes(event)).map(({ event }) => event), ["gap", "message"]);
      assert.ok(isAfter(id, gap.resumed));
    });

    test("thousands of older messages arrive in batches, complete and in order", { timeout: 60_000 }, async () => {
      const channels = [newChannel(), newChannel(), newChannel()];
      const text = "x".repeat(200);
      const { bearer } = await import("../lib/token.js");
      for (let from = 0; from < 2_400; from += 200) {
        const body = Array.from({ length: 200 }, (_, n) => JSON.stringify({ channel: channels[(from + n) % 3], data: { n: from + n, text } })).join("\n");
        const answer = await fetch(`${stack.base}/events`, { method: "POST", headers: { "Content-Type": "application/x-ndjson", ...bearer() }, body });
        assert.equal(answer.status, 201, await answer.text());
      }
      const client = await chat(stack.base);
      await client.ask("subscribe", { channels, since: "earliest" });
      await until("all", () => client.of("message").length >= 2_400);
      assert.deepEqual(client.of("message").map(([data]) => data.n), Array.from({ length: 2_400 }, (_, n) => n));
    });
  });
}

describe("subscribe: with room for 5", () => {
  let stack;
  before(async () => {
    stack = await startStack(STANDALONE, { TRIDENT_HISTORY_COUNT: "5" });
  });
  after(async () => {
    leaveAll();
    await stack?.stop();
  });

  test("dropped messages are reported by a gap before the retained ones", async () => {
    const channel = newChannel();
    const ids = [];
    for (let n = 0; n < 10; n += 1) ids.push(await publish(stack.base, channel, n));
    const client = await chat(stack.base);
    const gaps = await figure(stack.base, 'trident_gaps_total{transport="websocket"}');
    await client.ask("subscribe", { channels: [channel], since: ids[0] });
    await client.hears("message", (data) => data === 9);
    const mine = client.told.filter(({ event }) => ["gap", "message"].includes(event));
    assert.deepEqual(mine.map(({ event, args }) => (event === "gap" ? event : args[0])), ["gap", 5, 6, 7, 8, 9]);
    const [gap] = client.of("gap")[0];
    assert.deepEqual(Object.keys(gap), ["requested", "resumed"]);
    assert.equal(gap.requested, ids[0]);
    assert.ok(!isAfter(ids[4], gap.resumed) && isAfter(ids[5], gap.resumed), `${gap.resumed} lies between ${ids[4]} and ${ids[5]}`);
    assert.equal(await figure(stack.base, 'trident_gaps_total{transport="websocket"}'), gaps + 1);
    // Whoever comes back with `resumed` misses nothing that is held, and is told of no gap.
    const other = await chat(stack.base);
    await other.ask("subscribe", { channels: [channel], since: gap.resumed });
    await other.hears("message", (data) => data === 9);
    assert.deepEqual([heard(other, channel), other.of("gap").length], [[5, 6, 7, 8, 9], 0]);
    // `earliest` is from what is held, which is no gap; nor is a cursor after which nothing was dropped.
    const third = await chat(stack.base);
    await third.ask("subscribe", { channels: [channel], since: "earliest" });
    await third.ask("subscribe", { channels: [newChannel()], since: ids[0] });
    await third.hears("message", (data) => data === 9);
    assert.deepEqual([heard(third, channel), third.of("gap").length], [[5, 6, 7, 8, 9], 0]);
  });
});
