// The chat page. It speaks the chat's events and shows what comes back:
//   out: chat message(text, key), join(room), leave(room), name(text), typing(bool), each answered by an ack
//   in:  chat message(text, {id, room, from, time}), presence, typing
// A server that knows `chat message` alone is served too: rooms, people and names then stay out of sight.

const FIRST_ROOM = "lobby";
const ACK_WITHIN = 10_000;
const JOIN_WITHIN = 4_000;
const TYPING_EVERY = 2_000;
const TYPING_FADES = 5_000;
const KEPT = 500; // messages kept per room

const part = (id) => document.getElementById(id);

/** Storage may be forbidden; the page works without. */
const memory = {
  get: (key) => { try { return localStorage.getItem(key); } catch { return null; } },
  set: (key, value) => { try { localStorage.setItem(key, value); } catch { /* not remembered */ } },
};

/** Ids are `<milliseconds>-<sequence>`: compared as two numbers. */
function isAfter(a, b) {
  const [aTime, aSequence] = a.split("-").map(Number);
  const [bTime, bSequence] = b.split("-").map(Number);
  return aTime === bTime ? aSequence > bSequence : aTime > bTime;
}

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function textOf(data) {
  if (typeof data === "string") return data;
  if (data instanceof ArrayBuffer) return `[${data.byteLength} bytes]`;
  return JSON.stringify(data);
}

const nameOf = (from) => (typeof from === "object" && from !== null ? from.name : from) || "";

// ---- what we know ----

let me = memory.get("trident.name") ?? "";
let current = FIRST_ROOM;
let full = false; // the server has answered `join`
/** Name of each room that we are in → its messages, oldest first, and what else we know of it. */
const rooms = new Map();

function roomOf(name) {
  if (!rooms.has(name)) rooms.set(name, { messages: [], unread: 0, people: [], count: 0, typing: new Map(), hole: false });
  return rooms.get(name);
}

/** Takes a message in at its place. The same id twice is one message. */
function take(room, message) {
  const list = roomOf(room).messages;
  if (message.id && list.some((held) => held.id === message.id)) return;
  let at = list.length;
  while (at > 0 && message.id && (!list[at - 1].id || isAfter(list[at - 1].id, message.id))) at -= 1;
  list.splice(at, 0, message);
  if (list.length > KEPT) list.shift();
}

/** Our own message comes back to us: it is the one that waits, not another. */
function adopt(room, message) {
  const list = roomOf(room).messages;
  const mine = list.find((held) => held.fate === "waiting" && held.text === message.text && !held.id);
  if (!mine || (message.from && me && message.from !== me)) return false;
  list.splice(list.indexOf(mine), 1);
  Object.assign(mine, { id: message.id, time: message.time, from: message.from });
  if (!message.id) mine.fate = "sent"; // a server without ids proves delivery by the echo alone
  take(room, mine);
  return true;
}

function newestId(room) {
  return roomOf(room).messages.findLast((held) => held.id)?.id;
}

// ---- showing it ----

const FATES = { waiting: "sending…", sent: "✓ in the log", queued: "waits for the connection" };

function rowOf(message) {
  const row = element("li", "said");
  row.classList.toggle("mine", Boolean(message.mine));
  row.classList.toggle("missed", Boolean(message.missed));
  const head = element("div", "head");
  if (!message.mine && message.from) head.append(element("b", "", message.from));
  const time = element("time", "", new Date(message.time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }));
  time.dateTime = new Date(message.time).toISOString();
  if (message.id) time.title = message.id;
  head.append(time);
  row.append(head, element("div", "text", message.text));
  if (message.fate) {
    row.classList.add(message.fate === "queued" ? "waiting" : message.fate);
    const fate = element("div", "fate", FATES[message.fate] ?? message.why);
    if (message.fate === "failed") {
      const again = element("button", "", "Send again");
      again.type = "button";
      again.addEventListener("click", () => send(message));
      fate.append(again);
    }
    row.append(fate);
  }
  return row;
}

