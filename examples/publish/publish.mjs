#!/usr/bin/env node
// Publishes one message, with what Node 18 and later bring along: TRIDENT_TOKEN=… ./publish.mjs CHANNEL JSON

import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

// These pass; whatever else is refused would be refused again.
const PASSING = new Set([429, 502, 503, 504]);

/**
 * Publishes `data` to `channel` and gives the message's id. Tries for `patience` milliseconds. The idempotency key is the same
 * each time, so the message is published once, also when an answer got lost.
 */
export async function publish(base, token, channel, data, { event, patience = 30_000 } = {}) {
  const query = new URLSearchParams({ channel, ...(event && { event }) });
  const request = {
    method: "POST",
    headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json", "Idempotency-Key": randomUUID() },
    body: JSON.stringify(data),
  };
  const until = Date.now() + patience;
  for (let wait = 500; ; wait = Math.min(wait * 2, 8_000)) {
    let asked = 0;
    let reason;
    try {
      const answer = await fetch(`${base}/events?${query}`, { ...request, signal: AbortSignal.timeout(10_000) });
      if (answer.ok) return (await answer.json()).id;
      reason = `${answer.status}: ${await answer.text()}`;
      if (!PASSING.has(answer.status)) throw Object.assign(new Error(reason), { refused: true });
      // In seconds; Trident never sends a date.
      asked = (Number(answer.headers.get("Retry-After")) || 0) * 1_000;
    } catch (error) {
      if (error.refused) throw error;
      reason = error.cause?.message ?? error.message; // no connection, a cut one, or no answer in time
    }
    const pause = asked + wait * (0.5 + Math.random() / 2);
    if (Date.now() + pause > until) throw new Error(`not published after ${patience / 1_000} s: ${reason}`);
    await sleep(pause);
  }
}

const { TRIDENT_URL = "http://localhost:8080", TRIDENT_TOKEN } = process.env;
const [channel, json] = process.argv.slice(2);

/** Reports wrong input in one line and ends with status 2. */
function misuse(text) {
  console.error(text.replaceAll("\n", " "));
  process.exit(2);
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch (error) {
    return misuse(`invalid JSON: ${error.message}`);
  }
}

if (TRIDENT_TOKEN === undefined || json === undefined) misuse("usage: TRIDENT_TOKEN=… publish.mjs CHANNEL JSON");
const data = parse(json);
try {
  console.log(await publish(TRIDENT_URL, TRIDENT_TOKEN, channel, data));
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
