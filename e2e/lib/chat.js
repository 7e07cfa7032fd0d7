// Chat clients: the official client of Socket.IO, with what it was told kept in order.

import { io } from "socket.io-client";
import { soon, until } from "./wait.js";

/** The ways to connect that a client chooses from. */
export const WAYS = {
  "polling only": { transports: ["polling"] },
  "WebSocket only": { transports: ["websocket"] },
  upgrade: { transports: ["polling", "websocket"] },
};

const clients = new Set();

/** Lets go of all clients that were opened. For `after`. */
export function leaveAll() {
  for (const client of clients) client.close();
  clients.clear();
}

/** A client that comes back fast, and has not begun to connect. */
export function chatClient(base, options = {}) {
  const socket = io(base, { forceNew: true, autoConnect: false, reconnectionDelay: 20, reconnectionDelayMax: 50, transports: ["websocket"], ...options });
  const client = {
    socket,
    /** Events in the order in which they came: `{event, args}`. */
    told: [],
    disconnects: [],
    connects: [],
    of: (event) => client.told.filter((one) => one.event === event).map((one) => one.args),
    /** What a room was told as chat messages: `[data, meta]`. */
    said: (room) => client.of("chat message").filter(([, meta]) => room === undefined || meta.room === room),
    /** Waits for an event that `found` likes, also among those that came before. */
    hears: (event, found = () => true, within = 10_000) =>
      until(`${event} (told: ${JSON.stringify(client.told.slice(-5))})`, () => client.of(event).find((args) => found(...args)), { within, every: 5 }),
    /** Emits and gives the ack. */
    ask: (...args) => soon(`the ack of ${args[0]}`, new Promise((resolve) => socket.emit(...args, resolve))),
    say: (text) => client.ask("chat message", text),
    close: () => socket.close(),
    async open() {
      const opened = soon(`the connection to ${base}`, new Promise((resolve, reject) => {
        socket.once("connect", () => resolve(client));
        socket.once("connect_error", reject);
      }));
      socket.connect();
      return opened;
    },
  };
  socket.onAny((event, ...args) => client.told.push({ event, args, at: performance.now() }));
  socket.on("connect", () => client.connects.push({ recovered: socket.recovered, id: socket.id }));
  socket.on("disconnect", (reason) => client.disconnects.push(reason));
  clients.add(client);
  return client;
}

/** A client that is connected and, where it may, upgraded. */
export async function chat(base, options = {}) {
  const client = await chatClient(base, options).open();
  if (options.transports?.length === 2) {
    await until("the upgrade", () => client.socket.io.engine.transport.name === "websocket");
  }
  return client;
}

/** The error that a client is refused with. */
export async function refused(base, options = {}) {
  const client = chatClient(base, { reconnection: false, ...options });
  try {
    await client.open();
  } catch (error) {
    return error;
  } finally {
    client.close();
  }
  throw new Error("the client was accepted");
}

/** A room that no other test uses. */
let rooms = 0;
export const newRoom = () => `room-${process.pid}-${(rooms += 1)}`;

/** A figure of `/metrics`, 0 where there is none. */
export async function figure(base, name) {
  const text = await (await fetch(`${base}/metrics`)).text();
  const line = text.split("\n").find((found) => found.startsWith(`${name} `));
  return Number(line?.split(" ").at(-1) ?? 0);
}