/** Lays the room's messages out anew, reusing the rows of those that have not changed, so that only news is read out. */
const laid = new Map();
function show() {
  const room = roomOf(current);
  const wanted = [];
  let missedBefore = false;
  for (const message of room.messages) {
    if (message.missed && !missedBefore) {
      wanted.push(rule(`missed ${message.id ?? ""}`, room.hole ? "While you were away, more than is shown here" : "While you were away"));
    }
    missedBefore = Boolean(message.missed);
    const look = `${message.fate} ${message.id} ${message.missed} ${message.why}`;
    const held = laid.get(message);
    const row = held?.look === look ? held.row : rowOf(message);
    laid.set(message, { look, row });
    wanted.push(row);
  }
  const list = part("messages");
  for (const row of [...list.children]) if (!wanted.includes(row)) row.remove();
  wanted.forEach((row, at) => {
    if (list.children[at] !== row) list.insertBefore(row, list.children[at] ?? null);
  });
  for (const message of laid.keys()) if (!room.messages.includes(message)) laid.delete(message);
  if (following) toEnd();
}

// The end of the talk stays in sight, whatever grows or shrinks, until the reader scrolls up.
let following = true;
function toEnd() {
  following = true;
  part("scroll").scrollTop = part("scroll").scrollHeight;
}
part("scroll").addEventListener("scroll", () => {
  const { scrollHeight, scrollTop, clientHeight } = part("scroll");
  following = scrollHeight - scrollTop - clientHeight < 60;
});
new ResizeObserver(() => following && toEnd()).observe(part("scroll"));

function rule(key, text) {
  const held = laid.get(key);
  if (held?.look === text) return held.row;
  const row = element("li", "rule", text);
  laid.set(key, { look: text, row });
  return row;
}

function showRooms() {
  const names = [...rooms.keys()];
  part("rooms").replaceChildren(...names.map((name) => {
    const row = element("li");
    const go = element("button", "go", name);
    go.type = "button";
    if (name === current) go.setAttribute("aria-current", "true");
    const { unread } = rooms.get(name);
    if (unread) {
      const badge = element("b", "", String(unread));
      badge.append(element("span", "unseen", " unread"));
      go.append(" ", badge);
    }
    go.addEventListener("click", () => enter(name));
    row.append(go);
    if (name !== FIRST_ROOM) {
      const out = element("button", "out", "×");
      out.type = "button";
      out.setAttribute("aria-label", `Leave ${name}`);
      out.addEventListener("click", () => quit(name));
      row.append(out);
    }
    return row;
  }));
  const { people, count } = roomOf(current);
  const rows = people.map((name) => element("li", "", name + (name === me ? " (you)" : "")));
  if (count > people.length) rows.push(element("li", "more soft", people.length ? `and ${count - people.length} more` : `${count} people`));
  part("people").replaceChildren(...rows);
  part("title").textContent = full ? current : "Chat";
  part("here").textContent = full && count ? `${count} here` : "";
  part("side").hidden = part("side-toggle").hidden = part("name").parentElement.hidden = !full;
}

function showTyping() {
  const names = [...roomOf(current).typing.keys()].filter((name) => name !== me);
  const text = names.length === 0 ? "" : names.length > 3 ? "Several people are typing…" : `${names.join(", ")} ${names.length > 1 ? "are" : "is"} typing…`;
  if (part("typing").textContent !== text) part("typing").textContent = text;
}

function showState(state, word, trouble) {
  part("state").dataset.state = state;
  part("state").textContent = word;
  part("trouble").textContent = trouble ?? "";
  part("trouble").hidden = !trouble;
}

// ---- speaking ----

let socket = null;

/** Emits, and gives what the server acked: `{ok, …}`, or `{ok: false, error}` when it stays silent. */
function ask(within, ...args) {
  return new Promise((resolve) => {
    socket.timeout(within).emit(...args, (error, answer) => {
      resolve(error ? { ok: false, silent: true, error: { message: "not confirmed" } } : (answer ?? { ok: true }));
    });
  });
}

