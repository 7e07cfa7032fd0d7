// The connection as an application sees it, with servers that say what the test wants.

import assert from "node:assert/strict";
import { afterEach, describe, test } from "node:test";
import { takeBatch } from "../dist/batches.js";
import { connect, publish, TridentError } from "../dist/index.js";
import { event, json, refuse, serve, stream, until } from "./server.js";

const ends = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function server(answer) {
  const started = await serve(answer);
  ends.push(() => started.close());
  return started;
}

function open(url, options = {}) {
  const connection = connect({ url, channels: ["c"], transports: ["sse"], timing: { backoff: 10 }, ...options });
  ends.push(() => connection.close());
  return connection;
}

async function take(connection, count) {
  const taken = [];
  while (taken.length < count) taken.push((await connection.next()).value.data);
  return taken;
}

const numbers = (from, to) => Array.from({ length: to - from + 1 }, (_, at) => from + at);

describe("reading", () => {
  test("by `for await`, which closes the connection when the loop ends", async () => {
    const { url, asked } = await server((_, response) => {
      const send = stream(response);
      for (const n of numbers(2, 9)) send(n);
    });
    const connection = open(url);
    const read = [];
    for await (const message of connection) {
      read.push(message);
      assert.equal(connection.cursor, message.id);
      if (read.length === 3) break;
    }
    assert.deepEqual(read[0], { id: "2-0", channel: "c", event: "message", data: 2, time: 2 });
    assert.equal(connection.state.phase, "closed");
    assert.deepEqual(await connection.next(), { done: true, value: undefined });
    assert.equal(asked[0].query.get("format"), "message");
  });

  test("by a listener, from the first message, however late it is added", async () => {
    const { url } = await server((_, response) => [2, 3, 4].forEach(stream(response)));
    const connection = open(url);
    await until("open", () => connection.state.phase === "open");
    const read = [];
    const off = connection.on("message", (message) => read.push(message.data));
    await until("all", () => read.length === 3);
    off();
    assert.deepEqual(read, [2, 3, 4]);
  });

  for (const transport of ["sse", "stream", "longpoll"]) {
    test(`${transport}: \`for await\` is done when all channels have ended`, async () => {
      const message = (n) => ({ id: `${n}-0`, channel: n === 2 ? "c" : "d", event: "message", data: n, time: n });
      const end = (channel, n) => ({ channel, reason: "closed", id: `${n}-0` });
      const { url, asked } = await server((_, response, { pathname, searchParams }) => {
        if (transport === "longpoll") {
          const second = { cursor: "5-0", gap: false, messages: [message(4)], end: end("d", 5), closed: true };
          const first = { cursor: "3-0", gap: false, messages: [message(2)], end: end("c", 3) };
          return json(response, 200, searchParams.get("since") === "3-0" ? second : first);
        }
        if (pathname === "/events") {
          stream(response)(2);
          const write = (n, channel) => response.write(`event: end\nid: ${n}-0\ndata: ${JSON.stringify(end(channel, n))}\n\n`);
          write(3, "c");
          response.write(`id: 4-0\ndata: ${JSON.stringify(message(4))}\n\n`);
          return write(5, "d");
        }
        response.writeHead(200, { "Content-Type": "application/x-ndjson" });
        for (const line of [message(2), { end: end("c", 3) }, message(4), { end: end("d", 5) }]) response.write(`${JSON.stringify(line)}\n`);
      });
      const connection = open(url, { transports: [transport], channels: ["c", "d"] });
      const [read, ended] = [[], []];
      connection.on("end", ({ channel, reason, id }) => ended.push(`${channel} ${reason} ${id} after ${read.length}`));
      for await (const { data } of connection) read.push(data);
      assert.deepEqual(read, [2, 4]);
      assert.deepEqual(ended, ["c closed 3-0 after 1", "d closed 5-0 after 2"]);
      assert.deepEqual([connection.state.phase, connection.state.why, connection.cursor], ["closed", "finished", "5-0"]);
      assert.equal(asked.length, transport === "longpoll" ? 2 : 1);
    });
  }

  test("it ends at once for a cursor after the ends", async () => {
    const { url } = await server((_, response) => response.writeHead(204, { "Trident-End": "5-0" }).end());
    const connection = open(url, { since: "5-0" });
    assert.deepEqual(await connection.next(), { done: true, value: undefined });
    assert.equal(connection.state.why, "finished");
  });

  test("a gap is reported in its place, and moves the cursor", async () => {
    const { url } = await server((_, response) => {
      const send = stream(response);
      send(2);
      response.write('event: gap\nid: 7-0\ndata: {"requested":"2-0","resumed":"7-0"}\n\n');
      send(8);
    });
    const connection = open(url);
    const told = [];
    connection.on("gap", (gap) => told.push(`${gap.requested}→${gap.resumed} ${connection.cursor}`));
    await until("open", () => connection.state.phase === "open");
    assert.deepEqual(await take(connection, 1), [2]);
    assert.deepEqual(told, []);
    assert.deepEqual(await take(connection, 1), [8]);
    assert.deepEqual(told, ["2-0→7-0 7-0"]);
  });

  test("a listener that throws does not end the connection", async (t) => {
    const { url } = await server((_, response) => [2, 3].forEach(stream(response)));
    const connection = open(url);
    await until("open", () => connection.state.phase === "open");
    const thrown = [];
    const later = globalThis.queueMicrotask;
    t.mock.method(globalThis, "queueMicrotask", (what) => later(() => {
      try {
        what();
      } catch (error) {
        thrown.push(error.message);
      }
    }));
    const read = [];
    connection.on("message", ({ data }) => {
      read.push(data);
      if (data === 2) throw new Error("its own");
    });
    await until("both", () => read.length === 2);
    assert.deepEqual(thrown, ["its own"]);
  });

  test("a listener and a reader inside it each get all messages in order", async () => {
    const { url } = await server((_, response) => numbers(2, 9).forEach(stream(response)));
    const connection = open(url);
    const [heard, read] = [[], []];
    connection.on("message", ({ data }) => {
      heard.push(data);
      if (data < 9) void connection.next().then(({ value }) => read.push(value.data));
    });
    read.push(...(await take(connection, 1)));
    await until("all", () => read.length === 8);
    assert.deepEqual([heard, read.sort()], [numbers(2, 9), numbers(2, 9)]);
  });

  test("closing inside a listener ends the delivery at once", async () => {
    const { url } = await server((_, response) => numbers(2, 50).forEach(stream(response)));
    const connection = open(url);
    const states = [];
    connection.on("state", ({ phase }) => states.push(phase));
    connection.on("message", ({ data }) => data === 3 && connection.close());
    await until("closed", () => connection.state.phase === "closed");
    assert.equal(states.at(-1), "closed");
  });
});

