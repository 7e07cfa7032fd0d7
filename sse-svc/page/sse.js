// The SSE page: one EventSource, everything it tells shown as it is told.

const SHOWN = 120; // rows kept in the log

const WORDS = [
  "Connecting: the browser has asked, or is waiting to ask again.",
  "Open: events come in.",
  "Closed: the browser will not come back by itself.",
];

const part = (id) => document.getElementById(id);
const clock = (ms) => new Date(ms).toLocaleTimeString([], { hour12: false });
const counts = { events: 0, opened: 0, errors: 0, gaps: 0 };

/** The EventSource of this page, if it has one. */
let source = null;
/** What `readyState` is, or is said to be by the page that is connected. */
let state = 2;
let lastId = "";

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

const note = (kind, text) => row(`note ${kind}`, ["span", text], ["time", clock(Date.now())]);

/** Shows `readyState` as number and in words, and which buttons make sense now. */
function show() {
  for (const step of document.querySelectorAll("[data-step]")) step.toggleAttribute("data-now", Number(step.dataset.step) === state);
  if (part("state").textContent !== WORDS[state]) part("state").textContent = WORDS[state];
  part("clock").parentElement.toggleAttribute("data-stale", state !== 1);
  part("close").disabled = state === 2;
  part("resume").disabled = state !== 2 || !lastId;
  part("fresh").disabled = state !== 2;
}

/** Ids are `<milliseconds>-<sequence>`: compared as two numbers. */
function isAfter(a, b) {
  const [[aTime, aSequence], [bTime, bSequence]] = [a, b].map((id) => id.split("-").map(Number));
  return aTime === bTime ? aSequence > bSequence : aTime > bTime;
}

/** Shows what an EventSource told: `{kind, state, id, data}`. */
function happened({ kind, state: now, id, data }) {
  if (kind === "message" && lastId && id && !isAfter(id, lastId)) return;
  state = now;
  if (id) {
    lastId = id;
    part("last-id").textContent = id;
  }
  if (kind === "open") {
    count("opened");
    note("", lastId ? "open again" : "open");
  } else if (kind === "message") {
    count("events");
    part("clock").textContent = data;
    const second = Number(/(\d+)\s*$/.exec(data)?.[1] ?? 0);
    part("hand").setAttribute("stroke-dasharray", `${second} 60`);
    row("", ["b", data], ["code", id], ["time", clock(Number(id.split("-", 1)[0]))]);
  } else if (kind === "gap") {
    // The server's own event: the log no longer holds what followed our id.
    count("gaps");
    const { requested, resumed } = JSON.parse(data);
    note("gap", `Gap: what followed ${requested} is no longer held; going on after ${resumed}.`);
  } else if (kind === "error") {
    // The browser tells nothing about an error but that there was one; readyState says whether it goes on trying.
    count("errors");
    note("error", state === EventSource.CLOSED ? "error: given up" : "error: connection lost, trying again");
  }
  show();
}

/** Opens an EventSource, and hands on what it tells. */
function open(url, hear = happened) {
  const opened = new EventSource(url);
  const tell = (kind) => (event) => hear({ kind, state: opened.readyState, id: event.lastEventId ?? "", data: event.data });
  opened.onopen = tell("open");
  opened.onmessage = tell("message");
  opened.addEventListener("gap", tell("gap"));
  opened.onerror = tell("error");
  return opened;
}

const after = (id) => (id ? `events?since=${encodeURIComponent(id)}` : "events");

// ---- one connection for all windows of a browser ----
// Six connections to a host are all that a browser opens by HTTP/1.1. So the page that has the lock connects, and the others show
// what it hands on. When it goes, another has the lock.

const SHARED = `trident ${location.pathname}`;
/** Ends what `connect` began. */
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
  // What a page missed while it was hidden it asks for itself, until it has what is being handed on.
  let newest = "";
  let own = null;
  const caughtUp = () => {
    own?.close();
    own = null;
  };
  signal.addEventListener("abort", caughtUp);
  peers.onmessage = ({ data: told }) => {
    if (isLeading) {
      if (told === "state?") peers.postMessage({ kind: "state", state, id: "" });
    } else if (told !== "state?") {
      if (own && told.id) newest = told.id;
      else happened(told);
    }
  };
  const lead = () => {
    if (signal.aborted) return undefined;
    isLeading = true;
    caughtUp();
    source = open(after(lastId), (told) => {
      happened(told);
      peers.postMessage(told);
    });
    return new Promise((done) => signal.addEventListener("abort", done));
  };
  const follow = () => {
    if (signal.aborted) return;
    note("", "another window of this browser is connected, and hands on what comes");
    peers.postMessage("state?");
    if (lastId) {
      own = open(after(lastId), (told) => {
        if (told.kind === "error" || told.kind === "open") return;
        happened(told);
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

// A hidden page gives its connection back, and so does one that is left: browsers keep a page without one, to show it again at once.
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
  note("", "closed by you");
});
// A new EventSource knows nothing of the old one's id, so it says it in the query.
part("resume").addEventListener("click", () => reopen());
part("fresh").addEventListener("click", () => {
  lastId = "";
  reopen();
});
function reopen() {
  isClosed = false;
  settle();
}

life.abort();
settle();

// Served at the root of its own service this page has no sisters to link to.
part("nav").hidden = !location.pathname.endsWith("/sse");
