// The chat page. It uses the chat's events and shows what arrives:
//   out: chat message(text, key), join(room), leave(room), name(text), typing(bool), each answered by an ack
//   in:  chat message(text, {id, room, from, time}), presence, typing
// A server that knows only `chat message` works too: rooms, people and names are then hidden.

import { reason } from "./chat-text.js";
import { FIRST_ROOM, adopt, fromHistory, isAfter, nameOf, newestId, roomOf, rooms, session, setPeople, storeRooms, storedRooms, take, textOf } from "./chat-rooms.js";
import { bind, part, showMessages, showRooms, showState, showTransport, showTyping, toEnd } from "./chat-view.js";
import { isReachable, memory, say, sayApart, startPage } from "./page.js";

const ACK_WITHIN = 10_000;
const JOIN_WITHIN = 4_000;
const TYPING_EVERY = 2_000;
const TYPING_FADES = 5_000;

let socket = null;

// ---- what the user does ----

/** Emits, and gives the ack of the server: `{ok, …}`, or `{ok: false, silent: true}` without one. */
function ask(within, ...args) {
  return new Promise((resolve) => {
    socket.timeout(within).emit(...args, (error, answer) => {
      resolve(error ? { ok: false, silent: true } : (answer ?? { ok: true }));
    });
  });
}

/** A key for a message: however often it is sent, it is stored once. `crypto.randomUUID` exists only on pages served over TLS. */
function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function send(message) {
  if (!socket?.connected) {
    message.fate = "queued";
    showMessages();
    return;
  }
  message.fate = "waiting";
  delete message.why;
  showMessages();
  const answer = await ask(ACK_WITHIN, "chat message", message.text, message.key);
  if (answer.ok) {
    message.fate = "sent";
    if (answer.id && message.id && message.id !== answer.id) {
      // Somebody else sent the same text under our name in between, and `adopt` took that message for ours.
      take(message.room, { ...message, fate: undefined, mine: false });
    }
    message.id = answer.id ?? message.id;
  } else if (message.id) {
    message.fate = "sent"; // the ack was lost with a connection, but the server has sent us the message itself
  } else if (message.fate === "waiting") {
    message.fate = "failed";
    message.why = () => reason(answer.error);
  }
  showMessages();
}

async function join(name, { quietly = false } = {}) {
  const since = newestId(name);
  const answer = await ask(JOIN_WITHIN, "join", name);
  if (!answer.ok) {
    if (!answer.silent) showState("live", "state.live", () => say("no.room", { room: name, why: reason(answer.error) }));
    else if (!session.hasRooms) showRooms();
    return false;
  }
  session.hasRooms = true;
  const room = roomOf(name);
  setPeople(name, answer);
  const messages = (answer.messages ?? []).map(fromHistory);
  const news = since ? messages.filter(({ id }) => isAfter(id, since)) : [];
  // All of the history is newer than the last message that we saw: there may be others in between.
  room.hole = Boolean(since) && messages.length > 0 && news.length === messages.length && messages.length >= 50;
  for (const message of messages) {
    message.missed = quietly && news.includes(message);
    if (!adopt(name, message)) take(name, message);
  }
  return true;
}

async function enter(name) {
  const known = rooms.has(name);
  if (!(await join(name))) return;
  session.current = name;
  roomOf(name).unread = 0;
  if (!known) storeRooms();
  showState("live", "state.live");
  part("side").removeAttribute("data-open");
  part("side-toggle").setAttribute("aria-expanded", "false");
  showRooms();
  showTyping();
  showMessages();
  toEnd();
}

async function leave(name) {
  await ask(ACK_WITHIN, "leave", name);
  rooms.delete(name);
  storeRooms();
  if (session.current === name) await enter(FIRST_ROOM);
  showRooms();
}

// ---- what arrives ----

// A message that is older than the connection was missed: it arrives after the connection opens, not before. Clocks may differ. The
// first connection, on which every message is new, measures by how much.
let connections = 0;
let connectedAt = 0;
let clockDifference;

function isMissed({ time }) {
  if (!time) return false;
  if (connections === 1) {
    clockDifference = Math.min(clockDifference ?? Infinity, Date.now() - time);
    return false;
  }
  return time + (clockDifference ?? 0) < connectedAt;
}

function onMessage(data, meta = {}) {
  const room = meta.room ?? session.current;
  const from = nameOf(meta.from);
  const message = { id: meta.id, time: meta.time ?? Date.now(), from, text: textOf(data), missed: isMissed(meta) };
  roomOf(room).typing.delete(from);
  if (!adopt(room, message)) take(room, message);
  if (room === session.current) {
    showMessages();
    showTyping();
  } else {
    roomOf(room).unread += 1;
    showRooms();
  }
}