describe("a client that does not read", () => {
  const SIZE = 4_000;
  const COUNT = 20_000;

  test("gets no data: the stream stops, and everything arrives once it is read", async () => {
    let written = 0;
    const { url } = await server((_, response) => {
      stream(response);
      const pump = () => {
        while (written < COUNT) {
          written += 1;
          if (!response.write(event(written + 1, { n: written, fill: "x".repeat(SIZE) }))) return response.once("drain", pump);
        }
      };
      pump();
    });
    const connection = open(url, { queue: 100 });
    let [before, still] = [-1, 0];
    await until("the server is stopped", () => {
      still = written === before ? still + 1 : 0;
      before = written;
      return still > 30;
    });
    assert.ok(written < COUNT / 2, `${written} of ${COUNT} messages went out unread`);
    for (let n = 1; n <= COUNT; n += 1) assert.equal((await connection.next()).value.data.n, n);
  });

  test("sends no long polls either", async () => {
    const { url, asked } = await server((_, response, { searchParams }) => {
      const since = Number((searchParams.get("since") ?? "1-0").split("-")[0]);
      const limit = Number(searchParams.get("limit"));
      const messages = numbers(since + 1, since + limit).map((n) => ({ id: `${n}-0`, channel: "c", event: "message", data: n, time: n }));
      json(response, 200, { cursor: `${since + limit}-0`, gap: false, messages });
    });
    const connection = open(url, { transports: ["longpoll"], queue: 50 });
    await until("full", () => asked.length > 0 && connection.state.phase === "open");
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.equal(asked.length, 1);
    assert.equal(connection.cursor, undefined, "nothing was given out, so there is nothing to go on after");
    assert.deepEqual(await take(connection, 500), numbers(2, 501));
    assert.ok(asked.length <= 12, `${asked.length} requests`);
  });
});

