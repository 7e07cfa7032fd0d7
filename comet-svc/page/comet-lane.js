// One lane of the comet page: a column with its loop, its counts, its messages and its strip.
//
// A mode is a function `(lane, signal)` that sends requests and calls the methods of the lane for what arrives. It ends by throwing.

import { inEveryLanguage, say, setText } from "./page.js";

const SHOWN = 60; // rows kept in a lane's log
const WINDOW = 20_000; // milliseconds that a strip shows
const COUNTS = { requests: "requests", messages: "messages", empty: "empty.answers", gaps: "gaps" };

export const sleep = (ms, signal) =>
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

/** Whether an error says that the service does not answer. One that refuses for a reason of its own says it with a code. */
export const isAway = ({ status, code }) => !status || !code || code === "service_unavailable";

/** Between the moment the page is left and the one it is shown again. */
let isLeft = false;

export class Lane {
  cursor = "";
  paused = false;
  counts = { requests: 0, messages: 0, empty: 0, gaps: 0 };
  spans = []; // requests as [from, to], `to` missing while it is open
  dots = []; // times at which messages arrived
  stopped = null;

  constructor(name, mode) {
    this.mode = mode;
    this.part = {};
    this.numbers = {};
    const root = document.getElementById(`lane-${name}`);
    for (const element of root.querySelectorAll("[data-part]")) this.part[element.dataset.part] = element;
    for (const [count, word] of Object.entries(COUNTS)) {
      const pair = document.createElement("div");
      const term = document.createElement("dt");
      setText(term, () => say(word));
      this.numbers[count] = document.createElement("dd");
      this.numbers[count].textContent = "0";
      pair.append(term, this.numbers[count]);
      this.part.counts.append(pair);
    }
    inEveryLanguage(() => this.part.scroll.setAttribute("aria-label", say("log", { mode: say(`${name}.title`) })));
    setText(this.part.pause, () => say(this.paused ? "resume" : "pause"));
    setText(this.part.empty, () => say(this.paused ? "empty.paused" : "empty"));
    setText(this.part.cursor, () => this.cursor || say("none"));
    this.part.pause.addEventListener("click", () => this.pause(!this.paused));
  }

  pause(paused) {
    this.paused = paused;
    setText(this.part.pause, () => say(this.paused ? "resume" : "pause"));
    setText(this.part.empty, () => say(this.paused ? "empty.paused" : "empty"));
    this.settle();
  }

  /** Runs the loop or ends it. A paused lane and a hidden page hold no connection. */
  settle() {
    const idle = this.paused || document.hidden || isLeft;
    if (idle && this.stopped) {
      this.stopped.abort();
      this.stopped = null;
    }
    if (idle) {
      this.state("off", this.paused ? "state.paused" : "state.hidden");
    } else if (!this.stopped) {
      this.stopped = new AbortController();
      this.state("wait", "state.asking");
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
          const { cursor } = this;
          this.note(() => say("bad.cursor", { cursor }));
          this.moveTo("");
        }
        // Doubled each time and random, so that clients do not all reconnect at the same moment.
        const wait = Math.max(error.retryAfter ?? 0, Math.min(30_000, 500 * 2 ** failures) * (0.5 + Math.random() / 2));
        this.fail(error, Math.ceil(wait / 1_000));
        try {
          await sleep(wait, signal);
        } catch {
          return;
        }
      }
    }
  }

  /** A request is sent. Call the returned function when its answer has ended. */
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
    this.note(() => say(resumed ? "gap" : "gap.open", { requested, resumed }));
  }

  note(text) {
    const row = document.createElement("li");
    row.className = "note";
    this.add(row);
    setText(row, text);
  }

  add(row) {
    this.part.log.prepend(row);
    while (this.part.log.childElementCount > SHOWN) this.part.log.lastElementChild.remove();
  }

  moveTo(cursor) {
    this.cursor = cursor;
    setText(this.part.cursor, () => this.cursor || say("none"));
  }

  count(name) {
    this.numbers[name].textContent = String(++this.counts[name]);
  }

  state(kind, word) {
    this.part.state.dataset.state = kind;
    setText(this.part.state, () => say(word));
    if (kind === "off") this.closeSpans();
  }

  /** A stopped server has the same words as on the other pages; an answer of the server is quoted. */
  fail({ status, code, message }, seconds) {
    this.state("down", "state.away");
    setText(this.part.error, () => say("retry", { what: isAway({ status, code }) ? say("unreachable") : say("refused", { status, message }), seconds }));
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

/** Starts the lanes, and stops and continues them with the page. Browsers store a page that is left only if it has no connection open. */
export function start(lanes) {
  const settle = () => lanes.forEach((lane) => lane.settle());
  settle();
  document.addEventListener("visibilitychange", settle);
  for (const [event, left] of [["pagehide", true], ["pageshow", false]]) {
    addEventListener(event, () => {
      isLeft = left;
      settle();
    });
  }
  // The strips move smoothly, or once a second for readers who prefer reduced motion.
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  (function draw() {
    if (!document.hidden) for (const lane of lanes) lane.draw(Date.now());
    if (still.matches) setTimeout(draw, 1_000);
    else requestAnimationFrame(draw);
  })();
}