function onTyping(a, b = {}) {
  const event = typeof a === "object" ? a : { typing: a, ...b };
  const { typing } = roomOf(event.room ?? session.current);
  const name = nameOf(event.from ?? event.name);
  clearTimeout(typing.get(name));
  typing.delete(name);
  if (name && event.typing) typing.set(name, setTimeout(() => { typing.delete(name); showTyping(); }, TYPING_FADES));
  showTyping();
}

// ---- the connection ----

/** The client begins with long polling and changes to WebSocket, unless something between blocks that. */
function watchTransport() {
  const { engine } = socket.io;
  showTransport(engine.transport.name, false);
  engine.on("upgrade", ({ name }) => showTransport(name, false));
  engine.on("upgradeError", () => showTransport(engine.transport.name, true));
}

async function onConnect() {
  showState("live", "state.live");
  connections += 1;
  connectedAt = Date.now();
  if (!socket.recovered) {
    if (session.me) {
      const name = session.me;
      const answer = await ask(JOIN_WITHIN, "name", name);
      if (!answer.ok && !answer.silent) showState("live", "state.live", () => sayApart("no.name", { name, why: reason(answer.error) }));
    }
    // The current room last: messages are sent to the room that was entered last.
    for (const name of [...rooms.keys()].filter((name) => name !== session.current)) await join(name, { quietly: true });
    await join(session.current, { quietly: true });
  }
  showRooms();
  showMessages();
  for (const { messages } of rooms.values()) {
    for (const message of messages.filter(({ fate }) => fate === "queued")) await send(message);
  }
}

function onDisconnect(cause) {
  for (const room of rooms.values()) room.typing.clear();
  showTyping();
  showTransport("", false);
  // The client reconnects by itself, unless the server disconnected it, as a backend may ask it to. Then the page tries once more.
  if (cause === "io server disconnect") setTimeout(() => socket.connect(), 2_000 + Math.random() * 2_000);
  showState("down", "state.down", () => say("reconnecting"));
}

async function onConnectError({ message, data }) {
  if (data?.code) return showState("down", "state.down", () => reason({ ...data, message }));
  const answers = await isReachable("socket.io/socket.io.js");
  if (socket.connected) return;
  showState("down", "state.down", () => (answers ? say("no.connection", { message }) : say("unreachable.chat", { unreachable: say("unreachable") })));
}

function start() {
  if (typeof globalThis.io !== "function") return showState("down", "state.none", () => say("no.client"));
  // In the folder of this page, also behind a proxy that serves it under a prefix.
  socket = globalThis.io({ path: new URL("socket.io/", location.href).pathname });
  socket.io.on("open", watchTransport);
  socket.on("connect", onConnect);
  socket.on("disconnect", onDisconnect);
  socket.on("connect_error", onConnectError);
  socket.on("chat message", onMessage);
  socket.on("typing", onTyping);
  socket.on("presence", (present) => {
    setPeople(present.room ?? session.current, present);
    showRooms();
  });
}

// A browser stores a page that is left only if it has no connection open. The session remains: shown again, the page gets what it missed.
addEventListener("pagehide", () => socket?.io.engine?.close());

// ---- the forms ----

part("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = part("text").value.trim();
  if (!text) return part("text").focus();
  const { current: room, me: from } = session;
  const message = { text, room, time: Date.now(), mine: true, from, fate: "queued", key: newKey() };
  take(room, message);
  part("text").value = "";
  typed(false);
  send(message);
  toEnd();
});

let lastTyped = 0;
let typingEnds;
function typed(typing) {
  clearTimeout(typingEnds);
  if (!session.hasRooms || !socket?.connected) return;
  if (typing) typingEnds = setTimeout(() => typed(false), TYPING_FADES - 1_000);
  if (typing ? Date.now() - lastTyped < TYPING_EVERY : lastTyped === 0) return;
  lastTyped = typing ? Date.now() : 0;
  socket.volatile.emit("typing", typing);
}
part("text").addEventListener("input", () => typed(part("text").value !== ""));

part("name").value = session.me;
part("name").addEventListener("change", async () => {
  const wanted = part("name").value.trim();
  if (!wanted) return;
  if (!socket?.connected) {
    session.me = wanted; // sent when the page is connected
    return;
  }
  const answer = await ask(ACK_WITHIN, "name", wanted);
  if (!answer.ok) {
    showState("live", "state.live", () => sayApart("no.name", { name: wanted, why: reason(answer.error) }));
    part("name").value = session.me;
    return;
  }
  showState("live", "state.live");
  session.me = answer.name ?? wanted;
  memory.set("trident.name", session.me);
  showRooms();
});

part("room-form").addEventListener("submit", (event) => {
  event.preventDefault();
  enter(part("room").value);
  part("room").value = "";
});

part("side-toggle").addEventListener("click", () => {
  const open = part("side").toggleAttribute("data-open");
  part("side-toggle").setAttribute("aria-expanded", String(open));
});

startPage();
showState("wait", "state.connecting");
roomOf(FIRST_ROOM);
for (const name of storedRooms()) roomOf(name);
bind({ send, enter, leave });
start();