describe("the end", () => {
  for (const [status, code] of [[400, "bad_cursor"], [401, "token_needed"], [403, "insufficient_scope"]]) {
    test(`${status}: the reason is reported, and readers get it as an error`, async () => {
      const { url, asked } = await server((_, response) => refuse(response, status, code));
      const connection = open(url, { transports: ["sse", "longpoll"] });
      const closed = new Promise((resolve) => connection.on("closed", resolve));
      await assert.rejects(connection.next(), (error) => error instanceof TridentError && error.code === code && error.status === status);
      const { error, ...reason } = await closed;
      for (const told of [error, reason, connection.state]) assert.deepEqual([told.why, told.left, told.status, told.code], ["refused", "sse", status, code]);
      assert.deepEqual(await connection.next(), { done: true, value: undefined }, "once");
      assert.equal(asked.length, 1);
    });
  }

  test("204 to an event stream ends it for good", async () => {
    const { url, asked } = await server((_, response) => response.writeHead(204).end());
    const connection = open(url, { transports: ["sse", "longpoll"] });
    await assert.rejects(connection.next(), { why: "refused", status: 403, code: "disconnected" });
    assert.equal(asked.length, 1);
  });

  test("messages before the end are read first", async () => {
    const { url } = await server((_, response) => {
      if (!first) return refuse(response, 403, "insufficient_scope");
      first = false;
      [2, 3].forEach(stream(response));
      response.end();
    });
    let first = true;
    const connection = open(url);
    await until("closed", () => connection.state.phase === "closed");
    assert.deepEqual(await take(connection, 2), [2, 3]);
    await assert.rejects(connection.next(), TridentError);
  });

  test("a signal ends it and its pending reads", async () => {
    const { url } = await server((_, response) => void stream(response));
    const controller = new AbortController();
    const connection = open(url, { signal: controller.signal });
    const next = connection.next();
    await until("open", () => connection.state.phase === "open");
    controller.abort();
    assert.deepEqual(await next, { done: true, value: undefined });
    const late = open(url, { signal: controller.signal });
    assert.deepEqual(await late.next(), { done: true, value: undefined });
  });

  test("closed at once, it sends no request", async () => {
    const { url, asked } = await server((_, response) => void stream(response));
    const connection = open(url);
    connection.close();
    assert.deepEqual(await connection.next(), { done: true, value: undefined });
    assert.equal(asked.length, 0);
  });

  test("invalid options are reported at once", () => {
    const url = "http://127.0.0.1:9/";
    assert.throws(() => connect({ url, channels: [] }), TypeError);
    assert.throws(() => connect({ url, channels: ["c"], transports: ["websocket"] }), /websocket/);
    assert.throws(() => connect({ url, channels: ["c"], transports: [] }), TypeError);
  });

  test("case 13.10: outside of a page a missing `url` is reported", async () => {
    const missing = { name: "TypeError", message: 'outside of a page, `url` must be the address of the server, such as "https://push.example.org/"' };
    assert.throws(() => connect({ channels: ["c"] }), missing);
    assert.throws(() => connect({ url: "/push/", channels: ["c"] }), missing);
    await assert.rejects(publish({ channel: "c", data: 1 }), missing);
    assert.throws(() => connect({ url: "http://[", channels: ["c"] }), /`url` is not a valid URL/);
  });
});

test("a server that rejects the page's origin is not reported as unreachable: the error names the setting", async (t) => {
  const asked = [];
  t.mock.method(globalThis, "fetch", async (_, { mode }) => {
    asked.push(mode);
    if (mode !== "no-cors") throw new TypeError("Failed to fetch");
    return Response.error();
  });
  const connection = open("http://server.example/");
  const waiting = await new Promise((resolve) => connection.on("state", (state) => state.phase === "waiting" && resolve(state)));
  assert.deepEqual([waiting.why, waiting.code], ["unreachable", "bad_origin"]);
  assert.match(waiting.message, /TRIDENT_ORIGINS/);
  assert.deepEqual(asked.slice(0, 3), [undefined, undefined, "no-cors"]);
});

test("a token that cannot be had is reported as such: nothing is sent, and it is asked for once for each attempt", async (t) => {
  const fetched = t.mock.method(globalThis, "fetch", async () => Response.error());
  let calls = 0;
  const token = async () => {
    calls += 1;
    throw new Error("the login failed");
  };
  const connection = open("http://server.example/", { token });
  const told = [];
  connection.on("state", (state) => state.phase === "waiting" && told.push(state));
  await until("three attempts", () => told.length === 3);
  for (const { why, code, left, message } of told) assert.deepEqual([why, code, left, message], ["token", undefined, undefined, "Error: the login failed"]);
  assert.deepEqual([calls, fetched.mock.callCount()], [3, 0]);
});

test("a probe uses the token of its attempt", async () => {
  const { url, asked } = await server((_, response, { pathname }) => {
    if (pathname === "/data") return json(response, 200, { cursor: "1-0", gap: false, messages: [] });
    response.destroy();
  });
  let calls = 0;
  const connection = open(url, { token: async () => `t${(calls += 1)}` });
  await new Promise((resolve) => connection.on("state", ({ phase }) => phase === "waiting" && resolve()));
  connection.close();
  assert.deepEqual(asked.map(({ path, headers }) => [path, headers.authorization]), [["/events", "Bearer t1"], ["/data", "Bearer t1"]]);
  assert.equal(calls, 1);
});

test("an answer that cannot be read is not reported as a rejected origin", async (t) => {
  const asked = [];
  t.mock.method(globalThis, "fetch", async ({ pathname }, { method = "GET" }) => {
    asked.push(`${method} ${pathname}`);
    if (pathname === "/events") throw new TypeError("Failed to fetch");
    return new Response("{", { headers: { "Content-Type": "application/json" } });
  });
  const connection = open("http://server.example/");
  const waiting = await new Promise((resolve) => connection.on("state", (state) => state.phase === "waiting" && resolve(state)));
  assert.deepEqual([waiting.why, waiting.code, asked], ["network", undefined, ["GET /events", "GET /data"]]);
});

