// Clients on a network that cuts them off, and on servers that come and go: everything once and in order, or a loss told.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { WAYS, chat, chatClient, leaveAll, newRoom } from "../lib/chat.js";
import { chance, seed } from "../lib/random.js";
import { GATEWAY, ONE_LOG, PINGS, STANDALONE, startService, startStack } from "../lib/stack.js";
import { bearer } from "../lib/token.js";
import { until } from "../lib/wait.js";
import { proxy } from "../socketio/support/proxy.js";

const MESSAGES = 5_000;
const CUTS = 100;

/** The stack behind a network that can be cut. */
const network = (stack) => proxy({ host: "127.0.0.1", port: stack.port });

/** That two long lists are the same; says where they part. */
function same(actual, expected, what) {
  const at = expected.findIndex((one, n) => one !== actual[n]);
  const near = (list) => JSON.stringify(list.slice(Math.max(0, at - 2), at + 3));
  assert.ok(at === -1 && actual.length === expected.length, `${what}: ${actual.length} of ${expected.length}; at ${at} ${near(actual)} for ${near(expected)}, then ${JSON.stringify(actual.slice(expected.length, expected.length + 5))}`);
}

/** Adds messages to the log, several at a time, and gives their ids. */
async function publishAll(base, messages) {
  const body = messages.map((message) => JSON.stringify(message)).join("\n");
  const answer = await fetch(`${base}/events`, { method: "POST", headers: { "Content-Type": "application/x-ndjson", ...bearer() }, body });
  assert.equal(answer.status, 201);
  return (await answer.json()).ids;
}

