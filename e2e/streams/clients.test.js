// One JSON stream, read by the official client of Durable Streams and by Socket.IO's: they agree on every message, every cursor and the end.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { DurableStream, IdempotentProducer, stream } from "@durable-streams/client";
import { io } from "socket.io-client";
import { ask, openEvents, publish } from "../lib/http.js";
import { startService } from "../lib/stack.js";
import { bearer, token } from "../lib/token.js";
import { soon, until } from "../lib/wait.js";

let server;
const open = [];
before(async () => {
  server = await startService("standalone", { TRIDENT_DEMO: "off" });
});
after(async () => {
  for (const one of open) one.close();
  await server?.stop();
});

/** The offset of a cursor, and the other way round (PROTOCOL.md, Offsets). */
const offsetOf = (cursor) => cursor.split("-").map((part, n) => part.padStart(n ? 20 : 16, "0")).join("_");
const cursorOf = (offset) => offset.split("_").map(BigInt).join("-");

/** A Socket.IO client that reads the channel: its messages with their ids, and the end. */
async function socketReader(channel, since) {
  const socket = io(server.base, { auth: { token: token() }, transports: ["websocket"], forceNew: true });
  const seen = { messages: [], end: undefined };
  socket.on("message", (data, { id }) => seen.messages.push({ id, data }));
  socket.on("end", (end) => (seen.end = end));
  open.push(socket);
  const acked = await socket.timeout(5_000).emitWithAck("subscribe", { channels: [channel], since });
  assert.ok(acked.ok, JSON.stringify(acked));
  return seen;
}

/** The official client from an offset: its batches, and whether the stream is closed. */
async function streamReader(url, live, offset = "-1") {
  const response = await stream({ url, live, offset, headers: bearer() });
  const seen = { batches: [], isClosed: false, items: () => seen.batches.flatMap(({ items }) => items) };
  response.subscribeJson(async ({ items, offset, streamClosed }) => {
    seen.batches.push({ items, offset });
    seen.isClosed ||= streamClosed;
  });
  open.push({ close: () => response.cancel() });
  return seen;
}

test("both clients read what either has written, from any offset to the end", async () => {
  const channel = "agree/1";
  const url = `${server.base}/streams/${channel}`;
  const handle = await DurableStream.create({ url, contentType: "application/json", headers: bearer() });
  const producer = new IdempotentProducer(handle, "producer", { autoClaim: true, onError: (error) => assert.fail(error) });
  const socket = await socketReader(channel, "earliest");
  const readers = [await streamReader(url, "sse"), await streamReader(url, "long-poll")];
  for (let n = 0; n < 100; n += 1) {
    producer.append(JSON.stringify({ n, by: "producer" }));
    if (n % 10 === 9) {
      await producer.flush();
      await publish(server.base, channel, { n, by: "publisher" });
    }
  }
  await until("all of them", () => [socket.messages, ...readers.map((reader) => reader.items())].every(({ length }) => length === 110));
  const data = socket.messages.map(({ data }) => data);
  assert.deepEqual(data.filter(({ by }) => by === "producer").map(({ n }) => n), Array.from({ length: 100 }, (_, n) => n));
  for (const reader of readers) {
    assert.deepEqual(reader.items(), data);
    let count = 0;
    for (const { items, offset } of reader.batches) {
      count += items.length;
      if (items.length > 0) assert.equal(offset, offsetOf(socket.messages[count - 1].id), "the offset of a batch is the id of its last message");
    }
  }

  // From a place that the other has reached.
  const { offset } = readers[1].batches.find(({ items }, at) => items.length > 0 && at > 0);
  const reached = socket.messages.findIndex(({ id }) => offsetOf(id) === offset);
  const later = await socketReader(channel, cursorOf(offset));
  await until("the rest", () => later.messages.length === 110 - reached - 1);
  assert.deepEqual(later.messages, socket.messages.slice(reached + 1));
  for (const place of [offsetOf(socket.messages[54].id), socket.messages[54].id]) {
    const rest = await (await stream({ url, offset: place, live: false, headers: bearer() })).json();
    assert.deepEqual(rest, data.slice(55));
  }

  const closed = await soon("closing", handle.close());
  await until("the end", () => [socket, later].every(({ end }) => end) && readers.every(({ isClosed }) => isClosed));
  const last = socket.messages.at(-1).id;
  assert.equal(closed.finalOffset, offsetOf(last));
  // The end has a position of its own, after the last message, from which both can resume.
  const { id, ...end } = socket.end;
  assert.deepEqual([end, later.end], [{ channel, reason: "closed" }, socket.end]);
  assert.ok(offsetOf(id) > offsetOf(last), `${id} is after ${last}`);
  const none = await stream({ url, offset: id, live: false, headers: bearer() });
  assert.deepEqual([await none.json(), none.streamClosed], [[], true]);
});

test("a stream that expires ends its readers, and is gone", async () => {
  const channel = "agree/expires";
  const url = `${server.base}/streams/${channel}`;
  const expires = new Date(Date.now() + 2_500).toISOString();
  const created = await ask(url, { method: "PUT", headers: { ...bearer(), "Content-Type": "application/json", "Stream-Expires-At": expires }, body: "[1]" });
  assert.equal(created.status, 201, created.body);
  const poll = ask(`${url}?offset=${created.headers["stream-next-offset"]}&live=long-poll&timeout=30`, { headers: bearer() });
  const [socket, events] = await Promise.all([socketReader(channel, "earliest"), openEvents(`${url}?offset=-1&live=sse`, bearer())]);
  await soon("the end of the event stream", events.closed);
  assert.deepEqual(events.items.map(({ event, data }) => (event === "data" ? data : JSON.parse(data).streamClosed)), ["[1]", undefined]);
  const answers = [await poll, await ask(url, { headers: bearer() }), await ask(`${url}?offset=-1&live=sse`, { headers: bearer() })];
  assert.deepEqual(answers.map(({ status, json }) => [status, json().error.code]), Array(3).fill([404, "stream_not_found"]));
  await until("the end", () => socket.end);
  const { id, ...end } = socket.end;
  assert.deepEqual(end, { channel, reason: "expired" });
  const late = await ask(`${server.base}/events?channel=${channel}&since=${id}`, { headers: bearer() });
  assert.deepEqual([late.status, late.headers["trident-end"]], [204, id]);
});
