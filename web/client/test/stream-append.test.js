// What a Stream sends, to a server of a few lines.

import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { Stream, TridentError } from "../dist/index.js";
import { json, refuse, serve, until } from "./server.js";

let running;
afterEach(() => running?.close());

const stored = (response, status = 200) => response.writeHead(status, { "Stream-Next-Offset": "7_0" }).end();

/** A server that answers appends with these in turn, the last of them again and again; and what it was sent. */
async function answers(...all) {
  const bodies = [];
  running = await serve((request, response) => {
    const chunks = [];
    request.on("data", (chunk) => chunks.push(chunk));
    request.on("end", () => {
      bodies.push(Buffer.concat(chunks).toString());
      const answer = all.length > 1 ? all.shift() : all[0];
      answer(response, request);
    });
  });
  return { ...running, bodies };
}

const numbers = ({ asked }) => asked.map(({ headers }) => headers["producer-seq"]);

test("small appends are gathered, in order, and numbered", async () => {
  const server = await answers((response) => setTimeout(stored, 20, response));
  const stream = new Stream("a b/ü", { url: server.url, token: "t", linger: 60_000 });
  for (let n = 0; n < 100; n += 1) await stream.append({ n });
  assert.equal(await stream.flush(), "7_0");
  await stream.append("last");
  await stream.flush();
  assert.deepEqual(server.bodies.flatMap((body) => JSON.parse(body)), [...Array.from({ length: 100 }, (_, n) => ({ n })), "last"]);
  assert.equal(server.asked.length, 2);
  const [{ method, path, headers }] = server.asked;
  assert.deepEqual([method, path, headers.authorization], ["POST", "/streams/a%20b/%C3%BC", "Bearer t"]);
  assert.deepEqual([headers["content-type"], headers["producer-epoch"]], ["application/json", "0"]);
  assert.match(headers["producer-id"], /^[0-9a-f]{32}$/);
  assert.deepEqual(numbers(server), ["0", "1"]);
});

test("appends wait for 40 ms, unless there are 4 KiB", async () => {
  const server = await answers((response) => stored(response));
  const stream = new Stream("s", { url: server.url });
  const began = performance.now();
  await stream.append(1);
  await until("sent", () => server.asked.length === 1);
  const waited = performance.now() - began;
  assert.ok(waited >= 35 && waited < 5_000, `${waited} ms`);
  const patient = new Stream("s", { url: server.url, linger: 60_000 });
  await patient.append("x".repeat(4_000));
  await patient.append("y".repeat(100));
  await until("sent", () => server.asked.length === 2);
  assert.equal(JSON.parse(server.bodies[1]).length, 2);
});

