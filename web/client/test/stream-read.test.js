// What a Stream reads, from a server of a few lines.

import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { Stream } from "../dist/index.js";
import { json, refuse, serve, until } from "./server.js";

let running;
afterEach(() => running?.close());

const TIMING = { open: 2_000, silence: 2_500, backoff: 20, backoffMost: 50, avoid: 60_000 };
const JSON_TYPE = { "Content-Type": "application/json" };
const UP_TO_DATE = { "Stream-Up-To-Date": "true" };
const CLOSED = { ...UP_TO_DATE, "Stream-Closed": "true" };

/** A server that answers reads with these in turn, the last of them again and again. */
async function answers(...all) {
  running = await serve((request, response, url) => (all.length > 1 ? all.shift() : all[0])(response, url, request));
  return running;
}

const part = (body, offset, headers = {}) => (response) => response.writeHead(200, { ...JSON_TYPE, "Stream-Next-Offset": offset, ...headers }).end(body);
const control = (offset, more = {}) => `event: control\ndata:${JSON.stringify({ streamNextOffset: offset, ...more })}\n\n`;
const data = (text) => `event: data\ndata:${text}\n\n`;
const live = (text, isEnd = true) => (response) => {
  response.writeHead(200, { "Content-Type": "text/event-stream" }).write(text);
  if (isEnd) response.end();
};

async function all(stream, options) {
  const chunks = [];
  for await (const { items, offset, isUpToDate } of stream.read(options)) chunks.push([items, offset, isUpToDate]);
  return chunks;
}

const queries = () => running.asked.map(({ query }) => Object.fromEntries(query));

test("existing messages arrive in as few requests as possible, then the tail, to the end", async () => {
  await answers(
    part("[1,2]", "2"),
    part("[3]", "3", UP_TO_DATE),
    live(control("3", { upToDate: true, streamCursor: "77" }) + data("[4,\ndata:5]") + control("5", { upToDate: true }) + data("[6]") + control("6", { streamClosed: true, upToDate: true }), false),
  );
  const stream = new Stream("s", { url: running.url, timing: TIMING });
  assert.deepEqual(await all(stream), [[[1, 2], "2", false], [[3], "3", true], [[4, 5], "5", true], [[6], "6", true]]);
  assert.deepEqual(queries(), [{ offset: "-1" }, { offset: "2" }, { offset: "3", live: "sse" }]);
});

test("without live it ends after the existing messages", async () => {
  await answers(part("[1]", "1", UP_TO_DATE));
  assert.deepEqual(await all(new Stream("s", { url: running.url }), { offset: "0-0", live: false }), [[[1], "1", true]]);
  assert.deepEqual(queries(), [{ offset: "0-0" }]);
});

test("an event stream that breaks is continued after its last offset, and nothing comes twice", async () => {
  await answers(
    part("[]", "0", UP_TO_DATE),
    (response) => {
      live(control("0") + data("[1]") + control("1") + data("[2]"), false)(response);
      setTimeout(() => response.destroy(), 50);
    },
    part("[2]", "2", UP_TO_DATE),
    live(control("2", { streamCursor: "9", upToDate: true })),
    live(data("[3]") + control("3", { streamClosed: true, upToDate: true })),
  );
  const chunks = await all(new Stream("s", { url: running.url, timing: TIMING }));
  assert.deepEqual(chunks.flatMap(([items]) => items), [1, 2, 3]);
  assert.deepEqual(queries().at(-1), { offset: "2", live: "sse", cursor: "9" });
});

for (const [what, spoil] of [
  ["holds event streams back", () => {}],
  ["refuses event streams", (response) => response.writeHead(403, { "Content-Type": "text/html" }).end("<h1>no</h1>")],
  ["ends event streams", (response) => response.writeHead(200, { "Content-Type": "text/event-stream" }).end()],
]) {
  test(`a proxy that ${what}: long polls`, async () => {
    await answers(part("[1]", "1", UP_TO_DATE), spoil, part("[2]", "2", { ...UP_TO_DATE, "Stream-Cursor": "5" }), part("", "2", CLOSED));
    const chunks = await all(new Stream("s", { url: running.url, timing: { ...TIMING, open: 300 } }));
    assert.deepEqual(chunks.flatMap(([items]) => items), [1, 2]);
    assert.deepEqual(queries().slice(2), [{ offset: "1", live: "long-poll", timeout: "1" }, { offset: "2", live: "long-poll", timeout: "1", cursor: "5" }]);
  });
}

test("texts are read by long polls, which keep line ends; a split character is joined", async () => {
  const text = (bytes, offset, headers = {}) => part(Buffer.from(bytes), offset, { "Content-Type": "text/plain", ...headers });
  await answers(text("a\r\n", "1", UP_TO_DATE), text([0x62, 0xe2, 0x82], "2", UP_TO_DATE), text([0xac], "3", UP_TO_DATE), text([0xf0, 0x9f], "4", CLOSED));
  assert.deepEqual(await all(new Stream("s", { url: running.url, timing: TIMING })), [[["a\r\n"], "1", true], [["b€"], "3", true], [["\ufffd"], "4", true]]);
  assert.deepEqual(queries().map(({ live, offset }) => [live, offset]), [[undefined, "-1"], ["long-poll", "1"], ["long-poll", "2"], ["long-poll", "3"]]);
});

