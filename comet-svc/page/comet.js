// The comet page: one lane for each mode. A lane asks, takes what comes, moves its cursor and asks again.
// Everything that differs between the modes is in the three functions `poll`, `longPoll` and `stream`.

const POLL_EVERY = 2_000;
const SHOWN = 60; // rows kept in a lane's log
const WINDOW = 20_000; // milliseconds that a strip shows

/** An answer that is no message: its status, and what the server said about it. */
class Refused extends Error {
  constructor(status, code, message, retryAfter) {
    super(message);
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter;
  }

  static async from(response) {
    let said = {};
    try {
      said = (await response.json()).error ?? {};
    } catch {
      // A proxy's own page: the status has to do.
    }
    const wait = Number(response.headers.get("Retry-After"));
    return new Refused(response.status, said.code, said.message ?? `answered ${response.status}`, wait > 0 ? wait * 1_000 : 0);
  }
}

const sleep = (ms, signal) =>
  new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, ms);
    signal.addEventListener("abort", stop, { once: true });
  });

const timeOf = (id) => Number(id.split("-", 1)[0]);
const clock = (ms) => new Date(ms).toLocaleTimeString([], { hour12: false });
const query = (fields) => `data?${new URLSearchParams(Object.entries(fields).filter(([, value]) => value))}`;

/** Ask, take all that has gathered, rest, ask again. */
async function poll(lane, signal) {
  for (;;) {
    const done = lane.asks();
    const response = await fetch(query({ mode: "poll", format: "batch", channel: "random", since: lane.cursor }), { signal, cache: "no-store" });
    if (!response.ok) throw await Refused.from(response);
    const batch = await response.json();
    done();
    if (batch.gap) lane.gap(lane.cursor);
    for (const message of batch.messages) lane.message(message.id, message.data);
    if (batch.messages.length === 0) lane.empty();
    lane.moveTo(batch.cursor);
    lane.state("live", "resting");
    await obey(response, signal);
    await sleep(POLL_EVERY, signal);
  }
}

