// A server of a log with one order over its channels: `/data` by HTTP, what `io` of socket.io-client gives, and a `WebSocket`. It counts
// what it sends.

import { isSelected } from "../dist/message.js";
import { json, serve } from "./server.js";

/** `messages`: what is in the log, oldest first. */
export async function socketServer(messages, { hasData = true } = {}) {
  const log = [...messages];
  const sent = { batches: 0, byRequest: 0, bySocket: 0, subscriptions: 0, unsubscriptions: 0 };
  const sockets = new Set();
  const after = (since) => (since === "earliest" || since === undefined ? 0 : Number(since.split("-")[0]));
  const placed = () => `${log.length}-0`;

  const server = await serve((_, response, { searchParams, pathname }) => {
    if (pathname !== "/data" || !hasData) return response.writeHead(404).end("nothing here");
    const channels = new Set(searchParams.getAll("channel"));
    const since = searchParams.get("since");
    const limit = Number(searchParams.get("limit") ?? 100);
    const rest = since === null ? [] : log.slice(after(since)).filter(({ channel }) => isSelected([...channels], channel));
    const messages = rest.slice(0, limit);
    sent.batches += 1;
    sent.byRequest += messages.length;
    json(response, 200, { cursor: rest.length > limit ? messages.at(-1).id : placed(), gap: false, messages });
  });

  function io() {
    const listeners = { io: {}, socket: {} };
    let any = () => {};
    let channels = new Set();
    let at = 0;
    let isOpen = true;
    let isScheduled = false;
    /** A few at a time, as a socket brings them. */
    const pump = () => {
      isScheduled = false;
      for (let n = 0; n < 32 && isOpen; ) {
        const message = log[at];
        if (!message || channels.size === 0) return;
        at += 1;
        if (!isSelected([...channels], message.channel)) continue;
        n += 1;
        sent.bySocket += 1;
        any(message.event, message.data, message);
      }
      schedule();
    };
    const schedule = () => {
      if (!isScheduled && isOpen) setImmediate(pump);
      isScheduled = true;
    };
    const answers = {
      leave: () => ({ ok: true }),
      subscribe: ({ channels: wanted, since }) => {
        sent.subscriptions += 1;
        at = since === undefined ? log.length : after(since);
        channels = new Set(wanted);
        schedule();
        return { ok: true, cursor: placed() };
      },
      unsubscribe: () => {
        sent.unsubscriptions += 1;
        channels = new Set();
        return { ok: true };
      },
    };
    const socket = {
      io: { engine: { pingInterval: 25_000, pingTimeout: 20_000 }, on: (event, listener) => (listeners.io[event] = listener) },
      on: (event, listener) => (listeners.socket[event] = listener),
      onAny: (listener) => (any = listener),
      timeout: () => ({ emitWithAck: (event, what) => new Promise((resolve) => setImmediate(() => resolve(answers[event](what)))) }),
      subscribe: (wanted) => {
        at = log.length;
        channels = new Set(wanted);
      },
      disconnect: () => {
        isOpen = false;
        sockets.delete(schedule);
      },
    };
    sockets.add(schedule);
    setImmediate(() => listeners.socket.connect?.());
    return socket;
  }

  /** The same as the `WebSocket` of a browser, at `/ws`. */
  class PlainSocket {
    #socket = io();
    #say = (frame) => this.onmessage({ data: JSON.stringify(frame) });

    constructor(url) {
      this.#socket.onAny((_event, _data, message) => this.#say(message));
      this.#socket.on("connect", () => {
        // The query subscribes from now on.
        this.#socket.subscribe(url.searchParams.getAll("channel"));
        this.onopen();
      });
    }

    send(text) {
      const { id, ...command } = JSON.parse(text);
      const [[name, what]] = Object.entries(command);
      this.#socket.timeout().emitWithAck(name, what).then((answer) => this.#say({ id, ...answer }));
    }

    close() {
      this.#socket.disconnect();
    }
  }

  return {
    ...server,
    io,
    WebSocket: PlainSocket,
    sent,
    publish(message) {
      log.push({ ...message, id: `${log.length + 1}-0`, time: log.length + 1, event: "message" });
      for (const schedule of sockets) schedule();
    },
  };
}

/** So many messages, of each channel in turn. */
export function history(count, channels = ["c"]) {
  return Array.from({ length: count }, (_, n) => ({ id: `${n + 1}-0`, channel: channels[n % channels.length], event: "message", data: n, time: n + 1 }));
}
