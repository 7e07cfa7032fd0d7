// The client library in Node: what it gives is the same on every transport, through every stack.

import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { io } from "socket.io-client";
import { WebSocket } from "ws";
import { connect, publish, Stream, TridentError } from "../../web/client/dist/index.js";
import { socketio } from "../../web/client/dist/transports/socketio.js";
import { ask } from "../lib/http.js";
import { ONE_LOG, STANDALONE, startStack } from "../lib/stack.js";
import { bearer, token } from "../lib/token.js";
import { soon, until } from "../lib/wait.js";
import { head, publishAll, Writer } from "./writer.js";

// Node has one from version 22 on.
globalThis.WebSocket ??= WebSocket;
const TRANSPORTS = ["websocket", "ws", "sse", "stream", "longpoll"];
const open = new Set();
let drawn = 0;
const newChannel = (prefix = "public.client") => `${prefix}-${process.pid}-${(drawn += 1)}`;

function listen(url, options) {
  const connection = connect({ url, websocket: socketio(io), ...options });
  open.add(connection);
  return connection;
}

async function take(connection, count) {
  const taken = [];
  while (taken.length < count) taken.push((await soon(`message ${taken.length}`, connection.next())).value);
  return taken;
}

const isOpen = (connection) => until("open", () => connection.state.phase === "open");

