// A browser of a few lines: locks, channels between pages, and a server whose connections are counted.

import { isSelected } from "../dist/message.js";
import { json, refuse, serve } from "./server.js";

/** Locks and channels as pages of one origin have them. */
export class Browser {
  #held = new Map();
  #ports = new Set();
  /** Called for each message from one page to the others; the message is lost if it gives true. */
  isFrozen = () => false;
  /** Messages on a channel that was closed, which browsers reject. */
  lateMessages = 0;

  locks = {
    request: async (name, options, callback) => {
      const waiting = this.#held.get(name);
      if (waiting && options.ifAvailable) return callback(null);
      if (waiting) {
        await new Promise((resolve, reject) => {
          const entry = { resolve };
          waiting.push(entry);
          options.signal?.addEventListener("abort", () => {
            if (waiting.includes(entry)) waiting.splice(waiting.indexOf(entry), 1);
            reject(options.signal.reason);
          });
        });
      } else {
        this.#held.set(name, []);
      }
      try {
        return await callback({ name });
      } finally {
        const queue = this.#held.get(name);
        if (queue.length > 0) queue.shift().resolve();
        else this.#held.delete(name);
      }
    },
  };

  channel(name) {
    const port = {
      name,
      onmessage: null,
      postMessage: (data) => {
        if (!this.#ports.has(port)) {
          this.lateMessages += 1;
          throw new DOMException("the channel is closed", "InvalidStateError");
        }
        for (const other of this.#ports) {
          if (other === port || other.name !== name || this.isFrozen(other)) continue;
          const copy = structuredClone(data);
          setImmediate(() => this.#ports.has(other) && other.onmessage?.({ data: copy }));
        }
      },
      close: () => void this.#ports.delete(port),
    };
    this.#ports.add(port);
    return port;
  }

  /** The browser for a page that can crash: its locks are released, and it says and does nothing more. */
  page() {
    let isCrashed = false;
    const ports = [];
    let crash;
    const crashed = new Promise((resolve) => (crash = resolve));
    return {
      locks: {
        request: (name, options, callback) => this.locks.request(name, options, (lock) => (isCrashed ? undefined : Promise.race([callback(lock), crashed]))),
      },
      channel: (name) => {
        const port = this.channel(name);
        ports.push(port);
        return port;
      },
      crash: () => {
        isCrashed = true;
        for (const port of ports) Object.assign(port, { onmessage: null, postMessage() {} });
        crash();
      },
    };
  }

  get locked() {
    return [...this.#held.keys()];
  }
}

/** A log with its two doors `/events` and `/data`. Streams are counted, and can be cut. The tokens in `refused` are, after a moment. */
export async function logServer({ hasData = true } = {}) {
  const log = [];
  const streams = new Map();
  const asked = { streams: 0, polls: 0 };
  let dropped = 0;
  const number = (id) => Number(id.split("-")[0]);
  const placed = () => `${log.length + 1}-0`;
  const refused = new Set();
  const server = await serve((request, response, { pathname, searchParams }) => {
    if (refused.has(request.headers.authorization?.slice(7))) return setTimeout(() => refuse(response, 401, "bad_token"), 50);
    if (pathname === "/data" && !hasData) return refuse(response, 404, "not_found");
    const channels = searchParams.getAll("channel");
    const since = searchParams.get("since");
    const from = since === "earliest" ? 0 : since === null ? log.length + 1 : number(since);
    const isLost = ({ id, channel }) => number(id) > from && number(id) <= dropped && isSelected(channels, channel);
    const isGap = since !== null && since !== "earliest" && log.some(isLost);
    const after = (from) => log.filter((message) => message && number(message.id) > Math.max(from, dropped) && isSelected(channels, message.channel));
    if (channels.includes("forbidden")) return json(response, 403, { error: { code: "insufficient_scope", message: "not this one" } });
    if (pathname === "/data") {
      asked.polls += 1;
      const limit = Number(searchParams.get("limit") ?? 100);
      const messages = after(from).slice(0, limit);
      const cursor = messages.length === limit ? messages.at(-1).id : placed();
      return json(response, 200, { cursor, gap: isGap, messages }, isGap ? { "Trident-Gap": `${dropped}-0` } : {});
    }
    asked.streams += 1;
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    response.write(`: connected\n${since === "earliest" ? "" : `id: ${since ?? placed()}\n`}\n`);
    if (isGap) response.write(`event: gap\nid: ${dropped}-0\ndata: {"requested":"${since}","resumed":"${dropped}-0"}\n\n`);
    const write = (message) => response.write(`id: ${message.id}\ndata: ${JSON.stringify(message)}\n\n`);
    after(from).forEach(write);
    streams.set(response, (message) => isSelected(channels, message.channel) && write(message));
    response.on("close", () => streams.delete(response));
  });
  return {
    ...server,
    asked,
    refused,
    channelsOf: () => server.asked.filter(({ path }) => path === "/events").at(-1).query.getAll("channel"),
    open: () => streams.size,
    cut: () => [...streams.keys()].forEach((response) => response.destroy()),
    /** Drops all messages but the newest `count`. */
    trim: (count) => void (dropped = log.length + 1 - count),
    publish(channel, data) {
      const id = `${log.length + 2}-0`;
      log.push({ id, channel, event: "message", data, time: log.length + 2 });
      for (const write of streams.values()) write(log.at(-1));
      return id;
    },
  };
}
