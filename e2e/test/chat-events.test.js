// What chat clients may ask for, what they are told, and how each wrong question is answered.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { WAYS, chat, figure, leaveAll, newRoom } from "../lib/chat.js";
import { ask, openEvents, publish } from "../lib/http.js";
import { GATEWAY, ONE_LOG, STANDALONE, startStack } from "../lib/stack.js";
import { soon, until } from "../lib/wait.js";

const ID = /^\d{13}-\d+$/;

/** Everybody in a room of their own. */
async function together(base, count, options) {
  const room = newRoom();
  const clients = await Promise.all(Array.from({ length: count }, () => chat(base, options)));
  for (const client of clients) assert.equal((await client.ask("join", room)).ok, true);
  return [room, ...clients];
}

function refusedWith(answer, code) {
  assert.equal(answer.ok, false, JSON.stringify(answer));
  assert.deepEqual(Object.keys(answer), ["ok", "error"]);
  assert.equal(answer.error.code, code, JSON.stringify(answer));
  assert.equal(typeof answer.error.message, "string");
  assert.ok(answer.error.message.length > 5);
}

for (const kind of [STANDALONE, GATEWAY]) {
  describe(`chat: ${kind}`, () => {
    let stack;
    before(async () => {
      stack = await startStack(kind);
    });
    after(async () => {
      leaveAll();
      await stack?.stop();
    });

    for (const [way, options] of Object.entries(WAYS)) {
      test(`a minimal chat page, ${way}`, async () => {
        const one = await chat(stack.base, options);
        const other = await chat(stack.base, options);
        const heard = new Promise((resolve) => other.socket.on("chat message", (msg) => resolve(msg)));
        one.socket.emit("chat message", `hello by ${way}`);
        assert.equal(await soon("the message", heard), `hello by ${way}`);
        await one.hears("chat message", (msg) => msg === `hello by ${way}`);
        const { id } = one.socket;
        const log = () => stack.services[kind === GATEWAY ? "chat-svc" : "standalone"].said();
        await until("the log of the arrival", () => log().includes(`${id} connected`));
        one.close();
        await until("the log of the end", () => log().includes(`${id} disconnected: client namespace disconnect`));
      });
    }

    test("a message reaches everyone in the room, its sender included, and no one else", async () => {
      const [room, mei, arun] = await together(stack.base, 2);
      const stranger = await chat(stack.base);
      await mei.ask("name", "Mei");
      const began = Date.now();
      const answer = await mei.say({ text: "hi", list: [1, null, true, "✓"] });
      assert.deepEqual(Object.keys(answer), ["ok", "id"]);
      assert.match(answer.id, ID);
      for (const client of [mei, arun]) {
        const [data, meta, offset, ...rest] = await client.hears("chat message", (_, { id }) => id === answer.id);
        assert.deepEqual(data, { text: "hi", list: [1, null, true, "✓"] });
        const { time, ...others } = meta;
        assert.deepEqual(others, { id: answer.id, channel: `chat.${room}`, room, from: "Mei" });
        assert.ok(Math.abs(time - began) < 5_000);
        assert.equal(offset, answer.id, "the offset of connection state recovery");
        assert.deepEqual(rest, []);
      }
      // What comes later in the lobby comes there first.
      const lobby = await chat(stack.base);
      await lobby.say("a mark");
      await stranger.hears("chat message", (data) => data === "a mark");
      assert.equal(stranger.said(room).length, 0);
    });

    test("the first room is lobby", async () => {
      const [one, other] = [await chat(stack.base), await chat(stack.base)];
      const { id } = await one.say("first words");
      const [, meta] = await other.hears("chat message", (_, meta) => meta.id === id);
      assert.equal(meta.room, "lobby");
      assert.match(meta.from, /^guest-[A-Za-z0-9]{1,4}$/);
    });

    test("join returns the members and the newest 50 messages, oldest first", async () => {
      const [room, one] = await together(stack.base, 1);
      await one.ask("name", "One");
      const ids = [];
      for (let n = 1; n <= 51; n += 1) ids.push((await one.say(n)).id);
      const other = await chat(stack.base);
      await other.ask("name", "Two");
      const answer = await other.ask("join", room);
      assert.deepEqual(Object.keys(answer), ["ok", "room", "count", "members", "cursor", "more", "messages"]);
      assert.deepEqual([answer.ok, answer.room, answer.count, answer.members], [true, room, 2, ["One", "Two"]]);
      assert.deepEqual(answer.messages.map((message) => message.data), Array.from({ length: 50 }, (_, n) => n + 2));
      assert.deepEqual(answer.messages.map((message) => message.id), ids.slice(1));
      const { time, ...first } = answer.messages[0];
      assert.deepEqual(first, { id: ids[1], channel: `chat.${room}`, room, from: "One", event: "chat message", data: 2 });
      assert.equal(time, Number(ids[1].split("-")[0]));
      // What is said from now on comes live, and nothing of before does.
      const { id } = await one.say("news");
      await other.hears("chat message", (_, meta) => meta.id === id);
      assert.deepEqual(other.said(room).map(([data]) => data), ["news"]);
    });

    test("a client sends to the room joined last, and reads all its rooms", async () => {
      const [room, mei, arun] = await together(stack.base, 2);
      const tea = newRoom();
      const says = async (expected) => {
        const { id } = await mei.say("where am I?");
        const [, meta] = await mei.hears("chat message", (_, meta) => meta.id === id);
        assert.equal(meta.room, expected);
      };
      await says(room);
      await mei.ask("join", tea);
      await says(tea);
      const { id } = await arun.say("still there?");
      await mei.hears("chat message", (_, meta) => meta.id === id);
      // Joined again: the current one again.
      await mei.ask("join", room);
      await says(room);
      assert.deepEqual(await mei.ask("leave", room), { ok: true });
      await says(tea);
      await arun.say("unheard");
      assert.deepEqual(await mei.ask("leave", tea), { ok: true });
      await says("lobby");
      assert.deepEqual(await mei.ask("leave", "lobby"), { ok: true });
      refusedWith(await mei.say("nobody hears this"), "no_room");
      refusedWith(await mei.ask("typing", true), "no_room");
      await mei.ask("join", tea);
      await says(tea);
      assert.ok(!mei.said(room).some(([data]) => data === "unheard"));
      assert.deepEqual(await mei.ask("leave", newRoom()), { ok: true }, "a room that one is not in is left already");
    });

    test("invalid arguments are rejected with their name", async () => {
      const client = await chat(stack.base);
      const long = "n".repeat(124);
      const circle = { channels: ["public.a"], since: "earliest" };
      for (const [code, ...question] of [
        ["bad_message", "chat message"],
        ...[undefined, null, 5, "", "a b", "a//b", "ä", "a\nb", long, ["lobby"], { room: "lobby" }].map((room) => ["bad_room", "join", room]),
        ["bad_room", "join"],
        ["bad_room", "leave"],
        ["bad_room", "leave", 7],
        ...[undefined, null, 7, "", "   ", "x".repeat(41), "a\u0000b", "a\nb", "a\u202eb", {}].map((name) => ["bad_name", "name", name]),
        ["bad_name", "name"],
        ...[null, 1, "true", {}].map((typing) => ["bad_typing", "typing", typing]),
        ["bad_typing", "typing"],
        ["bad_arguments", "subscribe"],
        ...[null, "public.a", ["public.a"], {}, { channels: "public.a" }, { channels: [5] }, { channels: null }, { ...circle, form: 1 }, { ...circle, since: 5 }].map((what) => ["bad_arguments", "subscribe", what]),
        ...["", "yesterday", "1-", "-1", "1-2-3", "0x1-0"].map((since) => ["bad_cursor", "subscribe", { ...circle, since }]),
        ["bad_channel", "subscribe", { channels: [] }],
        ...["", "a b", "ä", "x".repeat(129)].map((name) => ["bad_channel", "subscribe", { channels: ["public.ok", name] }]),
        ["bad_channel", "subscribe", { channels: Array.from({ length: 129 }, (_, n) => `public.c${n}`) }],
        ["bad_arguments", "unsubscribe"],
        ["bad_arguments", "unsubscribe", { channels: "public.a" }],
        ["bad_channel", "unsubscribe", { channels: ["a b"] }],
        ["token_needed", "subscribe", { channels: ["public.a", "private"] }],
      ]) {
        try {
          refusedWith(await client.ask(...question), code);
        } catch (error) {
          throw new Error(`${JSON.stringify(question)}: ${error.message}`);
        }
      }
      // Nothing of all that has changed anything, and without an ack a wrong question is no harm.
      client.socket.emit("join");
      client.socket.emit("subscribe", 5);
      client.socket.emit("nobody handles this", 1);
      const { id } = await client.say("still in the lobby");
      const [, meta] = await client.hears("chat message", (_, meta) => meta.id === id);
      assert.equal(meta.room, "lobby");
    });

    test("a message above the size limit is rejected, and one at the limit is not", async () => {
      const client = await chat(stack.base);
      assert.equal((await client.say("x".repeat(65_536 - 2))).ok, true);
      refusedWith(await client.say("x".repeat(65_536 - 1)), "too_large");
      refusedWith(await client.say(Buffer.alloc(65_537)), "too_large");
      assert.equal((await client.say("fine")).ok, true);
    });

    test("a room with a name of the maximum length", async () => {
      const client = await chat(stack.base);
      const room = `${"r".repeat(122)}~`;
      assert.equal((await client.ask("join", room)).room, room);
      const { id } = await client.say("far");
      const [, meta] = await client.hears("chat message", (_, meta) => meta.id === id);
      assert.equal(meta.channel, `chat.${room}`);
    });

    test("names are trimmed, shown to others, and returned", async () => {
      const [room, mei, arun] = await together(stack.base, 2);
      assert.deepEqual(await mei.ask("name", "  玫 Mei  "), { ok: true, name: "玫 Mei" });
      await arun.hears("presence", (told) => told.room === room && told.members?.includes("玫 Mei"));
      assert.deepEqual(await mei.ask("name", "é".repeat(40)), { ok: true, name: "é".repeat(40) });
      await arun.hears("presence", (told) => told.room === room && told.members?.includes("é".repeat(40)));
      const { id } = await mei.say("me");
      const [, meta] = await arun.hears("chat message", (_, meta) => meta.id === id);
      assert.equal(meta.from, "é".repeat(40));
    });

    for (const [way, options] of Object.entries(WAYS)) {
      test(`typing is sent to the others only, ${way}`, async () => {
        const [room, mei, arun] = await together(stack.base, 2, options);
        const stranger = await chat(stack.base);
        await mei.ask("name", "Mei");
        // Volatile: told only to who can take it at once, so it is said until it is heard.
        await until("typing", async () => {
          assert.deepEqual(await mei.ask("typing", true), { ok: true });
          return arun.of("typing").length > 0;
        });
        assert.deepEqual(arun.of("typing")[0][0], { room, from: "Mei", typing: true });
        await until("typing", async () => {
          await mei.ask("typing", false);
          return arun.of("typing").some(([told]) => !told.typing);
        });
        assert.equal(mei.of("typing").length, 0);
        assert.equal(stranger.of("typing").length, 0);
      });
    }

    test("presence is sent at most once a second, with everyone who joined and left", async () => {
      const [room, watcher] = await together(stack.base, 1);
      await watcher.ask("name", "Watcher");
      const others = [];
      const end = performance.now() + 3_500;
      while (performance.now() < end) {
        const other = await chat(stack.base);
        await other.ask("join", room);
        others.push(other);
        if (others.length % 2) other.close();
      }
      for (const other of others) other.close();
      const alone = (told) => told.room === room && told.count === 1;
      await until("everybody's end", () => {
        const last = watcher.of("presence").findLast(([told]) => told.room === room);
        return last && alone(last[0]);
      });
      const times = watcher.told.filter(({ event, args }) => event === "presence" && args[0].room === room).map(({ at }) => at);
      assert.ok(times.length >= 3);
      for (let at = 1; at < times.length; at += 1) {
        assert.ok(times[at] - times[at - 1] > 800, `${times[at] - times[at - 1]} ms between two`);
      }
      const last = watcher.of("presence").findLast(([told]) => told.room === room)[0];
      assert.deepEqual(last, { room, count: 1, members: ["Watcher"] });
    });

    test("up to 100 members are listed by name, more only counted", { timeout: 60_000 }, async () => {
      const [room, ...first] = await together(stack.base, 100);
      await first[0].hears("presence", (told) => told.room === room && told.count === 100 && told.members?.length === 100);
      const last = await chat(stack.base);
      const answer = await last.ask("join", room);
      assert.deepEqual([answer.count, answer.members], [101, undefined]);
      const [told] = await first[0].hears("presence", (told) => told.room === room && told.count === 101);
      assert.deepEqual(told, { room, count: 101 });
      last.close();
      await until("names again", () => {
        const [told] = first[0].of("presence").findLast(([told]) => told.room === room);
        return told.count === 100 && told.members.length === 100;
      });
      for (const client of first) client.close();
    });

    test("binary data stays binary between clients of any transport", async () => {
      const room = newRoom();
      const [one, other] = [await chat(stack.base, WAYS["polling only"]), await chat(stack.base, WAYS["WebSocket only"])];
      for (const client of [one, other]) await client.ask("join", room);
      const bytes = Buffer.from([0, 1, 2, 254, 255]);
      for (const [from, to] of [[one, other], [other, one]]) {
        const { id, ok } = await from.say({ name: "a.png", parts: [bytes, Buffer.from("text")], none: Buffer.alloc(0) });
        assert.equal(ok, true);
        const [data] = await to.hears("chat message", (_, meta) => meta.id === id);
        assert.deepEqual(data, { name: "a.png", parts: [bytes, Buffer.from("text")], none: Buffer.alloc(0) });
      }
      const whole = await one.say(bytes);
      const [data] = await other.hears("chat message", (_, meta) => meta.id === whole.id);
      assert.deepEqual(data, bytes);
      // In an ack's history, as on the other transports, it is text.
      const { messages } = await (await chat(stack.base)).ask("join", room);
      assert.deepEqual(messages.at(-1).data, { base64: bytes.toString("base64") });
      // A client cannot make a number of attachments of its own by writing their place.
      const forged = await one.say({ _placeholder: true, num: 5 });
      if (forged.ok) {
        const [data] = await other.hears("chat message", (_, meta) => meta.id === forged.id);
        assert.deepEqual(data, { _placeholder: true, num: 5 });
      }
      assert.equal((await one.say("goes on")).ok, true);
    });

    test("metrics: connections by transport, deliveries", async () => {
      const service = stack.services[kind === GATEWAY ? "chat-svc" : "standalone"];
      const count = (what, transport) => figure(service.base, `trident_${what}{transport="${transport}"}`);
      leaveAll();
      await until("nobody is counted", async () => (await count("connections", "websocket")) + (await count("connections", "polling")) === 0);
      const before = { websocket: await count("deliveries_total", "websocket"), polling: await count("deliveries_total", "polling") };
      const [room, poller] = await together(stack.base, 1, WAYS["polling only"]);
      const socket = await chat(stack.base, WAYS["WebSocket only"]);
      const upgraded = await chat(stack.base, WAYS.upgrade);
      for (const client of [socket, upgraded]) await client.ask("join", room);
      await until("each under its transport", async () => (await count("connections", "websocket")) === 2 && (await count("connections", "polling")) === 1);
      for (let n = 0; n < 10; n += 1) await socket.say(n);
      for (const client of [poller, socket, upgraded]) await client.hears("chat message", (data) => data === 9);
      assert.equal(await count("deliveries_total", "websocket") - before.websocket, 20);
      assert.equal(await count("deliveries_total", "polling") - before.polling, 10);
      for (const client of [poller, socket, upgraded]) client.close();
      await until("nobody is counted", async () => (await count("connections", "websocket")) + (await count("connections", "polling")) === 0);
    });
  });
}