/** A key for a message: however often it is sent, it is stored once. `crypto.randomUUID` needs a page that came by TLS. */
function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function send(message) {
  if (!socket?.connected) {
    message.fate = "queued";
    show();
    return;
  }
  message.fate = "waiting";
  delete message.why;
  show();
  const answer = await ask(ACK_WITHIN, "chat message", message.text, message.key);
  if (answer.ok) {
    message.fate = "sent";
    if (answer.id && message.id && message.id !== answer.id) {
      // Somebody said the very same under our name in between: what we adopted was theirs.
      take(message.room, { ...message, fate: undefined, mine: false });
    }
    message.id = answer.id ?? message.id;
  } else if (message.id) {
    message.fate = "sent"; // the ack was lost with a connection, and the message itself has come back to us
  } else if (message.fate === "waiting") {
    message.fate = "failed";
    message.why = answer.error?.message ?? "refused";
  }
  show();
}

async function join(name, { quietly = false } = {}) {
  const since = newestId(name);
  const answer = await ask(JOIN_WITHIN, "join", name);
  if (!answer.ok) {
    if (!answer.silent) showState("live", "connected", `Cannot enter ${name}: ${answer.error?.message ?? "refused"}`);
    else if (!full) showRooms();
    return false;
  }
  full = true;
  const room = roomOf(name);
  setPeople(name, answer);
  const messages = (answer.messages ?? []).map(fromHistory);
  const news = since ? messages.filter(({ id }) => isAfter(id, since)) : [];
  // All of the history is newer than what we last saw: something may lie between.
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
  current = name;
  const room = roomOf(name);
  room.unread = 0;
  if (!known) memory.set("trident.rooms", JSON.stringify([...rooms.keys()]));
  part("side").removeAttribute("data-open");
  part("side-toggle").setAttribute("aria-expanded", "false");
  showRooms();
  showTyping();
  show();
  toEnd();
}

async function quit(name) {
  await ask(ACK_WITHIN, "leave", name);
  rooms.delete(name);
  memory.set("trident.rooms", JSON.stringify([...rooms.keys()]));
  if (current === name) await enter(FIRST_ROOM);
  showRooms();
}

// ---- listening ----

function setPeople(name, { members, count }) {
  const room = roomOf(name);
  room.people = Array.isArray(members) ? members.map(nameOf) : [];
  room.count = count ?? (typeof members === "number" ? members : room.people.length);
}

/** A stored message as the log holds it, or as `[text, meta]`. */
function fromHistory(entry) {
  const [data, meta] = Array.isArray(entry) ? entry : [entry.data ?? entry.text, entry.meta ?? entry];
  return { id: meta.id, time: meta.time, from: nameOf(meta.from), text: textOf(data), mine: Boolean(me) && nameOf(meta.from) === me };
}

// A message that is older than the connection was missed: it comes after the connection is there, not before. Clocks may differ, so the
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
  const room = meta.room ?? current;
  const from = nameOf(meta.from);
  const message = { id: meta.id, time: meta.time ?? Date.now(), from, text: textOf(data), missed: isMissed(meta) };
  roomOf(room).typing.delete(from);
  if (!adopt(room, message)) take(room, message);
  if (room === current) {
    show();
    showTyping();
  } else {
    roomOf(room).unread += 1;
    showRooms();
  }
}

function onTyping(a, b = {}) {
  const told = typeof a === "object" ? a : { typing: a, ...b };
  const { typing } = roomOf(told.room ?? current);
  const name = nameOf(told.from ?? told.name);
  clearTimeout(typing.get(name));
  typing.delete(name);
  if (name && told.typing) typing.set(name, setTimeout(() => { typing.delete(name); showTyping(); }, TYPING_FADES));
  showTyping();
}