test("a probe that gets no answer is aborted, and keeps no connection of the browser", async (t) => {
  const { setTimeout } = globalThis;
  t.mock.method(globalThis, "setTimeout", (what, milliseconds) => setTimeout(what, milliseconds === 3_000 ? 50 : milliseconds));
  const signals = [];
  t.mock.method(globalThis, "fetch", (url, { signal }) => {
    if (new URL(url).pathname !== "/events") signals.push(signal);
    return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
  });
  const connection = open("http://server.example/", { timing: { open: 200, backoff: 10 } });
  await until("two probes", () => signals.length >= 2 && signals[0].aborted && signals[1].aborted);
  assert.notEqual(connection.state.phase, "closed");
});

test("a token is asked for before each connection, and once more when it is refused", async () => {
  const { url, asked } = await server((request, response) => {
    if (request.headers.authorization === "Bearer old") return refuse(response, 401, "bad_token");
    const send = stream(response);
    send(asked.length + 1);
    if (asked.length === 2) response.end();
  });
  const refused = [];
  const tokens = ["old", "new", "newer"];
  const connection = open(url, {
    token: async (isRefused) => {
      refused.push(isRefused);
      return tokens.shift();
    },
  });
  assert.deepEqual(await take(connection, 2), [3, 4]);
  assert.deepEqual(asked.map(({ headers }) => headers.authorization), ["Bearer old", "Bearer new", "Bearer newer"]);
  assert.deepEqual(refused, [false, true, false]);
});

test("a long poll that is answered with Retry-After is asked again after that time: the server shuts down", async () => {
  const { url, asked } = await server((_, response) => {
    const drains = asked.length > 1;
    json(response, 200, { cursor: "2-0", gap: false, messages: [] }, drains ? { "Retry-After": "2" } : {});
  });
  const connection = open(url, { transports: ["longpoll"] });
  const waiting = await new Promise((resolve) => connection.on("state", (state) => state.phase === "waiting" && resolve(state)));
  assert.deepEqual([waiting.why, waiting.retryIn >= 2_000, asked.length], ["ended", true, 2]);
});

test("an incomplete answer is aborted after the maximum silence", async () => {
  const { url } = await server((_, response) => {
    if (asked > 0) return json(response, 200, { cursor: "3-0", gap: false, messages: [] });
    asked += 1;
    response.writeHead(200, { "Content-Type": "application/json" });
    response.write('{"cursor":');
  });
  let asked = 0;
  const wanted = { base: new URL(url), channels: ["c"], credentials: "same-origin", silence: 100, room: 10 };
  const sink = { room: async () => {}, opened() {}, place() {}, heard() {} };
  await assert.rejects(takeBatch(wanted, "2-0", undefined, sink, new AbortController().signal), /no answer within 0\.1 s/);
  assert.equal((await takeBatch(wanted, "2-0", undefined, sink, new AbortController().signal)).cursor, "3-0");
});

test("the cursor is kept when the transport changes", async () => {
  const { url, asked } = await server((_, response, { pathname }) => {
    if (pathname === "/events") {
      if (asked.length > 1) return response.writeHead(403).end("<h1>no streams here</h1>");
      stream(response)(2);
      return response.end();
    }
    response.writeHead(200, { "Content-Type": "application/x-ndjson", ETag: 'W/"2-0"' });
    response.write('\n{"id":"3-0","channel":"c","event":"message","data":"时","time":3}\n{"gap":{"requested":"3-0","resumed":"5-0"}}\n{"id":"6-0","channel":"c","ev');
    setTimeout(() => response.write('ent":"message","data":6,"time":6}\n\n'), 20);
  });
  const connection = open(url, { transports: ["sse", "stream"], timing: { backoff: 10 } });
  const [gaps, told] = [[], []];
  connection.on("gap", (gap) => gaps.push(gap));
  connection.on("state", (state) => {
    const { phase, transport, why, left, status, code, message } = state;
    told.push(`${phase} ${transport} ${why} ${message}`);
    if (why === "blocked") assert.deepEqual([left, status, code], ["sse", 403, undefined]);
  });
  assert.deepEqual(await take(connection, 3), [2, "时", 6]);
  assert.deepEqual(gaps, [{ requested: "3-0", resumed: "5-0" }]);
  assert.deepEqual(asked.map(({ path, query }) => [path, query.get("since")]), [["/events", null], ["/events", "2-0"], ["/data", "2-0"]]);
  assert.ok(told.includes("connecting stream blocked sse: answered 403, but not by the server"), told.join("\n"));
});
