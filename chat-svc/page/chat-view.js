// What the page shows of its rooms. Buttons call the actions that `bind` was given.

import { currentLanguage, inEveryLanguage, say, sayApart, setText } from "./page.js";
import { FIRST_ROOM, roomOf, rooms, session } from "./chat-rooms.js";

export const part = (id) => document.getElementById(id);

let actions = {};

/** `{send(message), enter(room), leave(room)}`. Shows everything, again for each language. */
export function bind(given) {
  actions = given;
  inEveryLanguage(() => {
    laid.clear();
    showRooms();
    showMessages();
    showTyping();
  });
}

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.append(...[text].flat());
  return made;
}

function button(className, text, act) {
  const made = element("button", className, text);
  made.type = "button";
  made.addEventListener("click", act);
  return made;
}

// ---- messages ----

function rowOf(message) {
  const row = element("li", "said");
  row.classList.toggle("mine", Boolean(message.mine));
  row.classList.toggle("missed", Boolean(message.missed));
  const head = element("div", "head");
  if (!message.mine && message.from) head.append(element("b", "", message.from));
  const time = element("time", "", new Date(message.time).toLocaleTimeString(currentLanguage(), { hour: "2-digit", minute: "2-digit" }));
  time.dateTime = new Date(message.time).toISOString();
  if (message.id) time.title = message.id;
  head.append(time);
  row.append(head, element("div", "text", message.text));
  if (message.fate) {
    row.classList.add(message.fate === "queued" ? "waiting" : message.fate);
    const fate = element("div", "fate", message.fate === "failed" ? message.why() : say(`fate.${message.fate}`));
    if (message.fate === "failed") fate.append(button("", say("send.again"), () => actions.send(message)));
    row.append(fate);
  }
  return row;
}

function rule(key, text) {
  const known = laid.get(key);
  if (known?.look === text) return known.row;
  const row = element("li", "rule", text);
  laid.set(key, { look: text, row });
  return row;
}

/** Makes `rows` the children of `list`. What is there already stays where it is, with the focus that it may have. */
function lay(list, rows) {
  const wanted = new Set(rows);
  for (const row of [...list.children]) if (!wanted.has(row)) row.remove();
  let next = list.firstElementChild;
  for (const row of rows) {
    if (row === next) next = next.nextElementSibling;
    else list.insertBefore(row, next);
  }
}

/** Once for all messages that arrive before the page is drawn. */
let frame;
export function showMessages() {
  frame ??= requestAnimationFrame(layMessages);
}

/** Message or key of a rule → its row. Unchanged rows are used again, so that a screen reader reads only new ones. */
const laid = new Map();
function layMessages() {
  frame = undefined;
  const room = roomOf(session.current);
  const wanted = [];
  let missedBefore = false;
  for (const message of room.messages) {
    if (message.missed && !missedBefore) wanted.push(rule(`missed ${message.id ?? ""}`, say(room.hole ? "away.hole" : "away")));
    missedBefore = Boolean(message.missed);
    const look = `${message.fate} ${message.id} ${message.missed} ${message.why?.()}`;
    const known = laid.get(message);
    const row = known?.look === look ? known.row : rowOf(message);
    laid.set(message, { look, row });
    wanted.push(row);
  }
  lay(part("messages"), wanted);
  const shown = new Set(room.messages);
  for (const message of laid.keys()) if (typeof message !== "string" && !shown.has(message)) laid.delete(message);
  if (following) toEnd();
}

// The newest message stays in sight, whatever grows or shrinks, until the reader scrolls up.
let following = true;
export function toEnd() {
  following = true;
  part("scroll").scrollTop = part("scroll").scrollHeight;
}
part("scroll").addEventListener("scroll", () => {
  const { scrollHeight, scrollTop, clientHeight } = part("scroll");
  following = scrollHeight - scrollTop - clientHeight < 60;
});
new ResizeObserver(() => following && toEnd()).observe(part("scroll"));

// ---- rooms, people, typing ----

/** Name of a room → its row. A row stays the same, because its buttons may have the focus. */
const roomRows = new Map();

function roomRow(name) {
  let row = roomRows.get(name);
  if (!row) {
    row = element("li");
    row.append(button("go", "", () => actions.enter(name)));
    if (name !== FIRST_ROOM) row.append(button("out", "×", () => actions.leave(name)));
    roomRows.set(name, row);
  }
  const [go, leave] = row.children;
  const { unread } = rooms.get(name);
  go.replaceChildren(name);
  if (unread) {
    const badge = element("b", "", String(unread));
    badge.append(element("span", "unseen", ` ${say("unread")}`));
    go.append(" ", badge);
  }
  if (name === session.current) go.setAttribute("aria-current", "true");
  else go.removeAttribute("aria-current");
  leave?.setAttribute("aria-label", say("leave", { room: name }));
  return row;
}

export function showRooms() {
  const { current, hasRooms, me } = session;
  lay(part("rooms"), [...rooms.keys()].map(roomRow));
  for (const name of roomRows.keys()) if (!rooms.has(name)) roomRows.delete(name);
  const { people, count } = roomOf(current);
  const rows = people.map((name) => element("li", "", [element("span", "", name === me ? sayApart("you", { name }) : name)]));
  if (count > people.length) rows.push(element("li", "more soft", people.length ? say("more", { count: count - people.length }) : say("count", { count })));
  part("people").replaceChildren(...rows);
  part("title").textContent = hasRooms ? current : say("chat");
  part("here").textContent = hasRooms && count ? say("here", { count }) : "";
  part("side").hidden = part("side-toggle").hidden = part("name").parentElement.hidden = !hasRooms;
}

export function showTyping() {
  const names = [...roomOf(session.current).typing.keys()].filter((name) => name !== session.me);
  const word = names.length > 3 ? "typing.many" : names.length > 1 ? "typing.few" : "typing.one";
  setText(part("typing"), () => (names.length === 0 ? "" : sayApart(word, { names })));
}

// ---- the connection ----

/** `state` is `wait`, `live` or `down`; `trouble` gives a sentence in the language of the page, or its parts. */
export function showState(state, word, trouble = () => "") {
  part("state").dataset.state = state;
  setText(part("state"), () => say(word));
  setText(part("trouble"), trouble);
  part("trouble").hidden = !trouble();
}

/** The transport in use, and whether WebSocket was tried in vain. */
export function showTransport(name, isBlocked) {
  setText(part("via"), () => (name ? say(`via.${name}`) : ""));
  setText(part("blocked"), () => (isBlocked ? say("blocked") : ""));
}