for (const kind of [STANDALONE, ONE_LOG]) {
  describe(`chat and the other transports: ${kind}`, () => {
    let stack;
    before(async () => {
      stack = await startStack(kind);
    });
    after(async () => {
      leaveAll();
      await stack?.stop();
    });

    test("a message published over HTTP appears in the chat", async () => {
      const client = await chat(stack.base);
      for (const path of ["/events", "/data"]) {
        const id = await publish(stack.base, "chat.lobby", { by: path }, { path, event: "chat message" });
        const [data, meta] = await client.hears("chat message", (_, meta) => meta.id === id);
        assert.deepEqual(data, { by: path });
        assert.deepEqual([meta.room, meta.from], ["lobby", null]);
      }
      const id = await publish(stack.base, "chat.lobby", "another event", { event: "notice" });
      const [data, meta] = await client.hears("notice");
      assert.deepEqual([data, meta.id], ["another event", id]);
    });

    test("the chat is readable on /events and /data, with buffers as base64", async () => {
      const [room, client] = await together(stack.base, 1);
      const events = await openEvents(`${stack.base}/events?channel=chat.${room}`);
      await events.next((item) => item.comment !== undefined);
      const text = await client.say("two\nlines");
      const binary = await client.say({ file: Buffer.from([0, 255]), note: "n" });
      const heard = await events.next((item) => item.id === text.id);
      assert.deepEqual([heard.event, heard.data], ["chat message", "two\nlines"]);
      assert.deepEqual(JSON.parse((await events.next((item) => item.id === binary.id)).data), { file: { base64: "AP8=" }, note: "n" });
      await events.close();
      const batch = (await ask(`${stack.base}/data?channel=chat.${room}&since=earliest`)).json();
      assert.deepEqual(
        batch.messages.map(({ id, channel, event, data }) => ({ id, channel, event, data })),
        [
          { id: text.id, channel: `chat.${room}`, event: "chat message", data: "two\nlines" },
          { id: binary.id, channel: `chat.${room}`, event: "chat message", data: { file: { base64: "AP8=" }, note: "n" } },
        ],
      );
    });

    test("an acknowledged id of the chat is a cursor on the other transports", async () => {
      const [room, client] = await together(stack.base, 1);
      const { id } = await client.say("one");
      await client.say("two");
      const { messages } = (await ask(`${stack.base}/data?channel=chat.${room}&since=${id}`)).json();
      assert.deepEqual(messages.map(({ data }) => data), ["two"]);
    });
  });
}
