// The chat on several replicas with one Redis: who is on one is seen, heard and found again on the others, whatever becomes of them.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { WAYS, chat, leaveAll, newRoom } from "../lib/chat.js";
import { startRedis } from "../lib/redis.js";
import { PINGS, startService } from "../lib/stack.js";
import { soon, until } from "../lib/wait.js";
import { proxy } from "../lib/proxy.js";

/** A way to replicas that can be led to another one. */
async function way(port) {
  const server = { host: "127.0.0.1", port };
  return { ...(await proxy(server)), leadTo: (other) => Object.assign(server, { port: other }) };
}

const text = (n) => `message ${n}`;
const names = (args) => args?.[0]?.members?.join(" ");

describe("chat, several replicas", () => {
  let redis;
  const replicas = [];
  const start = async () => {
    const replica = await startService("chat-svc", { TRIDENT_BUS: redis.url, TRIDENT_SOCKET_IO_KEY: "e2e", TRIDENT_HISTORY_COUNT: "20000", ...PINGS });
    replicas.push(replica);
    return replica;
  };
  /** Clients that speak in a room, one on each of the first two replicas. */
  const writers = (room) => Promise.all(replicas.slice(0, 2).map(async ({ base }) => {
    const writer = await chat(base);
    await writer.ask("join", room);
    return writer;
  }));
  const ways = [];
  const wayTo = async (replica) => {
    const found = await way(replica.port);
    ways.push(found);
    return found;
  };

  before(async () => {
    redis = await startRedis();
    await Promise.all([start(), start()]);
  });
  after(async () => {
    leaveAll();
    await Promise.all(ways.map((one) => one.stop()));
    await Promise.all(replicas.filter((replica) => replica.alive()).map((replica) => replica.stop("SIGKILL")));
    await redis?.close();
  });

  test("presence, messages and typing are known on both replicas", { timeout: 60_000 }, async () => {
    const room = newRoom();
    const [one, two] = await Promise.all(replicas.slice(0, 2).map(({ base }) => chat(base)));
    await Promise.all([one.ask("name", "Ann"), two.ask("name", "Bea")]);
    assert.deepEqual((await one.ask("join", room)).members, ["Ann"]);
    await two.ask("join", room);
    for (const client of [one, two]) await until("both are present", () => client.of("presence").some((args) => args[0].room === room && names(args) === "Ann Bea"));
    assert.equal((await two.ask("join", room)).count, 2);
    await one.say("hello");
    for (const client of [one, two]) await client.hears("chat message", (data, meta) => data === "hello" && meta.room === room && meta.from === "Ann");
    await two.ask("typing", true);
    await one.hears("typing", (told) => told.from === "Bea" && told.typing);
    await two.ask("name", "Eve");
    await until("a new name", () => names(one.of("presence").findLast((args) => args[0].room === room)) === "Ann Eve");
    two.close();
    await until("she has gone", () => names(one.of("presence").findLast((args) => args[0].room === room)) === "Ann");
    assert.equal(one.said(room).length, 1, "once");
  });

  for (const [kind, options] of Object.entries(WAYS)) {
    test(`moved to the other replica 20 times during 500 messages, ${kind}`, { timeout: 120_000 }, async () => {
      const room = newRoom();
      const line = await wayTo(replicas[0]);
      const client = await chat(line.url, options);
      const { id } = client.socket;
      assert.equal((await client.ask("join", room)).ok, true);
      await client.ask("name", "Nomad");
      const two = await writers(room);
      // With the first event comes the first offset, without which nobody is known again.
      await two[0].say(text(0));
      await client.hears("chat message", (data) => data === text(0));
      let cuts = 0;
      for (let n = 1; n < 500; n += 1) {
        assert.equal((await two[n % 2].say(text(n))).ok, true);
        if (n % 25 === 0) {
          const before = client.connects.length;
          line.leadTo(replicas[cuts % 2 === 0 ? 1 : 0].port);
          line.cut();
          cuts += 1;
          await until("the way back", () => client.connects.length > before && client.socket.connected, { within: 30_000 });
        }
      }
      await client.hears("chat message", (data) => data === text(499));
      assert.deepEqual(client.said(room).map(([data]) => data), Array.from({ length: 500 }, (_, n) => text(n)));
      assert.ok(client.connects.every((one, n) => n === 0 || (one.recovered && one.id === id)), JSON.stringify(client.connects));
      assert.equal(client.connects.length, cuts + 1);
      await client.say("still here");
      const [, meta] = await client.hears("chat message", (data) => data === "still here");
      assert.deepEqual([meta.from, meta.room], ["Nomad", room], "name and room were kept");
    });
  }

  test("a replica is killed: its clients resume on another one with all missed messages, without delay", { timeout: 60_000 }, async () => {
    const victim = await start();
    const room = newRoom();
    const line = await wayTo(victim);
    const watcher = await chat(replicas[0].base);
    await watcher.ask("name", "Watcher");
    await watcher.ask("join", room);
    const client = await chat(line.url);
    const lost = await chat(victim.base, { reconnection: false });
    await lost.ask("name", "Lost");
    await lost.ask("join", room);
    const { id } = client.socket;
    await client.ask("name", "Survivor");
    const other = newRoom();
    assert.equal((await client.ask("subscribe", { channels: [`chat.${other}`] })).ok, true);
    const [writer] = await writers(other);
    await watcher.say("before");
    // Its own replica has it, so that it is part of the history that the join answers with.
    await lost.hears("chat message", (data) => data === "before");
    await client.ask("join", room);
    await watcher.say(text(0));
    await client.hears("chat message", (data) => data === text(0));
    await until("all three", () => names(watcher.of("presence").findLast((args) => args[0].room === room)) === "Lost Survivor Watcher");

    line.refuse(true);
    await victim.stop("SIGKILL");
    for (let n = 1; n <= 50; n += 1) {
      await watcher.say(text(n));
      await writer.say(n);
    }
    line.leadTo(replicas[1].port);
    line.refuse(false);
    await until("the way back", () => client.connects.length === 2, { within: 20_000 });
    assert.deepEqual(client.connects[1], { recovered: true, id });
    await client.hears("chat message", (data) => data === 50);
    assert.deepEqual(client.said(room).map(([data]) => data), Array.from({ length: 51 }, (_, n) => text(n)));
    assert.deepEqual(client.said(other).map(([data]) => data), Array.from({ length: 50 }, (_, n) => n + 1));
    await until("the dead are forgotten", () => names(watcher.of("presence").findLast((args) => args[0].room === room)) === "Survivor Watcher", { within: 15_000 });
    assert.equal((await client.say("on")).ok, true);
    await watcher.hears("chat message", (data, meta) => data === "on" && meta.from === "Survivor" && meta.room === room);
  });

  test("a client that reconnects early takes over its session, and the old connection ends", { timeout: 60_000 }, async () => {
    for (const to of [0, 1]) {
      const room = newRoom();
      const line = await wayTo(replicas[0]);
      const client = await chat(line.url);
      const watcher = await chat(replicas[1].base);
      await watcher.ask("name", "Watcher");
      await client.ask("name", "Traveller");
      await Promise.all([watcher.ask("join", room), client.ask("join", room)]);
      await watcher.say(text(0));
      await client.hears("chat message", (data) => data === text(0));
      const { id } = client.socket;
      line.leadTo(replicas[to].port);
      // The server hears nothing of it.
      line.abandon();
      await watcher.say(text(1));
      await until("the way back", () => client.connects.length === 2, { within: 20_000 });
      assert.deepEqual(client.connects[1], { recovered: true, id });
      await client.hears("chat message", (data) => data === text(1));
      assert.deepEqual(client.said(room).map(([data]) => data), [text(0), text(1)]);
      await until("one of each", async () => (await watcher.ask("join", room)).members.join(" ") === "Traveller Watcher");
    }
  });

  test("Redis fails and returns: the chat continues, and sessions are stored again", { timeout: 90_000 }, async () => {
    const room = newRoom();
    const line = await wayTo(replicas[0]);
    const client = await chat(line.url);
    await redis.kill();
    // Rooms are joined and left also while nothing can be saved.
    const joined = await client.ask("join", room);
    assert.equal(joined.ok, true);
    await until("the bus is missed", async () => (await fetch(`${replicas[0].base}/readyz`)).status === 503);
    assert.equal((await client.say("unheard")).error.code, "bus_unavailable");
    await redis.start();
    await until("it is said", async () => (await client.say(text(0))).ok, { within: 20_000, every: 100 });
    await client.hears("chat message", (data) => data === text(0));
    await until("sessions are saved", async () => /^:[1-9]/.test(await redis.ask("EVAL", "return #redis.call('KEYS', '{trident:log}:session:*')", 0)));
    await until("this one, too", async () => (await redis.ask("EVAL", `for _, k in ipairs(redis.call('KEYS', '{trident:log}:session:*')) do if string.find(redis.call('HGET', k, 'session') or '', '${room}', 1, true) then return 1 end end return 0`, 0)) === ":1");
    await until("the bus of the other is back", async () => (await fetch(`${replicas[1].base}/readyz`)).status === 200, { within: 20_000 });
    line.leadTo(replicas[1].port);
    line.cut();
    await until("the way back", () => client.connects.length === 2, { within: 20_000 });
    assert.equal(client.connects[1].recovered, true);
    assert.equal((await soon("an answer", client.say("after"))).ok, true);
  });
});
