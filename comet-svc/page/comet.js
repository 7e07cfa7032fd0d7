// The comet page: one lane for each mode. A lane sends a request, takes what arrives, moves its cursor and repeats.
// Everything that differs between the modes is in the three functions `poll`, `longPoll` and `stream`.

import "./comet-text.js";
import { Lane, isAway, sleep, start } from "./comet-lane.js";
import { say, setText, startPage } from "./page.js";

const POLL_EVERY = 2_000;

/** An answer that is not a message: its status, and the error that the server gave. */
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
      // A page of a proxy: there is only the status.
    }
    const wait = Number(response.headers.get("Retry-After"));
    return new Refused(response.status, said.code, said.message ?? response.statusText, wait > 0 ? wait * 1_000 : 0);
  }
}

const query = (fields) => `data?${new URLSearchParams(Object.entries(fields).filter(([, value]) => value))}`;

/** Send a request, take all new messages, pause, repeat. */
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
    lane.state("live", "state.resting");
    await obey(response, signal);
    await sleep(POLL_EVERY, signal);
  }
}

/** Send a request that is answered when there is a message. The cursor is the answer's ETag. */
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
    } else {
      throw await Refused.from(response);
    }
    done();
    if (cursor) lane.moveTo(cursor);
    lane.state("live", "state.waiting");
    await obey(response, signal);
  }
}

/** Send one request and read lines until the answer ends. */
async function stream(lane, signal) {
  for (;;) {
    const done = lane.asks();
    const response = await fetch(query({ mode: "stream", format: "batch", channel: "random", since: lane.cursor }), { signal, cache: "no-store" });
    if (!response.ok) throw await Refused.from(response);
    lane.state("live", "state.open");
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
    // The server ends streams from time to time, so that clients spread over its replicas. The next one resumes after the cursor.
    lane.state("wait", "state.reconnecting");
    await sleep(250 + Math.random() * 750, signal);
  }
}

/** The server may ask for a pause before the next request, as it does while shutting down. */
async function obey(response, signal) {
  const seconds = Number(response.headers.get("Retry-After"));
  if (seconds > 0) await sleep(seconds * 1_000 * (1 + Math.random()), signal);
}

startPage();
const lanes = [new Lane("poll", poll), new Lane("longpoll", longPoll), new Lane("stream", stream)];
start(lanes);

const pauseAll = document.getElementById("pause-all");
let isPaused = false;
setText(pauseAll, () => say(isPaused ? "resume.all" : "pause.all"));
pauseAll.addEventListener("click", () => {
  isPaused = !isPaused;
  setText(pauseAll, () => say(isPaused ? "resume.all" : "pause.all"));
  for (const lane of lanes) lane.pause(isPaused);
});

const once = document.getElementById("once");
const out = document.getElementById("once-out");
setText(out, () => say("once.hint"));
once.addEventListener("click", async () => {
  once.disabled = true;
  delete out.dataset.done;
  setText(out, () => say("once.waiting"));
  try {
    const response = await fetch("data");
    if (response.status === 204) {
      setText(out, () => say("once.none"));
    } else if (response.ok) {
      const data = await response.json();
      setText(out, () => JSON.stringify(data));
      out.dataset.done = "";
    } else {
      throw await Refused.from(response);
    }
  } catch (error) {
    setText(out, () => (isAway(error) ? say("unreachable.once") : say("refused", error)));
  }
  once.disabled = false;
});
