// How answers flow: at once, uncompressed where they last, with cursors that hold on every transport.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { io } from "socket.io-client";
import { ask, openEvents, openLines, publish } from "../lib/http.js";
import { GATEWAY, ONE_LOG, STANDALONE, startStack } from "../lib/stack.js";
import { bearer, token } from "../lib/token.js";
import { soon, until } from "../lib/wait.js";

// Far above what a free machine needs (a millisecond or two), far below what any buffer would take to fill.
const AT_ONCE = 750;

for (const kind of [STANDALONE, GATEWAY]) {
  describe(`compression: ${kind}`, () => {
    let stack;
    before(async () => {
      stack = await startStack(kind);
    });
    after(() => stack?.stop());
    const zipped = { "Accept-Encoding": "gzip, br, deflate" };

    test("streams are never compressed", async () => {
      for (const [path, openIt] of [["/events", openEvents], ["/data?mode=stream", openLines], ["/data?mode=stream&format=batch&channel=random", openLines]]) {
        const stream = await openIt(stack.base + path, zipped);
        assert.equal(stream.headers["content-encoding"], undefined, path);
        await stream.next((item) => item.id || item.value);
        await stream.close();
      }
    });

    test("pages and their files are compressed, and a known version is not sent again", async () => {
      for (const path of ["/", "/playground.js", "/playground.css", "/comet", "/chat.js", "/sse.css"]) {
        const [zipped, plain] = await Promise.all(["gzip", "identity"].map((coding) => ask(stack.base + path, { headers: { "Accept-Encoding": coding } })));
        assert.deepEqual([zipped.headers["content-encoding"], plain.headers["content-encoding"]], ["gzip", undefined], path);
        assert.equal(zipped.body, plain.body, path);
        for (const { headers } of [zipped, plain]) {
          assert.match(headers.vary, /Accept-Encoding/, path);
          const again = await ask(stack.base + path, { headers: { "Accept-Encoding": "gzip", "If-None-Match": headers.etag } });
          assert.equal(again.status, 304, path);
        }
      }
    });

    if (kind === GATEWAY) {
      test("large batches are compressed", async () => {
        for (let at = 0; at < 5; at += 1) await publish(stack.base, "public.zip", "x".repeat(1_000), { path: "/data" });
        const batch = await ask(`${stack.base}/data?channel=public.zip&since=earliest&mode=poll`, { headers: { "Accept-Encoding": "gzip" } });
        assert.equal(batch.headers["content-encoding"], "gzip");
        assert.equal(batch.json().messages.length, 5);
      });
    }

    test("a cursor survives as a weak ETag", async () => {
      const first = await ask(`${stack.base}/data`, { headers: zipped });
      assert.ok(first.headers.etag);
      const cursor = first.headers.etag.replace(/^W\//, "");
      const [strong, weak] = await Promise.all([cursor, `W/${cursor}`].map((tag) => ask(`${stack.base}/data`, { headers: { "If-None-Match": tag } })));
      assert.equal(strong.status, 200);
      assert.equal(weak.headers.etag.replace(/^W\//, ""), strong.headers.etag.replace(/^W\//, ""), "both go on after the same message");
      assert.notEqual(strong.headers.etag, first.headers.etag);
      const polled = await ask(`${stack.base}/data?mode=poll`, { headers: { "If-None-Match": `W/"9999999999999-0"` } });
      assert.notEqual(polled.status, 400);
    });
  });
}

for (const kind of [STANDALONE, ONE_LOG]) {
  describe(`flow: ${kind}`, () => {
    let stack;
    before(async () => {
      stack = await startStack(kind);
    });
    after(() => stack?.stop());

    test("a stream's first bytes arrive before its first message", async () => {
      const stream = await openEvents(`${stack.base}/events?channel=public.silent`);
      await stream.next((item) => item.retry);
      assert.ok(stream.firstByteAfter < AT_ONCE, `${stream.firstByteAfter} ms`);
      await stream.close();
      const quiet = await openLines(`${stack.base}/data?mode=stream&channel=public.silent`);
      assert.ok(quiet.headAfter < AT_ONCE, `${quiet.headAfter} ms`);
      await quiet.close();
    });

    test("each message is delivered when it is published, not when a buffer is full", async () => {
      const sse = await openEvents(`${stack.base}/events?channel=public.flow`);
      await sse.next((item) => item.retry);
      const comet = await openLines(`${stack.base}/data?mode=stream&channel=public.flow`);
      for (let at = 0; at < 10; at += 1) {
        const began = performance.now();
        const id = await publish(stack.base, "public.flow", { at });
        const [event, line] = await Promise.all([sse.next((item) => item.id === id), comet.next((item) => item.value.id === id)]);
        for (const [name, arrived] of [["SSE", event.at], ["comet", line.at]]) {
          assert.ok(arrived - began < AT_ONCE, `${name}: ${arrived - began} ms`);
        }
      }
      await Promise.all([sse.close(), comet.close()]);
    });

    test("only a WebSocket request is upgraded", async () => {
      const socket = io(stack.base, { transports: ["websocket"], reconnection: false, forceNew: true });
      await soon("connect", new Promise((resolve, reject) => socket.on("connect", resolve).on("connect_error", reject)));
      const echoed = new Promise((resolve) => socket.on("chat message", (text, meta) => text === "over a socket" && resolve(meta)));
      socket.emit("chat message", "over a socket");
      assert.match((await soon("the echo", echoed)).id, /^\d+-\d+$/);
      socket.close();
      const answer = await ask(`${stack.base}/data?mode=poll`, { headers: { Connection: "Upgrade", Upgrade: "h2c" } });
      assert.ok([200, 204, 304].includes(answer.status), String(answer.status));
    });

    test("Socket.IO starts with polling and upgrades to WebSocket", async () => {
      const socket = io(stack.base, { reconnection: false, forceNew: true });
      await soon("connect", new Promise((resolve, reject) => socket.on("connect", resolve).on("connect_error", reject)));
      await until("the upgrade", () => socket.io.engine.transport.name === "websocket");
      socket.close();
    });

    test("a message published by HTTP arrives on comet, SSE and Socket.IO with one id", async () => {
      const socket = io(stack.base, { transports: ["websocket"], reconnection: false, forceNew: true, auth: { token: token() } });
      const connected = new Promise((resolve, reject) => socket.on("connect", resolve).on("connect_error", reject));
      await soon("connect", connected);
      const told = new Promise((resolve) => socket.on("chat message", (text, meta) => text === "to everybody" && resolve(meta)));
      const sse = await openEvents(`${stack.base}/events?channel=chat.lobby`);
      await sse.next((item) => item.retry);
      const stream = await openLines(`${stack.base}/data?mode=stream&channel=chat.lobby`);
      const { cursor } = (await ask(`${stack.base}/data?mode=poll&channel=chat.lobby`)).json();
      const longPoll = ask(`${stack.base}/data?channel=chat.lobby&since=${cursor}`);
      const id = await publish(stack.base, "chat.lobby", "to everybody", { event: "chat message" });
      const [event, line, batch, meta] = await Promise.all([
        sse.next((item) => item.id === id),
        stream.next((item) => item.value.id === id),
        longPoll,
        soon("Socket.IO", told),
      ]);
      assert.deepEqual([event.event, event.data], ["chat message", "to everybody"]);
      assert.deepEqual([line.value.channel, line.value.event, line.value.data], ["chat.lobby", "chat message", "to everybody"]);
      assert.deepEqual(batch.json().messages.map((message) => message.id), [id]);
      assert.equal(meta.id, id);
      socket.close();
      await Promise.all([sse.close(), stream.close()]);
    });

    test("a cursor of one transport resumes on each of the others", async () => {
      const channel = "public.cursor";
      const ids = [];
      for (let at = 0; at < 6; at += 1) ids.push(await publish(stack.base, channel, { at }, { path: at % 2 ? "/data" : "/events" }));
      const rest = ids.slice(3);
      const upTo = async (openIt, url, headers, idOf) => {
        const stream = await openIt(url, headers);
        const found = [];
        while (found.length < rest.length) found.push(idOf(await stream.next(idOf)));
        await stream.close();
        return found;
      };
      const since = ids[2];
      const base = stack.base;
      const eventId = (item) => item.id;
      const lineId = (item) => item.value?.id;
      assert.deepEqual(await upTo(openEvents, `${base}/events?channel=${channel}`, { "Last-Event-ID": since }, eventId), rest);
      assert.deepEqual(await upTo(openEvents, `${base}/events?channel=${channel}&since=${since}`, {}, eventId), rest);
      assert.deepEqual(await upTo(openEvents, `${base}/events?channel=${channel}&since=earliest`, { "Last-Event-ID": since }, eventId), rest, "the header counts more");
      assert.deepEqual(await upTo(openLines, `${base}/data?mode=stream&channel=${channel}&since=${since}`, {}, lineId), rest);
      for (const mode of ["poll", "longpoll"]) {
        const batch = (await ask(`${base}/data?mode=${mode}&channel=${channel}&since=${since}`)).json();
        assert.deepEqual(batch.messages.map((message) => message.id), rest, mode);
        assert.equal(batch.gap, false);
      }
      const rawOne = await ask(`${base}/data?format=raw&channel=${channel}`, { headers: { "If-None-Match": `W/"${since}"` } });
      assert.equal(rawOne.headers.etag.replace(/^W\//, ""), `"${rest[0]}"`);
      const socket = io(base, { transports: ["websocket"], reconnection: false, forceNew: true });
      const got = [];
      socket.on("message", (_, meta) => got.push(meta.id));
      await soon("connect", new Promise((resolve, reject) => socket.on("connect", resolve).on("connect_error", reject)));
      const acked = await socket.timeout(5_000).emitWithAck("subscribe", { channels: [channel], since });
      assert.equal(acked.ok, true, JSON.stringify(acked));
      await until("the rest over Socket.IO", () => got.length >= rest.length);
      assert.deepEqual(got, rest);
      socket.close();
    });

    test("publishing requires a valid token", async () => {
      const post = (headers) => ask(`${stack.base}/events?channel=public.closed`, { method: "POST", headers: { "Content-Type": "text/plain", ...headers }, body: "x" });
      const none = await post({});
      assert.equal(none.status, 401);
      assert.match(none.headers["www-authenticate"], /^Bearer/);
      assert.equal((await post({ Authorization: `Bearer ${token({}, { secret: "another-secret-0123456789abcdef-0123456789" })}` })).status, 401);
      assert.equal((await post({ Authorization: `Bearer ${token({ exp: 1_000_000_000 })}` })).status, 401);
      assert.equal((await post({ Authorization: `Bearer ${token({ trident: { publish: ["news*"] } })}` })).status, 403);
      assert.equal((await post(bearer())).status, 201);
    });

    test("a repeated Idempotency-Key stores nothing", async () => {
      const post = () => ask(`${stack.base}/data?channel=public.idem`, {
        method: "POST",
        headers: { "Content-Type": "application/json", "Idempotency-Key": "the-same", ...bearer() },
        body: "1",
      });
      const [first, second] = [await post(), await post()];
      assert.deepEqual([first.status, second.status], [201, 201]);
      assert.equal(second.json().id, first.json().id);
      const held = (await ask(`${stack.base}/data?channel=public.idem&mode=poll&since=earliest`)).json();
      assert.equal(held.messages.length, 1);
    });
  });
}