async function onConnect() {
  showState("live", "connected");
  connections += 1;
  connectedAt = Date.now();
  if (!socket.recovered) {
    if (me) {
      const answer = await ask(JOIN_WITHIN, "name", me);
      if (!answer.ok && !answer.silent) showState("live", "connected", `The name ${me} is not to be had: ${answer.error?.message}`);
    }
    // The current room last, so that it is the one we speak in.
    for (const name of [...rooms.keys()].filter((name) => name !== current)) await join(name, { quietly: true });
    await join(current, { quietly: true });
  }
  showRooms();
  show();
  for (const { messages } of rooms.values()) {
    for (const message of messages.filter(({ fate }) => fate === "queued")) await send(message);
  }
}

function onDisconnect(reason) {
  for (const room of rooms.values()) room.typing.clear();
  showTyping();
  // The client comes back by itself unless the server sent it away; then we ask again, a little later.
  if (reason === "io server disconnect") setTimeout(() => socket.connect(), 2_000 + Math.random() * 2_000);
  showState("down", "away", "The connection is lost. Trying again; what you write waits here.");
}

/** The rooms of the last visit. What lies in the storage may be anything. */
function remembered() {
  try {
    const names = JSON.parse(memory.get("trident.rooms") ?? "[]");
    return Array.isArray(names) ? names.filter((name) => typeof name === "string") : [];
  } catch {
    return [];
  }
}

function start() {
  if (typeof globalThis.io !== "function") {
    showState("down", "no client", "The Socket.IO client could not be loaded from /socket.io/socket.io.js.");
    return;
  }
  // In the folder of this page, also behind a proxy that serves it under a prefix.
  socket = globalThis.io({ path: new URL("socket.io/", location.href).pathname });
  socket.on("connect", onConnect);
  socket.on("disconnect", onDisconnect);
  socket.on("connect_error", (error) => showState("down", "away", `No connection (${error.message}). ${socket.active ? "Trying again." : ""}`));
  socket.on("chat message", onMessage);
  socket.on("typing", onTyping);
  socket.on("presence", (told) => {
    setPeople(told.room ?? current, told);
    showRooms();
  });
}

// A browser keeps a page that is left only if it holds no connection. The session stays: shown again, the page has what it missed.
addEventListener("pagehide", () => socket?.io.engine?.close());

// ---- the form ----

part("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = part("text").value.trim();
  if (!text) return;
  const message = { text, room: current, time: Date.now(), mine: true, from: me, fate: "queued", key: newKey() };
  take(current, message);
  part("text").value = "";
  typed(false);
  send(message);
  toEnd();
});

let lastTyped = 0;
let typingEnds;
function typed(typing) {
  clearTimeout(typingEnds);
  if (!full || !socket?.connected) return;
  if (typing) typingEnds = setTimeout(() => typed(false), TYPING_FADES - 1_000);
  if (typing ? Date.now() - lastTyped < TYPING_EVERY : lastTyped === 0) return;
  lastTyped = typing ? Date.now() : 0;
  socket.volatile.emit("typing", typing);
}
part("text").addEventListener("input", () => typed(part("text").value !== ""));

part("name").value = me;
part("name").addEventListener("change", async () => {
  const wanted = part("name").value.trim();
  if (!wanted) return;
  if (!socket?.connected) {
    me = wanted; // told when the connection is there
    return;
  }
  const answer = await ask(ACK_WITHIN, "name", wanted);
  if (!answer.ok) {
    showState("live", "connected", `That name is not to be had: ${answer.error?.message}`);
    part("name").value = me;
    return;
  }
  showState("live", "connected");
  me = answer.name ?? wanted;
  memory.set("trident.name", me);
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

// Served at the root of its own service this page has no sisters to link to.
part("nav").hidden = !location.pathname.endsWith("/chat");
roomOf(FIRST_ROOM);
for (const name of remembered()) roomOf(name);
showRooms();
start();