/** Ask and be kept waiting until there is one message. The cursor is the answer's ETag. */
async function longPoll(lane, signal) {
  for (;;) {
    const done = lane.asks();
    const headers = lane.cursor ? { "If-None-Match": `"${lane.cursor}"` } : {};
    const response = await fetch("data", { signal, headers, cache: "no-store" });
    const resumed = response.headers.get("Trident-Gap");
    if (resumed) lane.gap(lane.cursor, resumed);
    const cursor = response.headers.get("ETag")?.replace(/^W\//, "").replaceAll('"', "");
    if (response.status === 200) {
      lane.message(cursor, await response.json());
    } else if (response.status === 204 || response.status === 304) {
      lane.empty();
      // The server is shutting down.
      await sleep(1_000 * (Number(response.headers.get("Retry-After")) || 0), signal);
    } else {
      throw await Refused.from(response);
    }
    done();
    if (cursor) lane.moveTo(cursor);
    lane.state("live", "waiting");
    await obey(response, signal);
  }
}

/** Ask once and read lines for as long as the answer goes on. */
async function stream(lane, signal) {
  for (;;) {
    const done = lane.asks();
    const response = await fetch(query({ mode: "stream", format: "batch", channel: "random", since: lane.cursor }), { signal, cache: "no-store" });
    if (!response.ok) throw await Refused.from(response);
    lane.state("live", "open");
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    try {
      for (;;) {
        const { value, done: ended } = await reader.read();
        if (ended) break;
        const lines = (rest + value).split("\n");
        rest = lines.pop();
        for (const line of lines.filter(Boolean)) {
          const message = JSON.parse(line);
          if (message.gap) {
            lane.gap(message.gap.requested, message.gap.resumed);
            lane.moveTo(message.gap.resumed);
          } else {
            lane.message(message.id, message.data);
            lane.moveTo(message.id);
          }
        }
      }
    } finally {
      done();
    }
    // The server ends a stream now and then, so that clients spread again. Its cursor brings it back.
    lane.state("wait", "coming back");
    await sleep(250 + Math.random() * 750, signal);
  }
}

/** Between the moment the page is left and the one it is shown again. */
let isLeft = false;

/** Whatever the answer, the server may ask to wait before the next request: it does when it shuts down. */
async function obey(response, signal) {
  const seconds = Number(response.headers.get("Retry-After"));
  if (seconds > 0) await sleep(seconds * 1_000 * (1 + Math.random()), signal);
}

/** A column of the page and the loop behind it. */
class Lane {
  cursor = "";
  paused = false;
  counts = { requests: 0, messages: 0, empty: 0, gaps: 0 };
  spans = []; // requests as [from, to], `to` missing while it is open
  dots = []; // times at which messages came
  stopped = null;

  constructor(id, mode) {
    this.mode = mode;
    this.part = {};
    const root = document.getElementById(id);
    for (const element of root.querySelectorAll("[data-part]")) this.part[element.dataset.part] = element;
    for (const name of Object.keys(this.counts)) {
      const pair = document.createElement("div");
      const term = document.createElement("dt");
      term.textContent = name;
      this.part[name] = document.createElement("dd");
      this.part[name].textContent = "0";
      pair.append(term, this.part[name]);
      this.part.counts.append(pair);
    }
    this.part.pause.addEventListener("click", () => this.pause(!this.paused));
  }

  pause(paused) {
    this.paused = paused;
    this.part.pause.textContent = paused ? "Resume" : "Pause";
    this.part.pause.setAttribute("aria-pressed", String(paused));
    this.settle();
  }

  /** Runs the loop, or ends it, by the pause button and by whether anybody can see the page: a hidden tab gives its connections back. */
  settle() {
    const idle = this.paused || document.hidden || isLeft;
    if (idle && this.stopped) {
      this.stopped.abort();
      this.stopped = null;
    }
    if (idle) {
      this.state("off", this.paused ? "paused" : "hidden");
    } else if (!this.stopped) {
      this.stopped = new AbortController();
      this.state("wait", "asking");
      this.run(this.stopped.signal);
    }
  }

  async run(signal) {
    let failures = 0;
    for (;;) {
      const before = this.counts.messages;
      try {
        await this.mode(this, signal);
      } catch (error) {
        if (signal.aborted) return;
        this.closeSpans();
        failures = this.counts.messages > before ? 1 : failures + 1;
        if (error.code === "bad_cursor") {
          this.note(`The server refused the cursor ${this.cursor}: starting from now.`);
          this.cursor = "";
        }
        // Doubling, spread at random, so that a returning server does not meet everybody at once.
        const wait = Math.max(error.retryAfter ?? 0, Math.min(30_000, 500 * 2 ** failures) * (0.5 + Math.random() / 2));
        this.fail(`${error.message}. Next try in ${Math.ceil(wait / 1_000)} s.`);
        try {
          await sleep(wait, signal);
        } catch {
          return;
        }
      }
    }
  }

  /** A request goes out; call the returned function when its answer has ended. */
  asks() {
    const span = [Date.now()];
    this.spans.push(span);
    this.count("requests");
    return () => {
      span[1] ??= Date.now();
      this.part.error.hidden = true;
    };
  }

  closeSpans() {
    for (const span of this.spans) span[1] ??= Date.now();
  }

  message(id, data) {
    this.part.error.hidden = true;
    this.count("messages");
    this.dots.push(Date.now());
    const row = document.createElement("li");
    const value = document.createElement("b");
    value.textContent = typeof data?.code === "number" ? String(Math.round(data.code * 100) / 100) : JSON.stringify(data);
    const name = document.createElement("code");
    name.textContent = id;
    const time = document.createElement("time");
    time.dateTime = new Date(timeOf(id)).toISOString();
    time.textContent = clock(timeOf(id));
    row.append(value, name, time);
    this.add(row);
  }

  empty() {
    this.count("empty");
  }

  gap(requested, resumed) {
    this.count("gaps");
    this.note(`Gap: what followed ${requested || "the cursor"} is no longer held${resumed ? `; going on after ${resumed}` : ""}.`);
  }

  note(text) {
    const row = document.createElement("li");
    row.className = "note";
    row.textContent = text;
    this.add(row);
  }

  add(row) {
    this.part.log.prepend(row);
    while (this.part.log.childElementCount > SHOWN) this.part.log.lastElementChild.remove();
  }

  moveTo(cursor) {
    this.cursor = cursor;
    this.part.cursor.textContent = cursor;
  }

  count(name) {
    this.part[name].textContent = String(++this.counts[name]);
  }

  state(kind, word) {
    this.part.state.dataset.state = kind;
    if (this.part.state.textContent !== word) this.part.state.textContent = word;
    if (kind === "off") this.closeSpans();
  }

  fail(text) {
    this.state("down", "away");
    this.part.error.textContent = text;
    this.part.error.hidden = false;
  }

  /** Draws the strip: requests as bars, messages as dots, now at the right edge. */
  draw(now) {
    const canvas = this.part.wire;
    const scale = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (canvas.width !== Math.round(width * scale)) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
    }
    const from = now - WINDOW;
    this.spans = this.spans.filter(([, to]) => to === undefined || to > from);
    this.dots = this.dots.filter((at) => at > from);
    const x = (at) => ((at - from) / WINDOW) * width;
    const pen = canvas.getContext("2d");
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, height);
    pen.fillStyle = getComputedStyle(canvas).color;
    pen.globalAlpha = 0.35;
    for (const [start, end] of this.spans) {
      pen.beginPath();
      pen.roundRect(x(start), height * 0.58, Math.max(3, x(end ?? now) - x(start) - 1.5), height * 0.2, 3);
      pen.fill();
    }
    pen.globalAlpha = 1;
    for (const at of this.dots) {
      pen.beginPath();
      pen.arc(x(at), height * 0.32, 3.2, 0, Math.PI * 2);
      pen.fill();
    }
  }
}