test("a long text that is split within a character is joined, too", async () => {
  const text = (bytes, offset, headers = {}) => part(Buffer.from(bytes), offset, { "Content-Type": "text/plain", ...headers });
  const long = Buffer.alloc(70_000, "x");
  await answers(text(Buffer.concat([long, Buffer.of(0xe2, 0x82)]), "1", UP_TO_DATE), text([0xac], "2", CLOSED));
  assert.deepEqual(await all(new Stream("s", { url: running.url, timing: TIMING })), [[[`${long}€`], "2", true]]);
});

test("bytes stay bytes", async () => {
  await answers(part(Buffer.from([0, 255]), "1", { ...CLOSED, "Content-Type": "application/octet-stream" }));
  assert.deepEqual(await all(new Stream("s", { url: running.url })), [[[Uint8Array.of(0, 255)], "1", true]]);
});

test("an empty long poll is repeated, and delayed if it was answered at once", async () => {
  const none = (response) => response.writeHead(204, { "Stream-Next-Offset": "1", ...UP_TO_DATE }).end();
  await answers(part("x", "1", { ...UP_TO_DATE, "Content-Type": "text/plain" }), none, none, none, none, (response) => response.writeHead(204, { "Stream-Next-Offset": "1", ...CLOSED }).end());
  const began = performance.now();
  assert.equal((await all(new Stream("s", { url: running.url, timing: { ...TIMING, backoff: 200, backoffMost: 200 } }))).length, 1);
  assert.ok(performance.now() - began >= 390, "four waits of 100 ms or more");
});

for (const [status, code] of [[404, "stream_not_found"], [410, "offset_gone"], [403, "insufficient_scope"], [400, "bad_offset"]]) {
  test(`${status} ${code} ends the loop`, async () => {
    await answers(part("[1]", "1", UP_TO_DATE), (response) => refuse(response, status, code));
    const seen = [];
    await assert.rejects(async () => {
      for await (const { items } of new Stream("s", { url: running.url, timing: TIMING }).read()) seen.push(...items);
    }, { why: "refused", status, code });
    assert.deepEqual([seen, running.asked.length], [[1], 2]);
  });
}

test("failures are retried without limit, from the same offset", async () => {
  const failures = Array.from({ length: 8 }, (_, n) => (n % 2 ? (response) => response.destroy() : (response) => response.writeHead(502).end("bad gateway")));
  await answers(...failures, part("[1]", "1", CLOSED));
  assert.deepEqual(await all(new Stream("s", { url: running.url, timing: TIMING })), [[[1], "1", true]]);
  assert.equal(running.asked.length, 9);
});

test("an incomplete answer is discarded", async () => {
  await answers((response) => {
    response.writeHead(200, { ...JSON_TYPE, "Stream-Next-Offset": "1", ...CLOSED }).write("[1");
    setTimeout(() => response.destroy(), 20);
  }, part("[1]", "1", CLOSED));
  assert.deepEqual(await all(new Stream("s", { url: running.url, timing: TIMING })), [[[1], "1", true]]);
});

test("a proxy's error page is not read as the stream", async () => {
  await answers((response) => response.writeHead(200, { "Content-Type": "text/html" }).end("<h1>welcome to the hotel</h1>"), part("[1]", "1", CLOSED));
  assert.deepEqual(await all(new Stream("s", { url: running.url, timing: TIMING })), [[[1], "1", true]]);
});

test("a rejected token is replaced once in a row", async () => {
  await answers(part("[1]", "1"), (response) => refuse(response, 401, "bad_token"), part("[2]", "2"), (response) => refuse(response, 401, "bad_token"));
  const told = [];
  const token = (isRefused) => told.push(isRefused) && `t${told.length}`;
  await assert.rejects(all(new Stream("s", { url: running.url, token, timing: TIMING })), { code: "bad_token" });
  assert.deepEqual(told, [false, false, true, false, true]);
  assert.equal(running.asked[2].headers.authorization, "Bearer t3");
});

test("a token that was accepted has not been rejected, though its answer brought nothing", async () => {
  await answers(
    part("[1]", "1", UP_TO_DATE),
    (response) => refuse(response, 401, "bad_token"),
    (response) => {
      live(control("1", { upToDate: true }), false)(response);
      setTimeout(() => response.destroy(), 20);
    },
    (response) => refuse(response, 401, "bad_token"),
    live(data("[2]") + control("2", { streamClosed: true, upToDate: true })),
  );
  const told = [];
  const chunks = await all(new Stream("s", { url: running.url, token: (isRefused) => told.push(isRefused) && "t", timing: TIMING }));
  assert.deepEqual(chunks.flatMap(([items]) => items), [1, 2]);
  assert.deepEqual(told, [false, false, true, false, true]);
});

