// The page of server-sent events: one EventSource, and everything that it reports.

import "./sse-text.js";
import { isReachable, say, setText, startPage } from "./page.js";

const SHOWN = 120; // rows kept in the log

const part = (id) => document.getElementById(id);
const clock = (ms) => new Date(ms).toLocaleTimeString([], { hour12: false });
const counts = { events: 0, opened: 0, errors: 0, gaps: 0 };

/** The EventSource of this page, if it has one. */
let source = null;
/** `readyState` of the EventSource, or of that in the window that has the connection. */
let state = 2;
let lastId = "";
/** Whether the last error came from a server that does not answer. */
let isUnreachable = false;

function count(name) {
  part(`count-${name}`).textContent = String(++counts[name]);
}

/** A row of the log: cells as [element name, text]. */
function row(kind, ...cells) {
  const item = document.createElement("li");
  if (kind) item.className = kind;
  for (const [name, text] of cells) {
    const cell = document.createElement(name);
    cell.textContent = text;
    item.append(cell);
  }
  part("log").prepend(item);
  while (part("log").childElementCount > SHOWN) part("log").lastElementChild.remove();
}

/** A remark in the log, in the language of the page. */
function note(kind, text) {
  row(`note ${kind}`, ["span", ""], ["time", clock(Date.now())]);
  setText(part("log").firstElementChild.firstElementChild, text);
}

/** Shows `readyState` as a number and in words, and enables the buttons that apply. */
function show() {
  for (const step of document.querySelectorAll("[data-step]")) step.toggleAttribute("data-now", Number(step.dataset.step) === state);
  setText(part("state"), () => say(state !== 1 && isUnreachable ? "unreachable" : `state.${state}`));
  setText(part("last-id"), () => lastId || say("none"));
  part("clock").parentElement.toggleAttribute("data-stale", state !== 1);
  part("close").disabled = state === 2;
  part("resume").disabled = state !== 2 || !lastId;
  part("fresh").disabled = state !== 2;
  // The one primary action is the one that applies.
  part("close").classList.toggle("main", state !== 2);
  part("resume").classList.toggle("main", state === 2 && lastId !== "");
  part("fresh").classList.toggle("main", state === 2 && lastId === "");
}

/** An EventSource does not say why it failed. A separate request finds out whether the server answers. */
async function findOut() {
  const is = !(await isReachable("events"));
  if (state === 1) return;
  isUnreachable = is;
  show();
}

/** Ids are `<milliseconds>-<sequence>`: compared as two numbers. */
function isAfter(a, b) {
  const [[aTime, aSequence], [bTime, bSequence]] = [a, b].map((id) => id.split("-").map(Number));
  return aTime === bTime ? aSequence > bSequence : aTime > bTime;
}

/** Shows an event of the EventSource: `{kind, state, id, data}`. */
function happened({ kind, state: now, id, data }) {
  if (kind === "message" && lastId && id && !isAfter(id, lastId)) return;
  const isAgain = lastId !== "";
  state = now;
  if (state === 1) isUnreachable = false;
  if (id) lastId = id;
  if (kind === "open") {
    count("opened");
    note("", () => say(isAgain ? "note.again" : "note.open"));
  } else if (kind === "message") {
    count("events");
    part("clock").textContent = data;
    const second = Number(/(\d+)\s*$/.exec(data)?.[1] ?? 0);
    part("hand").setAttribute("stroke-dasharray", `${second} 60`);
    row("", ["b", data], ["code", id], ["time", clock(Number(id.split("-", 1)[0]))]);
  } else if (kind === "gap") {
    // An event of the server: messages after our id have expired.
    count("gaps");
    const values = JSON.parse(data);
    note("gap", () => say("note.gap", values));
  } else if (kind === "error") {
    // The browser gives no reason. Its readyState says whether it reconnects.
    count("errors");
    const isOver = state === EventSource.CLOSED;
    note("error", () => say(isOver ? "note.over" : "note.lost"));
    if (isOver) giveUp();
    else findOut();
  }
  show();
}

