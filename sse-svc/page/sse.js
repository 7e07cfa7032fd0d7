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

let source = null;
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
  const state = source?.readyState ?? 2;
  for (const step of document.querySelectorAll("[data-step]")) step.toggleAttribute("data-now", Number(step.dataset.step) === state);
  if (part("state").textContent !== WORDS[state]) part("state").textContent = WORDS[state];
  part("clock").parentElement.toggleAttribute("data-stale", state !== 1);
  part("close").disabled = state === 2;
  part("resume").disabled = state !== 2 || !lastId;
  part("fresh").disabled = state !== 2;
}

function remember(event) {
  if (!event.lastEventId) return;
  lastId = event.lastEventId;
  part("last-id").textContent = lastId;
}

function open(url) {
  source = new EventSource(url);
  show();

  source.onopen = () => {
    count("opened");
    note("", lastId ? "open again" : "open");
    show();
  };

  source.onmessage = (event) => {
    remember(event);
    count("events");
    part("clock").textContent = event.data;
    const second = Number(/(\d+)\s*$/.exec(event.data)?.[1] ?? 0);
    part("hand").setAttribute("stroke-dasharray", `${second} 60`);
    row("", ["b", event.data], ["code", event.lastEventId], ["time", clock(Number(event.lastEventId.split("-", 1)[0]))]);
    show();
  };

  // The server's own event: the log no longer holds what followed our id.
  source.addEventListener("gap", (event) => {
    remember(event);
    count("gaps");
    const { requested, resumed } = JSON.parse(event.data);
    note("gap", `Gap: what followed ${requested} is no longer held; going on after ${resumed}.`);
  });

  // The browser tells nothing about an error but that there was one; readyState says whether it goes on trying.
  source.onerror = () => {
    count("errors");
    note("error", source.readyState === EventSource.CLOSED ? "error: given up" : "error: connection lost, trying again");
    show();
  };
}

part("close").addEventListener("click", () => {
  source.close();
  note("", "closed by you");
  show();
});
// A new EventSource knows nothing of the old one's id, so it says it in the query.
part("resume").addEventListener("click", () => open(`events?since=${encodeURIComponent(lastId)}`));
part("fresh").addEventListener("click", () => open("events"));

open("events");

// Served at the root of its own service this page has no sisters to link to.
part("nav").hidden = !location.pathname.endsWith("/sse");
