// The official clients in each of their ways to connect.

import { createRequire } from "node:module";
import { io } from "socket.io-client";

const require = createRequire(import.meta.url);
const msgpack = require("socket.io-msgpack-parser");

/** Name → options of the client of Socket.IO 4. */
export const KINDS = {
  "polling only": { transports: ["polling"] },
  "WebSocket only": { transports: ["websocket"] },
  upgrade: { transports: ["polling", "websocket"] },
  "msgpack, polling only": { transports: ["polling"], parser: msgpack },
  "msgpack, WebSocket only": { transports: ["websocket"], parser: msgpack },
  "msgpack, upgrade": { transports: ["polling", "websocket"], parser: msgpack },
};

/** Longer than anything takes; no test that passes waits for it. */
export const PATIENCE = 10_000;

/** A client that has not begun to connect. */
export function client(url, options = {}) {
  return io(url, { forceNew: true, reconnection: false, autoConnect: false, ...options });
}

/** A client that is connected; with upgrades, upgraded. */
export async function connected(url, options = {}) {
  const socket = client(url, options);
  const upgraded = options.transports?.length === 2 ? upgrade(socket) : Promise.resolve();
  socket.connect();
  await once(socket, "connect");
  await upgraded;
  return socket;
}

async function upgrade(socket) {
  // The engine exists once the manager opens.
  socket.connect();
  await within("upgrade", (done) => socket.io.engine.once("upgrade", done));
}

/** The arguments of the next `event`. */
export function once(emitter, event) {
  return within(event, (done) => emitter.once(event, (...args) => done(args)));
}

/** The arguments of the next `count` times that `event` happens. */
export function times(emitter, event, count) {
  return within(`${count} × ${event}`, (done) => {
    const all = [];
    const listener = (...args) => {
      all.push(args);
      if (all.length === count) {
        emitter.off(event, listener);
        done(all);
      }
    };
    emitter.on(event, listener);
  });
}

/** What the server acknowledges: one argument, or all of them as an array where there are several. */
export function ask(socket, event, ...args) {
  return within(`ack of ${event}`, (done) => socket.emit(event, ...args, (...answer) => done(answer.length > 1 ? answer : answer[0])));
}

/** A promise with a deadline that says what it waited for. */
export function within(what, start, patience = PATIENCE) {
  return new Promise((done, fail) => {
    const timer = setTimeout(() => fail(new Error(`waited for ${what}`)), patience);
    start((value) => {
      clearTimeout(timer);
      done(value);
    });
  });
}

/** Waits until `condition` says something true, and gives it. */
export async function until(what, condition, patience = PATIENCE) {
  const deadline = Date.now() + patience;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > deadline) throw new Error(`waited until ${what}`);
    await new Promise((done) => setTimeout(done, 10));
  }
}