test("appends during a request go with the next one, one request at a time", async () => {
  const waiting = [];
  const server = await answers((response) => waiting.push(response));
  const stream = new Stream("s", { url: server.url, linger: 0 });
  await stream.append(0);
  await until("a request", () => waiting.length === 1);
  for (let n = 1; n < 20; n += 1) {
    await stream.append(n);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  assert.equal(waiting.length, 1);
  stored(waiting[0]);
  await until("the next", () => waiting.length === 2);
  stored(waiting[1]);
  await stream.flush();
  assert.deepEqual(server.bodies.map((body) => JSON.parse(body)), [[0], Array.from({ length: 19 }, (_, n) => n + 1)]);
});

test("a request whose answer is lost is sent again under its number", async () => {
  const busy = (response) => json(response, 503, { error: { code: "streams_full", message: "full" } }, { "Retry-After": "0" });
  const server = await answers((response) => stored(response), (response) => response.destroy(), busy, (response) => stored(response, 204));
  const stream = new Stream("s", { url: server.url });
  await stream.append("a");
  await stream.flush();
  await stream.append("b");
  await stream.flush();
  assert.deepEqual(server.bodies, ['["a"]', '["b"]', '["b"]', '["b"]']);
  assert.deepEqual(numbers(server), ["0", "1", "1", "1"]);
  assert.equal(new Set(server.asked.map(({ headers }) => headers["producer-id"])).size, 1);
});

test("after a rejection nothing more is sent, and every call reports it", async () => {
  const server = await answers((response) => refuse(response, 409, "stream_closed"));
  const stream = new Stream("s", { url: server.url });
  await stream.append(1);
  const isWhy = (error) => error instanceof TridentError && error.code === "stream_closed" && error.why === "refused" && error.status === 409;
  await assert.rejects(stream.flush(), isWhy);
  await assert.rejects(stream.append(2), isWhy);
  await assert.rejects(stream.close(), isWhy);
  assert.deepEqual(server.bodies, ["[1]"]);
});

test("append waits while too many bytes are unacknowledged", async () => {
  const waiting = [];
  const server = await answers((response) => waiting.push(response));
  const stream = new Stream("s", { url: server.url, buffer: 10_000 });
  await stream.append("x".repeat(5_000));
  let isTaken = false;
  const appended = stream.append("y".repeat(6_000)).then(() => (isTaken = true));
  await until("one request", () => waiting.length === 1);
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(isTaken, false);
  stored(waiting[0]);
  await appended;
  await until("the other", () => waiting.length === 2);
  stored(waiting[1]);
  await stream.flush();
});

test("closing sends the rest and the end in one request, once", async () => {
  const server = await answers((response) => response.destroy(), (response) => stored(response));
  const stream = new Stream("s", { url: server.url });
  await stream.append(1);
  const closing = stream.close();
  assert.equal(stream.close(), closing);
  assert.equal(await closing, "7_0");
  assert.deepEqual(server.bodies, ["[1]", "[1]"]);
  assert.deepEqual(server.asked.map(({ headers }) => [headers["stream-closed"], headers["producer-seq"]]), [["true", "0"], ["true", "0"]]);
  await assert.rejects(stream.append(2), TypeError);
});

test("an empty close has no body, and a number of its own", async () => {
  const server = await answers((response) => stored(response));
  const stream = new Stream("s", { url: server.url });
  await stream.append(1);
  await stream.flush();
  await stream.close();
  assert.deepEqual([server.bodies, numbers(server)], [["[1]", ""], ["0", "1"]]);
});

test("an array is one message, and JSON has no undefined", async () => {
  const server = await answers((response) => stored(response));
  const stream = new Stream("s", { url: server.url });
  await stream.append([1, 2]);
  await assert.rejects(stream.append(undefined), /JSON has no such value/);
  await stream.append(null);
  await stream.flush();
  assert.deepEqual(server.bodies, ["[[1,2],null]"]);
});

test("texts and bytes: halves of a character are joined", async () => {
  const server = await answers((response) => stored(response));
  const stream = new Stream("s", { url: server.url, contentType: "text/plain" });
  await stream.append("a\ud83d");
  await stream.flush();
  await stream.append("\ude00");
  await stream.append("");
  await stream.append(Uint8Array.of(0x62));
  await assert.rejects(stream.append({}), /texts and Uint8Arrays/);
  await stream.flush();
  await stream.append("c\ud83d");
  await stream.close();
  assert.deepEqual(server.bodies, ["a", "😀b", "c\ufffd"]);
});

test("a producer fences off the previous one, and does not reuse its sequence numbers", async () => {
  const server = await answers((response) => stored(response, 204));
  const producer = { id: "worker", epoch: 3 };
  const stream = new Stream("s", { url: server.url, producer });
  await stream.append(1);
  await assert.rejects(stream.flush(), { code: "epoch_reused" });
  assert.deepEqual([server.asked[0].headers["producer-id"], server.asked[0].headers["producer-epoch"]], ["worker", "3"]);
});

for (const [attempts, first] of [[1, []], [2, [(response) => response.writeHead(503, { "Retry-After": "0" }).end()]]]) {
  test(`sequence numbers of another writer are noticed at attempt ${attempts}, also when closing`, async () => {
    const repeated = (response) => response.writeHead(204, { "Stream-Next-Offset": "7_0", "Producer-Seq": "40" }).end();
    const server = await answers(...first, repeated);
    const stream = new Stream("s", { url: server.url, producer: { id: "worker", epoch: 3 } });
    await assert.rejects(stream.close(), { code: "epoch_reused", status: 204 });
    assert.equal(server.asked.length, attempts);
  });
}

test("many messages become requests of 500 at most", async () => {
  const server = await answers((response) => stored(response));
  const stream = new Stream("s", { url: server.url, linger: 60_000 });
  const all = Array.from({ length: 1_200 }, (_, n) => n);
  for (const n of all) void stream.append(n);
  await stream.close();
  const batches = server.bodies.map((body) => JSON.parse(body));
  assert.ok(batches.every(({ length }) => length <= 500), `${batches.map(({ length }) => length)}`);
  assert.deepEqual(batches.flat(), all);
});

for (const how of ["flush", "close"]) {
  test(`a request of too many messages is sent in halves: ${how}`, async () => {
    const kept = [];
    const server = await answers((response, { headers }) => {
      const messages = JSON.parse(server.bodies.at(-1) || "[]");
      if (messages.length > 20) return refuse(response, 413, "batch_too_large");
      kept.push([headers["producer-seq"], ...messages]);
      stored(response);
    });
    const stream = new Stream("s", { url: server.url, linger: 60_000 });
    const all = Array.from({ length: 100 }, (_, n) => n);
    for (const n of all) void stream.append(n);
    await stream[how]();
    assert.deepEqual(kept.flatMap(([, ...messages]) => messages), all);
    assert.deepEqual(kept.map(([number]) => number), kept.map((_, n) => String(n)));
    const ends = server.asked.map(({ headers }, n) => headers["stream-closed"] === "true" && server.bodies[n]);
    assert.equal(ends.at(-1) !== false, how === "close");
  });
}

test("one message that is too large fails", async () => {
  const server = await answers((response) => refuse(response, 413, "batch_too_large"));
  const stream = new Stream("s", { url: server.url });
  void stream.append(1);
  await assert.rejects(stream.flush(), { code: "batch_too_large" });
  assert.equal(server.asked.length, 1);
});

test("a proxy's error page is not an acknowledgement", async () => {
  const portal = (response) => response.writeHead(200, { "Content-Type": "text/html" }).end("<h1>welcome to the hotel</h1>");
  const rollout = (response) => response.writeHead(404, { "Content-Type": "text/html" }).end("no backend");
  const server = await answers(portal, rollout, (response) => stored(response), portal, (response) => stored(response, 201), portal, (response) => response.writeHead(204).end());
  const stream = new Stream("s", { url: server.url });
  await stream.append(1);
  assert.equal(await stream.close(), "7_0");
  assert.deepEqual([server.bodies, numbers(server)], [["[1]", "[1]", "[1]"], ["0", "0", "0"]]);
  assert.equal(await stream.create(), true);
  assert.equal(await stream.delete(), true);
  assert.equal(server.asked.length, 7);
});

test("a proxy's error page to every attempt is an error", async () => {
  const server = await answers((response) => response.writeHead(200, { "Content-Type": "text/html" }).end("<h1>log in</h1>"));
  const stream = new Stream("s", { url: server.url, attempts: 2 });
  await stream.append(1);
  await assert.rejects(stream.close(), { why: "blocked", status: 200 });
  await assert.rejects(stream.head(), { why: "blocked" });
});

test("a signal ends the waiting for a token", async () => {
  await answers((response) => stored(response));
  const stop = new AbortController();
  const stream = new Stream("s", { url: running.url, signal: stop.signal, token: () => new Promise(() => {}) });
  await stream.append(1);
  setTimeout(() => stop.abort(new Error("enough")), 50);
  await assert.rejects(stream.flush(), /enough/);
  await assert.rejects(stream.read().next(), /enough/);
});

test("a signal ends the waiting", async () => {
  await answers((response) => response.destroy());
  const stop = new AbortController();
  const stream = new Stream("s", { url: running.url, signal: stop.signal });
  await stream.append(1);
  await until("tried", () => running.asked.length > 0);
  stop.abort(new Error("enough"));
  await assert.rejects(stream.flush(), /enough/);
});

test("create, head and delete", async () => {
  const server = await answers(
    (response) => response.destroy(),
    (response) => stored(response, 201),
    (response) => stored(response),
    (response) => refuse(response, 409, "stream_exists"),
    (response) => response.writeHead(200, { "Content-Type": "text/plain", "Stream-Next-Offset": "9_0", "Stream-Closed": "true", "Stream-TTL": "60" }).end(),
    (response) => response.writeHead(404).end(),
    (response) => response.destroy(),
    (response) => refuse(response, 404, "stream_not_found"),
    (response) => response.writeHead(204).end(),
  );
  const stream = new Stream("s", { url: server.url, contentType: "text/plain" });
  assert.equal(await stream.create({ ttl: 60, isClosed: true }), true);
  assert.equal(await stream.create({ expiresAt: new Date(0) }), false);
  await assert.rejects(stream.create(), { code: "stream_exists" });
  assert.deepEqual(await stream.head(), { contentType: "text/plain", offset: "9_0", isClosed: true, ttl: 60, expiresAt: undefined });
  await assert.rejects(stream.head(), { code: "stream_not_found", status: 404 });
  assert.equal(await stream.delete(), false, "the first answer was lost");
  assert.equal(await stream.delete(), true);
  const [, { headers: first }, { headers: second }] = server.asked;
  assert.deepEqual([first["stream-ttl"], first["stream-closed"], first["content-type"]], ["60", "true", "text/plain"]);
  assert.equal(second["stream-expires-at"], "1970-01-01T00:00:00.000Z");
});

test("the path of streams and the prefix of the server", () => {
  assert.equal(new Stream("a", { url: "https://h/push/", path: "/v1/stream" }).url, "https://h/push/v1/stream/a");
  assert.throws(() => new Stream("a"), TypeError);
});