for (const kind of [STANDALONE, ONE_LOG]) {
  describe(`chat, recovery: ${kind} (TRIDENT_SEED=${seed})`, () => {
    let stack;
    before(async () => {
      stack = await startStack(kind, { TRIDENT_HISTORY_COUNT: "20000", ...PINGS });
    });
    after(async () => {
      leaveAll();
      await stack?.stop();
    });

    for (const [way, options] of Object.entries(WAYS)) {
      // The whole length once for each stack; the other ways have the same log underneath.
      const [messages, cuts] = way === "WebSocket only" ? [MESSAGES, CUTS] : [1_000, 20];
      test(`${cuts} cuts while ${messages} messages pass, ${way}`, { timeout: 240_000 }, async () => {
        const pick = chance();
        const line = await network(stack);
        const rooms = [newRoom(), newRoom(), newRoom()];
        // Read from the beginning in the middle of it all: catch-ups that are cut off, too.
        const old = Array.from({ length: 4 }, () => `public.${newRoom()}`);
        const before = {};
        for (const channel of old) before[channel] = await publishAll(stack.base, Array.from({ length: 300 }, (_, n) => ({ channel, data: n })));
        const client = await chat(line.url, options);
        const { id } = client.socket;
        await client.ask("name", "Resilient");
        for (const room of rooms) await client.ask("join", room);
        const [ids, where] = [{}, {}];
        // Cut between two polls, a client is back before the server knows that it was away, and has to go on by itself.
        const goOn = async () => {
          await client.ask("name", "Resilient");
          for (const channel of [...old.slice(0, asked), ...rooms.map((room) => `chat.${room}`)]) {
            const last = client.told.findLast(({ args }) => args[1]?.channel === channel)?.args[1].id;
            await client.ask("subscribe", { channels: [channel], since: last ?? "earliest" });
          }
          for (const room of rooms) await client.ask("join", room);
        };
        let going;
        client.socket.on("connect", () => {
          if (!client.socket.recovered) going = goOn();
        });
        let asked = 0;
        let written = 0;
        const write = async () => {
          while (written < messages) {
            const batch = Array.from({ length: Math.min(1 + pick(25), messages - written) }, (_, n) => {
              where[written + n] = rooms[pick(3)];
              return { channel: `chat.${where[written + n]}`, event: "chat message", data: written + n };
            });
            const given = await publishAll(stack.base, batch);
            given.forEach((one, n) => (ids[batch[n].data] = one));
            written += batch.length;
            // Not faster than it is read, so that the cuts lie all over it.
            await until("the reader", () => client.said().length >= written * 0.8 - 200, { within: 60_000, every: 1 });
          }
        };
        // The first offset: from then on the session can be told.
        await publishAll(stack.base, [{ channel: `chat.${rooms[0]}`, event: "chat message", data: "begin" }]);
        await client.hears("chat message", (data) => data === "begin");
        let done = false;
        const writing = write().finally(() => (done = true));
        for (let cut = 0; cut < cuts; cut += 1) {
          const goal = Math.min(messages, Math.floor((messages * cut) / cuts));
          await until("some more", () => client.said().length > goal, { within: 60_000, every: 1 });
          if (cut % Math.floor(cuts / old.length) === 2 && asked < old.length) {
            // Whatever becomes of the ack: an ack is no message, and a cut may take it along.
            const channel = old[asked];
            await client.ask("subscribe", { channels: [channel], since: "earliest" });
            asked += 1;
          }
          const [comings, ends] = [client.connects.length, client.disconnects.length];
          // Between two polls there is nothing that a cut could end; and who is not there yet would never come.
          const cutOff = () => {
            if (client.socket.connected) line.cut();
            return client.disconnects.length > ends;
          };
          await until("the cut", cutOff, { every: 2 });
          await until("the way back", () => client.connects.length > comings, { within: 20_000, every: 1 });
          await until("the connection", () => client.socket.connected, { every: 1 });
          await going;
        }
        await writing;
        assert.ok(done);
        assert.equal(asked, old.length);
        const all = () => client.said().length >= messages + 1 && old.every((channel) => client.of("message").filter(([, meta]) => meta.channel === channel).length >= 300);
        await until("everything", all, { within: 30_000 }).catch(() => {});
        assert.ok(client.connects.length > cuts);
        if (way === "WebSocket only") {
          assert.deepEqual(client.connects.slice(1).filter(({ recovered }) => !recovered), []);
          assert.ok(client.connects.every((one) => one.id === id));
        }
        const told = client.said().filter(([data]) => data !== "begin");
        same(told.map(([, meta]) => meta.id), told.map(([data]) => ids[data]), "ids");
        const inRoom = (room) => told.filter(([, meta]) => meta.room === room).map(([data]) => data);
        for (const room of rooms) same(inRoom(room), Object.keys(ids).map(Number).filter((n) => where[n] === room), room);
        if (way === "WebSocket only") same(told.map(([data]) => data), Array.from({ length: messages }, (_, n) => n), "all");
        for (const channel of old) {
          same(client.of("message").filter(([, meta]) => meta.channel === channel).map(([, meta]) => meta.id), before[channel], channel);
        }
        assert.equal(client.of("gap").length, 0);
        // Name, rooms and where one speaks are as they were.
        const other = await chat(stack.base);
        for (const room of rooms) assert.ok((await other.ask("join", room)).members.includes("Resilient"), room);
        const answer = await client.say("still me");
        const [, meta] = await other.hears("chat message", (_, meta) => meta.id === answer.id);
        assert.deepEqual([meta.room, meta.from], [rooms[2], "Resilient"]);
        for (const one of [client, other]) one.close();
        await line.stop();
      });
    }

    test("a client whose connection was lost silently recovers the missed messages", { timeout: 60_000 }, async () => {
      const line = await network(stack);
      const room = newRoom();
      const [client, other] = [await chat(line.url), await chat(stack.base)];
      for (const one of [client, other]) await one.ask("join", room);
      await other.say(Buffer.from([1]));
      await client.hears("chat message");
      line.refuse(true);
      line.cut();
      await until("the end", () => client.disconnects.length === 1);
      await until("the room is left", async () => (await other.ask("join", room)).count === 1);
      for (const what of ["two", { three: Buffer.from([3]) }, "four"]) await other.say(what);
      line.refuse(false);
      await client.hears("chat message", (data) => data === "four");
      assert.deepEqual(client.said(room).map(([data]) => data), [Buffer.from([1]), "two", { three: Buffer.from([3]) }, "four"]);
      assert.deepEqual(client.connects.map(({ recovered }) => recovered), [false, true]);
      client.close();
      await line.stop();
    });

    test("a client that changes networks takes over its session before the server notices", { timeout: 60_000 }, async () => {
      const line = await network(stack);
      const room = newRoom();
      const [client, other] = [await chat(line.url), await chat(stack.base)];
      for (const one of [client, other]) await one.ask("join", room);
      await other.say("one");
      await client.hears("chat message", (data) => data === "one");
      line.abandon();
      await other.say("two");
      await until("the way back", () => client.connects.length === 2);
      const [{ id }, again] = client.connects;
      assert.deepEqual(again, { recovered: true, id });
      assert.equal((await client.ask("join", room)).count, 2, "the socket of before is gone");
      await other.say("three");
      await client.hears("chat message", (data) => data === "three");
      assert.deepEqual(client.said(room).map(([data]) => data), ["one", "two", "three"]);
      client.close();
      await line.stop();
    });

    test("a client that disconnects on purpose gets a new session", async () => {
      const client = await chat(stack.base);
      const { id } = client.socket;
      await client.say("one");
      await client.hears("chat message");
      client.socket.disconnect();
      // On another connection, it could be back before it is known to have left.
      const logs = () => Object.values(stack.services).map((service) => service.said()).join("");
      await until("the end", () => logs().includes(`${id} disconnected: client namespace disconnect`));
      client.socket.connect();
      await until("the way back", () => client.connects.length === 2);
      assert.equal(client.connects[1].recovered, false);
      assert.notEqual(client.socket.id, id);
    });
  });
}