const lanes = [new Lane("lane-poll", poll), new Lane("lane-longpoll", longPoll), new Lane("lane-stream", stream)];
for (const lane of lanes) lane.settle();
document.addEventListener("visibilitychange", () => lanes.forEach((lane) => lane.settle()));
// A browser keeps a page that is left only if it holds no connection. Shown again, each lane continues after its cursor.
for (const [event, left] of [["pagehide", true], ["pageshow", false]]) {
  addEventListener(event, () => {
    isLeft = left;
    for (const lane of lanes) lane.settle();
  });
}

const pauseAll = document.getElementById("pause-all");
pauseAll.addEventListener("click", () => {
  const paused = pauseAll.getAttribute("aria-pressed") !== "true";
  pauseAll.setAttribute("aria-pressed", String(paused));
  pauseAll.textContent = paused ? "Resume all" : "Pause all";
  for (const lane of lanes) lane.pause(paused);
});

const once = document.getElementById("once");
once.addEventListener("click", async () => {
  const out = document.getElementById("once-out");
  once.disabled = true;
  delete out.dataset.done;
  out.textContent = "waiting…";
  try {
    out.textContent = JSON.stringify(await fetch("data").then((response) => response.json()));
    out.dataset.done = "";
  } catch (error) {
    out.textContent = error.message;
  }
  once.disabled = false;
});

// The strips move smoothly, unless the reader prefers stillness: then once a second.
const still = matchMedia("(prefers-reduced-motion: reduce)");
(function draw() {
  if (!document.hidden) for (const lane of lanes) lane.draw(Date.now());
  if (still.matches) setTimeout(draw, 1_000);
  else requestAnimationFrame(draw);
})();

// Served at the root of its own service this page has no sisters to link to.
document.getElementById("nav").hidden = !location.pathname.endsWith("/comet");