/** Opens an EventSource, and passes on its events. */
function open(url, hear = happened) {
  const opened = new EventSource(url);
  const pass = (kind) => (event) => hear({ kind, state: opened.readyState, id: event.lastEventId ?? "", data: event.data });
  opened.onopen = pass("open");
  opened.onmessage = pass("message");
  opened.addEventListener("gap", pass("gap"));
  opened.onerror = pass("error");
  return opened;
}

const after = (id) => (id ? `events?since=${encodeURIComponent(id)}` : "events");

// ---- one connection for all windows of a browser ----
// A browser opens at most six connections to a host over HTTP/1.1. So the window with the lock connects, and the others show the
// events that it passes on. When it closes, another window gets the lock.

const SHARED = `trident ${location.pathname}`;
/** Aborted to end the connection. */
let life = new AbortController();

function connect() {
  life = new AbortController();
  const { signal } = life;
  state = 0;
  show();
  if (!navigator.locks || !globalThis.BroadcastChannel) {
    source = open(after(lastId));
    return;
  }
  const peers = new BroadcastChannel(SHARED);
  signal.addEventListener("abort", () => peers.close());
  let isLeading = false;
  // A page that was hidden requests the messages that it missed by itself, until it reaches those that are passed on.
  let newest = "";
  let own = null;
  const caughtUp = () => {
    own?.close();
    own = null;
  };
  signal.addEventListener("abort", caughtUp);
  peers.onmessage = ({ data: passed }) => {
    if (isLeading) {
      if (passed === "state?") peers.postMessage({ kind: "state", state, id: "" });
    } else if (passed !== "state?") {
      if (own && passed.id) newest = passed.id;
      else happened(passed);
    }
  };
  const lead = () => {
    if (signal.aborted) return undefined;
    isLeading = true;
    caughtUp();
    source = open(after(lastId), (passed) => {
      // Another window gets the lock, and finds out by itself.
      peers.postMessage(passed.state === EventSource.CLOSED ? { ...passed, state: 0 } : passed);
      happened(passed);
    });
    return new Promise((done) => signal.addEventListener("abort", done));
  };
  const follow = () => {
    if (signal.aborted) return;
    note("", () => say("note.shared"));
    peers.postMessage("state?");
    if (lastId) {
      own = open(after(lastId), (passed) => {
        if (passed.state === EventSource.CLOSED) caughtUp();
        if (passed.kind === "error" || passed.kind === "open") return;
        happened(passed);
        if (newest && !isAfter(newest, lastId)) caughtUp();
      });
    }
    navigator.locks.request(SHARED, { signal }, lead).catch(() => {});
  };
  navigator.locks.request(SHARED, { ifAvailable: true }, (lock) => (lock ? lead() : follow())).catch(() => {});
}

function disconnect() {
  life.abort();
  source?.close();
  source = null;
  state = 2;
  show();
}

/** The browser does not reconnect: it was answered by something else than an event stream. */
async function giveUp() {
  disconnect();
  const isAway = !(await isReachable("events"));
  if (!life.signal.aborted) return;
  isUnreachable = isAway;
  show();
  // What refuses for a reason of its own does so again. A server that is away returns, and not for all pages at once.
  if (isAway) setTimeout(settle, 2_000 + Math.random() * 2_000);
  else isClosed = true;
}

// A hidden page closes its connection, and so does one that is left: browsers store a page without connections and show it again at once.
let isClosed = false;
let isLeft = false;
function settle() {
  const isWanted = !isClosed && !isLeft && !document.hidden;
  if (isWanted === !life.signal.aborted) return;
  if (isWanted) connect();
  else disconnect();
}
document.addEventListener("visibilitychange", settle);
for (const [event, left] of [["pagehide", true], ["pageshow", false]]) {
  addEventListener(event, () => {
    isLeft = left;
    settle();
  });
}

part("close").addEventListener("click", () => {
  isClosed = true;
  settle();
  note("", () => say("note.closed"));
});
// A new EventSource does not know the id of the old one, so the query names it.
part("resume").addEventListener("click", () => reopen());
part("fresh").addEventListener("click", () => {
  lastId = "";
  reopen();
});
function reopen() {
  isClosed = false;
  settle();
}

startPage();
life.abort();
settle();