describe("chat, recovery: with room for 5", () => {
  let stack;
  before(async () => {
    stack = await startStack(STANDALONE, { TRIDENT_HISTORY_COUNT: "5" });
  });
  after(async () => {
    leaveAll();
    await stack?.stop();
  });

  test("a loss is reported: not recovered, and a gap for subscribers", { timeout: 30_000 }, async () => {
    const line = await network(stack);
    const room = newRoom();
    const [client, other] = [await chat(line.url), await chat(stack.base)];
    for (const one of [client, other]) await one.ask("join", room);
    await other.say(0);
    const [, { id: last }] = await client.hears("chat message", (data) => data === 0);
    line.refuse(true);
    line.cut();
    await until("the end", () => client.disconnects.length === 1);
    for (let n = 1; n <= 8; n += 1) await other.say(n);
    line.refuse(false);
    await until("the way back", () => client.connects.length === 2);
    assert.equal(client.connects[1].recovered, false);
    assert.deepEqual(client.said(room).map(([data]) => data), [0], "nothing comes unasked");
    const answer = await client.ask("subscribe", { channels: [`chat.${room}`], since: last });
    assert.equal(answer.ok, true);
    await client.hears("chat message", (data) => data === 8);
    const [gap] = client.of("gap")[0];
    assert.equal(gap.requested, last);
    assert.deepEqual(client.said(room).map(([data]) => data), [0, 4, 5, 6, 7, 8]);
    const order = client.told.filter(({ event, args }) => event === "gap" || args[1]?.room === room).map(({ event }) => event);
    assert.deepEqual(order, ["chat message", "gap", ...Array(5).fill("chat message")]);
    // From here on nothing is lost again.
    await other.say(9);
    await client.hears("chat message", (data) => data === 9);
    client.close();
    await line.stop();
  });
});

for (const kind of [STANDALONE, GATEWAY]) {
  describe(`chat, a server that comes and goes: ${kind}`, () => {
    test("clients are notified, and reconnect to the next server automatically", { timeout: 60_000 }, async (t) => {
      const stack = await startStack(kind);
      t.after(() => stack.stop());
      t.after(leaveAll);
      const old = stack.services["chat-svc"] ?? stack.services.standalone;
      const clients = {};
      for (const [way, options] of Object.entries(WAYS)) {
        clients[way] = await chat(stack.base, options);
        await clients[way].say("before");
        await clients[way].hears("chat message", (data) => data === "before");
      }
      const began = performance.now();
      assert.equal(await old.stop(), 0);
      assert.ok(performance.now() - began < 10_000);
      for (const [way, client] of Object.entries(clients)) {
        await until(`the end, ${way}`, () => client.disconnects.length > 0);
        // A client that was just between two polls finds nobody to ask.
        const ends = way === "polling only" ? ["transport close", "transport error"] : ["transport close"];
        assert.ok(ends.includes(client.disconnects[0]), `${way}: ${client.disconnects[0]}`);
      }
      assert.match(old.said(), /disconnected: server shutting down/);
      const next = await startService(old.name, {}, old.port);
      t.after(() => next.stop());
      for (const [way, client] of Object.entries(clients)) {
        await until(`the way back, ${way}`, () => client.socket.connected, { within: 20_000 });
        assert.equal(client.connects.at(-1).recovered, false, "the log of before went with its process");
        assert.equal((await client.say(`back ${way}`)).ok, true);
        await client.hears("chat message", (data) => data === `back ${way}`);
      }
    });

    test("a client that was disconnected when the server stopped reconnects, too", { timeout: 60_000 }, async (t) => {
      const stack = await startStack(kind);
      t.after(() => stack.stop());
      t.after(leaveAll);
      const line = await network(stack);
      t.after(() => line.stop());
      const old = stack.services["chat-svc"] ?? stack.services.standalone;
      const client = chatClient(line.url);
      await client.open();
      await client.say("before");
      line.refuse(true);
      line.cut();
      await until("the end", () => client.disconnects.length === 1);
      await old.stop("SIGKILL");
      const next = await startService(old.name, {}, old.port);
      t.after(() => next.stop());
      line.refuse(false);
      await until("the way back", () => client.connects.length === 2, { within: 20_000 });
      assert.equal(client.connects[1].recovered, false);
      assert.equal((await client.say("back")).ok, true);
    });
  });
}