test("readers reconnect at different times after Retry-After, and after the end of an event stream", async (t) => {
  t.mock.method(Math, "random", () => 0.5);
  const times = [];
  const answer = (write) => (response) => {
    times.push(performance.now());
    write(response);
  };
  const busy = (response) => json(response, 503, { error: { code: "draining", message: "shutting down" } }, { "Retry-After": "1" });
  await answers(part("[1]", "1", UP_TO_DATE), answer(live(control("1", { upToDate: true }))), answer(busy), answer(part("[2]", "2", CLOSED)));
  assert.equal((await all(new Stream("s", { url: running.url, timing: TIMING }))).length, 2);
  const [afterEnd, afterBusy] = [times[1] - times[0], times[2] - times[1]];
  assert.ok(afterEnd >= 300, `${afterEnd} ms`);
  assert.ok(afterBusy >= 1_240, `${afterBusy} ms`);
});

/** Events of a page, which Node does not have. */
function page(t) {
  const target = new EventTarget();
  for (const name of ["addEventListener", "removeEventListener"]) globalThis[name] = target[name].bind(target);
  t.after(() => {
    delete globalThis.addEventListener;
    delete globalThis.removeEventListener;
  });
  return (type) => target.dispatchEvent(new Event(type));
}

test("a page that was just loaded is shown: its first request continues", async (t) => {
  const happens = page(t);
  await answers((response) => setTimeout(() => part("[1]", "1", CLOSED)(response), 50));
  const read = all(new Stream("s", { url: running.url, timing: TIMING }));
  await until("asked", () => running.asked.length === 1);
  happens("pageshow");
  assert.equal((await read).length, 1);
  assert.equal(running.asked.length, 1);
});

test("a clock that is set back does not prolong Retry-After", async (t) => {
  const now = Date.now;
  t.after(() => (Date.now = now));
  const busy = (response) => {
    json(response, 503, { error: { code: "draining", message: "shutting down" } }, { "Retry-After": "1" });
    setTimeout(() => (Date.now = () => now() - 3_600_000), 300);
  };
  await answers(busy, part("[1]", "1", CLOSED));
  assert.deepEqual(await all(new Stream("s", { url: running.url, timing: TIMING })), [[[1], "1", true]]);
});

test("the network's return and a page that is shown again do not shorten Retry-After", async (t) => {
  const happens = page(t);
  t.mock.method(Math, "random", () => 0);
  const busy = (response) => json(response, 503, { error: { code: "draining", message: "shutting down" } }, { "Retry-After": "1" });
  await answers(busy, part("[1]", "1", CLOSED));
  const began = performance.now();
  const read = all(new Stream("s", { url: running.url, timing: TIMING }));
  await until("asked", () => running.asked.length === 1);
  await new Promise((resolve) => setTimeout(resolve, 50));
  for (const type of ["online", "pagehide", "online", "pageshow"]) happens(type);
  assert.equal((await read).length, 1);
  assert.ok(performance.now() - began >= 990, "not before the time that the server asked for");
});

test("leaving the loop ends the request", async () => {
  let isClosed = false;
  await answers(part("[]", "0", UP_TO_DATE), (response) => {
    live(control("0") + data("[1]") + control("1"), false)(response);
    response.on("close", () => (isClosed = true));
  });
  for await (const { items } of new Stream("s", { url: running.url, timing: TIMING }).read()) if (items[0] === 1) break;
  await until("the request ends", () => isClosed);
});

test("a signal ends the loop with its reason, whatever it waits for", async () => {
  await answers(part("[]", "0", UP_TO_DATE), live(control("0"), false));
  for (const within of [0, 100]) {
    const stop = new AbortController();
    setTimeout(() => stop.abort(new Error("enough")), within);
    await assert.rejects(all(new Stream("s", { url: running.url, timing: TIMING }), { signal: stop.signal }), /enough/);
  }
  await assert.rejects(all(new Stream("s", { url: running.url, signal: AbortSignal.abort(new Error("before")) })), /before/);
});

test("messages that the loop does not request stay on the server", async () => {
  let sent = 0;
  await answers(part("[]", "0", UP_TO_DATE), (response) => {
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    const more = () => {
      while (!response.destroyed && sent < 400 && response.write(data(JSON.stringify(["x".repeat(65_536)])) + control(`${(sent += 1)}`)));
      if (sent < 400) response.once("drain", more);
    };
    more();
  });
  const reader = new Stream("s", { url: running.url, timing: TIMING }).read();
  await reader.next();
  await new Promise((resolve) => setTimeout(resolve, 500));
  assert.ok(sent < 200, `${sent} of 400 were sent to a reader that has asked for one`);
  await reader.return();
});

test("silence is noticed", async () => {
  await answers(part("[]", "0", UP_TO_DATE), live(control("0", { upToDate: true }), false), live(data("[1]") + control("1", { streamClosed: true })));
  const began = performance.now();
  assert.deepEqual(await all(new Stream("s", { url: running.url, timing: { ...TIMING, silence: 400 } })), [[[1], "1", false]]);
  assert.ok(performance.now() - began >= 390);
});
