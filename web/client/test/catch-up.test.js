// Catching up: what is asked for, in which pieces it is given out, and that a reader that is full is not sent more.

import assert from "node:assert/strict";
import { afterEach, describe, test } from "node:test";
import { connect } from "../dist/index.js";
import { pieces } from "../dist/http.js";
import { socketio } from "../dist/transports/socketio.js";
import { event, serve, until } from "./server.js";
import { history, socketServer } from "./socket.js";

const ends = [];
const { WebSocket } = globalThis;
afterEach(async () => {
  globalThis.WebSocket = WebSocket;
  for (const end of ends.splice(0).reverse()) await end();
});

async function start(...options) {
  const server = await socketServer(...options);
  ends.push(() => server.close());
  return server;
}

function open(server, options) {
  globalThis.WebSocket = server.WebSocket;
  const connection = connect({ url: server.url, transports: ["websocket"], websocket: socketio(server.io), ...options });
  ends.push(() => connection.close());
  connection.on("state", ({ phase, message }) => phase === "waiting" && assert.fail(message));
  return connection;
}

const CHANNELS = Array.from({ length: 128 }, (_, n) => `c${n}`);

for (const transport of ["websocket", "ws"]) describe(`a WebSocket is read no faster than the application reads: ${transport}`, () => {
  const transports = [transport];
  test("case 13.2: the server sends at most what was read and one buffer, and nothing twice", async () => {
    const server = await start(history(128_000, CHANNELS));
    const connection = open(server, { transports, channels: CHANNELS, since: "earliest" });
    const QUEUE = 512;
    for (let n = 0; n < 5_855; n += 1) {
      assert.equal((await connection.next()).value.data, n);
      const { byRequest, bySocket } = server.sent;
      assert.ok(byRequest + bySocket <= n + 1 + QUEUE + 1_000, `${byRequest + bySocket} sent when ${n + 1} were read`);
    }
    assert.equal(server.sent.subscriptions, 0, "no subscription as long as there is something to catch up with");
  });

  test("a pattern's channels are read", async () => {
    const server = await start(history(10, ["chat.a", "news", "chat.b"]));
    const connection = open(server, { transports, channels: ["chat.*"], since: "earliest" });
    for (const n of [0, 2, 3, 5, 6, 8, 9]) assert.equal((await connection.next()).value.data, n);
    await until("subscribed", () => server.sent.subscriptions === 1);
    for (const channel of ["news", "chat.new"]) server.publish({ channel, data: channel });
    assert.equal((await connection.next()).value.data, "chat.new");
  });

  test("case 13.2: a full subscriber ends its subscription, keeps received messages, and resumes at its cursor", async () => {
    const server = await start([]);
    const connection = open(server, { transports, channels: ["c"], queue: 50 });
    await until("open", () => connection.state.phase === "open");
    const COUNT = 3_000;
    for (let n = 0; n < COUNT; n += 1) server.publish({ channel: "c", data: n });
    await until("unsubscribed", () => server.sent.unsubscriptions === 1);
    assert.ok(server.sent.bySocket < 250, `${server.sent.bySocket} messages sent unread`);
    for (let n = 0; n < COUNT; n += 1) assert.equal((await connection.next()).value.data, n);
    assert.equal(server.sent.byRequest + server.sent.bySocket, COUNT, "each was sent once");
    server.publish({ channel: "c", data: "live" });
    assert.equal((await connection.next()).value.data, "live");
    assert.ok(server.sent.subscriptions >= 2);
  });

  test("case 13.2: messages published during catching up are not sent twice", async () => {
    const server = await start(history(2_000));
    const connection = open(server, { transports, channels: ["c"], since: "earliest", queue: 50 });
    for (let n = 0; n < 3_000; n += 1) {
      if (n < 1_000) server.publish({ channel: "c", data: 2_000 + n });
      assert.equal((await connection.next()).value.data, n);
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.equal(server.sent.byRequest + server.sent.bySocket, 3_000, "each was sent once");
  });

  test("case 13.2: a server without `/data` is read by subscriptions alone", async () => {
    const server = await start(history(2_000), { hasData: false });
    const connection = open(server, { transports, channels: ["c"], since: "earliest", queue: 50 });
    for (let n = 0; n < 2_000; n += 1) {
      assert.equal((await connection.next()).value.data, n);
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.equal(server.sent.bySocket, 2_000, "each was sent once");
    assert.ok(server.sent.unsubscriptions > 1);
  });
});

/** Counts messages by the task in which they were given out. */
function tasks() {
  const slices = [0];
  let isOpen = true;
  const next = () => {
    if (slices.at(-1) > 0) slices.push(0);
    if (isOpen) setImmediate(next);
  };
  next();
  ends.push(() => { isOpen = false; });
  return { slices, count: () => (slices[slices.length - 1] += 1) };
}

const work = (milliseconds) => {
  for (const end = performance.now() + milliseconds; performance.now() < end; );
};

describe("catching up with 100,000 messages", () => {
  test("case 13.11: takes a request for each thousand, and no message by the socket", async () => {
    const server = await start(history(100_000));
    const connection = open(server, { channels: ["c"], since: "earliest" });
    let count = 0;
    connection.on("message", () => { count += 1; });
    await until("all", () => count === 100_000, 60_000);
    assert.ok(server.sent.batches <= 101, `${server.sent.batches} requests`);
    assert.equal(server.sent.bySocket, 0);
  });

  test("case 13.11: no task is longer than its slice: 17 messages of a millisecond each", async () => {
    const server = await start(history(300));
    for (const read of ["listener", "for await"]) {
      const connection = open(server, { channels: ["c"], since: "earliest" });
      const { slices, count } = tasks();
      let all = 0;
      const take = () => {
        all += 1;
        count();
        work(1);
      };
      if (read === "listener") connection.on("message", take);
      else void (async () => { for await (const _ of connection) take(); })();
      await until("all", () => all === 300);
      assert.ok(Math.max(...slices) <= 17, `${read}: ${Math.max(...slices)} messages in one task`);
    }
  });

  test("case 13.11: a body of 2 MiB in one piece is read 32 KiB at a time, and only while there is room", async () => {
    const text = "时间 ".repeat(300_000);
    const body = new ReadableStream({ start: (controller) => (controller.enqueue(new TextEncoder().encode(text)), controller.close()) });
    const read = [];
    let rooms = 0;
    const sink = { room: async () => { rooms += 1; }, heard() {} };
    const end = await pieces(new Response(body), sink, (piece) => read.push(piece));
    assert.equal(end.why, "ended");
    assert.equal(read.join(""), text);
    assert.ok(Math.max(...read.map((piece) => Buffer.byteLength(piece))) <= 32_768 + 3);
    assert.ok(rooms >= read.length, `${rooms} times for ${read.length} pieces`);
  });

  test("case 13.11: an event stream that has come in one piece is read in slices too", async () => {
    const server = await serve((_, response) => {
      response.writeHead(200, { "Content-Type": "text/event-stream;charset=utf-8" });
      response.write(Array.from({ length: 400 }, (_, n) => event(n + 2)).join(""));
    });
    ends.push(() => server.close());
    const connection = open(server, { channels: ["c"], transports: ["sse"] });
    const { slices, count } = tasks();
    connection.on("message", () => {
      count();
      work(1);
    });
    await until("all", () => slices.reduce((a, b) => a + b) === 400);
    assert.ok(Math.max(...slices) <= 17, `${Math.max(...slices)} messages in one task`);
  });
});
