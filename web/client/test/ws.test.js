// The plain WebSocket, with one that the test makes: whether it lives, and how it ends.

import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { socketio } from "../dist/transports/socketio.js";
import { ws } from "../dist/transports/ws.js";

const { WebSocket } = globalThis;
afterEach(() => {
  globalThis.WebSocket = WebSocket;
});

/** Opens one. `socket` is the other end: it answers commands while `isThere`. */
async function open(t, token) {
  const silence = 35_000;
  const begun = {};
  // The time of day, which may be set back, says nothing about silence.
  let time = 0;
  t.mock.method(performance, "now", () => time);
  t.mock.method(globalThis, "setInterval", (beat) => {
    begun.beat = beat;
  });
  globalThis.WebSocket = class {
    isThere = true;
    constructor() {
      begun.socket = this;
    }
    send() {
      const answer = { data: JSON.stringify({ id: 0, ok: true, cursor: "1-0" }) };
      if (this.isThere) queueMicrotask(() => this.onmessage(answer));
    }
    close() {}
  };
  const wanted = { base: new URL("http://server/"), channels: ["c"], token, credentials: "same-origin", silence, room: 10 };
  const opened = [];
  const sink = { opened: (most) => opened.push(most), room: async () => {}, heard() {}, place() {}, isFull: () => false };
  const end = ws(wanted, sink, new AbortController().signal);
  let isOver = false;
  void end.then(() => { isOver = true; });
  begun.socket.onopen();
  await new Promise(setImmediate);
  return { ...begun, end, opened, isOver: () => isOver, after: async (milliseconds) => {
    time += milliseconds;
    begun.beat();
    await new Promise(setImmediate);
  } };
}

test("a hidden page, whose timers run once a minute, keeps a connection that answers", async (t) => {
  const { opened, isOver, after } = await open(t);
  for (let n = 0; n < 10; n += 1) await after(60_000);
  assert.equal(isOver(), false);
  // Who only hears of it, as other tabs do, hears once a minute.
  assert.ok(opened.length > 0 && opened.every((most) => most > 2 * 60_000), opened.join(" "));
});

test("a connection that stops answering is silent from its first unanswered ping", async (t) => {
  const { socket, end, isOver, after } = await open(t);
  await after(60_000);
  socket.isThere = false;
  await after(60_000);
  await after(34_000);
  assert.equal(isOver(), false);
  await after(1_000);
  const { why, seconds } = await end;
  assert.deepEqual([why, seconds], ["silent", 35]);
});

for (const [code, why] of [[1012, "ended"], [1013, "busy"]]) {
  test(`${code}: all connections are closed together, and reconnect at different times`, async (t) => {
    const waits = [];
    for (const random of [0, 0.5, 1]) {
      const mocked = t.mock.method(Math, "random", () => random);
      const { socket, end } = await open(t);
      socket.onclose({ code, reason: "" });
      const told = await end;
      assert.equal(told.why, why);
      waits.push(told.retryAfter);
      mocked.mock.restore();
      t.mock.timers.reset();
    }
    assert.deepEqual(waits, [1_000, 2_500, 4_000]);
  });
}

test("a token that no subprotocol can contain leaves the other transports", async () => {
  globalThis.WebSocket = class {
    constructor() {
      throw new SyntaxError("the subprotocol is not valid");
    }
  };
  const end = await ws({ base: new URL("http://server/"), channels: ["c"], token: "a b" }, {}, new AbortController().signal);
  assert.equal(end.why, "blocked");
});

for (const [name, transport] of [["ws", ws], ["websocket", socketio(() => failing())]]) {
  for (const isAborted of [true, false]) {
    test(`${name}: the request that asks why there is no WebSocket ends ${isAborted ? "with its attempt" : "after 3 s"}`, async (t) => {
      globalThis.WebSocket = class {
        constructor() {
          queueMicrotask(() => this.onclose({ code: 1006, reason: "" }));
        }
        close() {}
      };
      const { setTimeout } = globalThis;
      t.mock.method(globalThis, "setTimeout", (what, milliseconds) => setTimeout(what, milliseconds === 3_000 && !isAborted ? 20 : milliseconds));
      const asked = new Promise((resolve) => {
        t.mock.method(globalThis, "fetch", (_, { signal }) => {
          resolve(signal);
          return new Promise((_, reject) => signal?.addEventListener("abort", () => reject(signal.reason)));
        });
      });
      const attempt = new AbortController();
      const wanted = { base: new URL("http://server/"), channels: ["c"], credentials: "same-origin", silence: 1_000, room: 10 };
      const end = transport(wanted, { heard() {} }, attempt.signal);
      const signal = await asked;
      if (isAborted) attempt.abort(new Error("left"));
      await assert.rejects(Promise.race([end, new Promise((_, reject) => setTimeout(reject, 1_000, new Error("open")))]), isAborted ? /left/ : /no answer within 3 s/);
      assert.ok(signal.aborted);
    });
  }
}

/** A socket of socket.io-client that gets no connection. */
function failing() {
  const on = (event, listener) => event === "connect_error" && queueMicrotask(() => listener({ message: "websocket error" }));
  return { io: { on() {} }, on, disconnect() {} };
}
