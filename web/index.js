// The start page: the three transports live, side by side, and all that they bring in one table by id.

const TAPE = 60; // rows kept in the table
const BARS = 30;

const part = (id) => document.getElementById(id);
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function state(which, kind, word) {
  const pill = part(`${which}-state`);
  pill.dataset.state = kind;
  if (pill.textContent !== word) pill.textContent = word;
}

/** Ids are `<milliseconds>-<sequence>`: compared as two numbers. */
function isAfter(a, b) {
  const [aTime, aSequence] = a.split("-").map(Number);
  const [bTime, bSequence] = b.split("-").map(Number);
  return aTime === bTime ? aSequence > bSequence : aTime > bTime;
}

/** Puts a row where its id belongs: three connections do not keep step to the millisecond. */
function tape(kind, id, channel, by, data) {
  const row = document.createElement("tr");
  row.className = kind;
  row.dataset.id = id;
  for (const text of [id, channel, by, data]) row.insertCell().textContent = text;
  const below = [...part("tape").rows].find((held) => !isAfter(held.dataset.id, id)) ?? null;
  part("tape").insertBefore(row, below);
  while (part("tape").rows.length > TAPE) part("tape").rows[TAPE].remove();
}

// ---- comet: one long poll after the other, the cursor in the ETag ----

let etag = "";
let asking = null;

async function comet() {
  asking = new AbortController();
  const { signal } = asking;
  let failures = 0;
  while (!signal.aborted) {
    try {
      const response = await fetch("data", { signal, cache: "no-store", headers: etag ? { "If-None-Match": etag } : {} });
      if (!response.ok && response.status !== 304) throw new Error(`answered ${response.status}`);
      const resumed = response.headers.get("Trident-Gap");
      if (resumed) tape("note", resumed, "random", "Comet", "gap: something before this is no longer held");
      etag = response.headers.get("ETag") ?? etag;
      if (response.status === 200) showCode(etag.replace(/^W\//, "").replaceAll('"', ""), (await response.json()).code);
      state("comet", "live", "live");
      failures = 0;
    } catch {
      if (signal.aborted) return;
      state("comet", "down", "away");
      await sleep(Math.min(15_000, 500 * 2 ** ++failures) * (0.5 + Math.random() / 2));
    }
  }
}

function showCode(id, code) {
  part("comet-value").textContent = String(Math.round(code * 100) / 100);
  const bar = document.createElement("span");
  bar.style.height = `${Math.max(2, Math.min(100, code))}%`;
  part("comet-sparks").append(bar);
  while (part("comet-sparks").childElementCount > BARS) part("comet-sparks").firstElementChild.remove();
  tape("comet", id, "random", "Comet", `{"code": ${Math.round(code * 100) / 100}}`);
}

// ---- SSE: the browser keeps the cursor ----

let source = null;
let lastId = "";

function sse() {
  source = new EventSource(lastId ? `events?since=${encodeURIComponent(lastId)}` : "events");
  source.onopen = () => state("sse", "live", "live");
  source.onerror = () => state("sse", "down", source.readyState === EventSource.CLOSED ? "closed" : "away");
  source.onmessage = (event) => {
    lastId = event.lastEventId;
    part("sse-value").textContent = event.data;
    const second = Number(/(\d+)\s*$/.exec(event.data)?.[1] ?? 0);
    part("minute").style.setProperty("--part", `${(second / 60) * 100}%`);
    tape("sse", lastId, "time", "SSE", event.data);
  };
  source.addEventListener("gap", (event) => {
    lastId = event.lastEventId;
    tape("note", lastId, "time", "SSE", "gap: something before this is no longer held");
  });
}

// ---- Socket.IO: both ways ----

function chat() {
  if (typeof globalThis.io !== "function") {
    state("chat", "down", "no client");
    return;
  }
  const socket = globalThis.io();
  socket.on("connect", () => state("chat", "live", "live"));
  socket.on("disconnect", () => state("chat", "down", "away"));
  socket.on("connect_error", () => state("chat", "down", "away"));
  socket.on("chat message", (data, meta = {}) => {
    const from = typeof meta.from === "object" ? meta.from?.name : meta.from;
    const text = typeof data === "string" ? data : JSON.stringify(data);
    const row = document.createElement("li");
    if (from) {
      const name = document.createElement("b");
      name.textContent = from;
      row.append(name);
    }
    row.append(text);
    part("said").append(row);
    while (part("said").childElementCount > 50) part("said").firstElementChild.remove();
    part("said").scrollTop = part("said").scrollHeight;
    if (meta.id) tape("chat", meta.id, `chat.${meta.room ?? "lobby"}`, "Socket.IO", text);
  });
  part("say").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = part("text").value.trim();
    if (!text) return;
    socket.emit("chat message", text);
    part("text").value = "";
  });
}

// A hidden tab gives its two long-lived requests back (a browser has six for each host) and goes on after its cursors.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    asking.abort();
    source.close();
    state("comet", "off", "hidden");
    state("sse", "off", "hidden");
  } else {
    comet();
    sse();
  }
});

const base = new URL(".", location.href).href;
part("curls").textContent = [`curl ${base}data`, `curl -N ${base}events`, `curl -N '${base}data?mode=stream'`].join("\n");
comet();
sse();
chat();