for (const kind of [STANDALONE, ONE_LOG]) {
  describe(`client: ${kind}`, () => {
    let stack;
    before(async () => {
      stack = await startStack(kind, { TRIDENT_HISTORY_COUNT: "5" });
    });
    after(() => stack?.stop());
    afterEach(() => {
      for (const connection of open) connection.close();
      open.clear();
    });

    for (const transport of TRANSPORTS) {
      describe(transport, () => {
        const from = (options) => listen(stack.base, { transports: [transport], ...options });

        test("messages of several channels arrive as they were published", async () => {
          const [a, b] = [newChannel(), newChannel()];
          const since = await head(stack.base, a);
          const lines = [
            { channel: a, data: "5" },
            { channel: b, data: 5 },
            { channel: a, event: "Gap", data: { requested: "1-0", resumed: "2-0" } },
            { channel: b, event: "chat message", data: "two\nlines\r\n时间:🌊" },
            { channel: a, data: null },
            { channel: b, event: "presence", data: [{ deep: [true, 1.5, ""] }] },
          ];
          const ids = await publishAll(stack.base, lines);
          const connection = from({ channels: [a, b], since });
          connection.on("gap", (gap) => assert.fail(`a gap: ${JSON.stringify(gap)}`));
          const expected = lines.map((line, at) => ({ id: ids[at], event: "message", time: Number(ids[at].split("-")[0]), ...line }));
          assert.deepEqual(await take(connection, lines.length), expected);
          assert.equal(connection.cursor, ids.at(-1));
          assert.equal(connection.state.transport, transport);
        });

        test("without a position: messages published after the opening", async () => {
          const channel = newChannel();
          await publishAll(stack.base, [{ channel, data: "before" }]);
          const connection = from({ channels: [channel] });
          await isOpen(connection);
          await publishAll(stack.base, [{ channel, data: "after" }]);
          assert.deepEqual((await take(connection, 1)).map(({ data }) => data), ["after"]);
        });

        test("earliest: all retained messages, and then new ones", async () => {
          const channel = newChannel();
          await new Writer(stack.base, channel).to(3);
          const connection = from({ channels: [channel], since: "earliest" });
          const first = await take(connection, 3);
          await publishAll(stack.base, [{ channel, data: { n: 3 } }]);
          const all = [...first, ...(await take(connection, 1))];
          assert.deepEqual(all.map(({ data }) => data.n), [0, 1, 2, 3]);
        });

        test("a gap is reported before the messages that follow it", async () => {
          const channel = newChannel();
          const writer = new Writer(stack.base, channel);
          await writer.to(9);
          const connection = from({ channels: [channel], since: writer.ids[0] });
          const told = [];
          connection.on("gap", (gap) => told.push(gap));
          connection.on("message", ({ data }) => told.push(data.n));
          await until("all", () => told.length === 6);
          assert.deepEqual(told, [{ requested: writer.ids[0], resumed: writer.ids[3] }, 4, 5, 6, 7, 8]);
        });

        test("the chat's first room, with its history", async () => {
          const channel = "chat.lobby";
          const since = await head(stack.base, channel);
          const ids = await publishAll(stack.base, [1, 2, 3].map((data) => ({ channel, event: "chat message", data })));
          const connection = from({ channels: [channel], since });
          assert.deepEqual((await take(connection, 3)).map(({ id }) => id), ids);
        });

        for (const [name, options, status, code] of [
          ["a token is needed", { channels: ["inner"] }, 401, "token_needed"],
          ["a bad token", { channels: ["inner"], token: "a.b.c" }, 401, "bad_token"],
          ["not allowed", { channels: ["inner"], token: token({ trident: { subscribe: ["other"] } }) }, 403, "insufficient_scope"],
          ["a bad channel", { channels: ["a//b"] }, 400, "bad_channel"],
          ["a bad cursor", { channels: ["public.a"], since: "yesterday" }, 400, "bad_cursor"],
        ]) {
          test(`${name}: it stops, and reports the reason`, async () => {
            const connection = from(options);
            await assert.rejects(soon("an end", connection.next()), (error) => {
              assert.ok(error instanceof TridentError);
              assert.deepEqual([error.status, error.code], [status, code], error.message);
              return true;
            });
            assert.equal(connection.state.phase, "closed");
          });
        }

        test("an expired token is replaced, and no message is missed", async () => {
          const channel = newChannel("inner");
          const since = await head(stack.base, "public.any");
          const refused = [];
          // The first ran out yesterday, the second will in two seconds, and then there are better ones.
          const lives = [-86_400, 2];
          const give = (isRefused) => token({ exp: Math.floor(Date.now() / 1_000) + (lives[refused.push(isRefused) - 1] ?? 3_600) });
          const connection = from({ channels: [channel], since, token: give, timing: { backoff: 50 } });
          const ids = await publishAll(stack.base, [{ channel, data: 1 }]);
          assert.equal((await take(connection, 1))[0].id, ids[0]);
          await until("another token", () => refused.length > 2, { within: 15_000 });
          assert.deepEqual(refused.slice(0, 2), [false, true]);
          ids.push(...(await publishAll(stack.base, [{ channel, data: 2 }])));
          assert.equal((await take(connection, 1))[0].id, ids[1]);
        });
      });
    }

    test("the best transport is chosen", async () => {
      const connection = listen(stack.base, { channels: [newChannel()] });
      await isOpen(connection);
      assert.equal(connection.state.transport, "websocket");
      const without = listen(stack.base, { channels: [newChannel()], websocket: undefined });
      await isOpen(without);
      assert.equal(without.state.transport, "ws");
    });

    test("a cursor of one transport resumes on every other", async () => {
      const channel = newChannel();
      const writer = new Writer(stack.base, channel);
      let since = await head(stack.base, channel);
      const read = [];
      for (const transport of [...TRANSPORTS, ...TRANSPORTS.toReversed()]) {
        await writer.to(writer.ids.length + 4);
        const connection = listen(stack.base, { channels: [channel], since, transports: [transport] });
        read.push(...(await take(connection, 2)).map(({ id }) => id));
        since = connection.cursor;
        connection.close();
        // What is left lies behind the cursor, and is what the next begins with.
        const rest = listen(stack.base, { channels: [channel], since, transports: [transport] });
        read.push(...(await take(rest, 2)).map(({ id }) => id));
        since = rest.cursor;
        rest.close();
      }
      assert.deepEqual(read, writer.ids);
    });

    test("`for await` is done when one stream is closed and the other has expired, on each transport", async () => {
      const [closing, expiring] = [newChannel(), newChannel()];
      const stream = new Stream(closing, { url: stack.base, token: token() });
      await stream.create();
      const readers = TRANSPORTS.map((transport) => {
        const connection = listen(stack.base, { channels: [closing, expiring], since: "earliest", transports: [transport] });
        const [read, ends] = [[], []];
        connection.on("end", ({ channel, reason }) => ends.push([channel, reason, read.length]));
        connection.on("gap", (gap) => assert.fail(`a gap: ${JSON.stringify(gap)}`));
        const reading = (async () => {
          for await (const { data } of connection) read.push(data);
        })();
        reading.catch(() => {});
        return { transport, connection, read, ends, reading };
      });
      await stream.append(1);
      await stream.flush();
      await until("all read it", () => readers.every(({ read }) => read.length === 1));
      const headers = { ...bearer(), "Content-Type": "application/json", "Stream-Expires-At": new Date(Date.now() + 1_000).toISOString() };
      const created = await ask(`${stack.base}/streams/${expiring}`, { method: "PUT", headers, body: "[2]" });
      assert.equal(created.status, 201, created.body);
      await stream.close();
      for (const { transport, connection, read, ends, reading } of readers) {
        await soon(`the end on ${transport}`, reading);
        assert.deepEqual(read, [1, 2]);
        assert.deepEqual(ends, [[closing, "closed", 2], [expiring, "expired", 2]], transport);
        assert.deepEqual([connection.state.phase, connection.state.why], ["closed", "finished"]);
      }
      const { cursor } = readers[0].connection;
      const late = TRANSPORTS.map((transport) => listen(stack.base, { channels: [closing, expiring], since: cursor, transports: [transport] }));
      for (const connection of late) assert.equal((await soon("the end", connection.next())).done, true);
    });

    test("publish returns the id that readers see, and a key stores once", async () => {
      const channel = newChannel();
      const connection = listen(stack.base, { channels: [channel] });
      await isOpen(connection);
      const options = { url: stack.base, token: () => token(), key: `once-${channel}` };
      const id = await publish({ channel, data: { x: 1 }, event: "greeting" }, options);
      assert.equal(await publish({ channel, data: { x: 1 }, event: "greeting" }, options), id);
      const last = await publish({ channel, data: "last" }, { url: stack.base, token: token() });
      const messages = await take(connection, 2);
      assert.deepEqual(messages.map((message) => [message.id, message.event, message.data]), [[id, "greeting", { x: 1 }], [last, "message", "last"]]);
      await assert.rejects(publish({ channel, data: 1 }, { url: stack.base }), { status: 401 });
    });
  });
}
