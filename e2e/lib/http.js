// HTTP as a client sees it: whole answers, and answers read line by line while they last. One connection a request.

import { readFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import net from "node:net";
import zlib from "node:zlib";
import { bearer } from "./token.js";
import { soon } from "./wait.js";

let authority;

/** Trusts the authority in `file` (PEM) from now on, in `curl` too; and `others`, certificates as PEM text, not in `curl`. */
export function trust(file, ...others) {
  authority = [readFileSync(file), ...others];
  process.env.CURL_CA_BUNDLE = file;
}

/** The certificates that are trusted, as the option `ca` of a client; nothing unless `trust` was called. */
export const trusted = () => authority;

function send(url, options, answered) {
  const secure = String(url).startsWith("https:");
  return (secure ? https : http).request(url, { agent: false, ...(secure ? { ca: authority } : {}), ...options }, answered);
}

/** A whole answer: `{status, headers, body, json(), took}`. */
export function ask(url, { method = "GET", headers = {}, body, within = 40_000 } = {}) {
  const began = performance.now();
  const whole = new Promise((resolve, reject) => {
    const request = send(url, { method, headers }, (response) => {
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => {
        const bytes = Buffer.concat(chunks);
        const text = response.headers["content-encoding"] === "gzip" ? zlib.gunzipSync(bytes).toString() : bytes.toString();
        resolve({ status: response.statusCode, headers: response.headers, body: text, json: () => JSON.parse(text), took: performance.now() - began });
      });
    });
    request.on("error", reject);
    request.end(body);
  });
  return soon(`${method} ${url}`, whole, within);
}

/** Publishes `data` as JSON and gives the id. */
export async function publish(base, channel, data, { path = "/events", event } = {}) {
  const query = new URLSearchParams({ channel, ...(event ? { event } : {}) });
  const answer = await ask(`${base}${path}?${query}`, {
    method: "POST",
    headers: { "Content-Type": "application/json", ...bearer() },
    body: JSON.stringify(data),
  });
  if (answer.status !== 201) throw new Error(`publishing answered ${answer.status}: ${answer.body}`);
  return answer.json().id;
}

/**
 * An answer that lasts. `items` grows with what `parse(text)` makes of the text so far: it gives `[items, rest]`.
 * `next(found, within)` waits for an item that `found` likes, beginning with those not yet given.
 */
export async function open(url, parse, { headers = {}, method = "GET" } = {}) {
  const began = performance.now();
  const items = [];
  const waiting = new Set();
  const { request, response } = await soon(`the head of ${url}`, new Promise((resolve, reject) => {
    const request = send(url, { method, headers }, (response) => resolve({ request, response }));
    request.on("error", reject);
    request.end();
  }));
  request.on("error", () => {});
  const stream = { status: response.statusCode, headers: response.headers, items, headAfter: performance.now() - began, firstByteAfter: undefined, ended: false };
  let rest = "";
  let given = 0;
  const wake = () => waiting.forEach((wakeUp) => wakeUp());
  response.setEncoding("utf8");
  response.on("data", (text) => {
    stream.firstByteAfter ??= performance.now() - began;
    const [found, left] = parse(rest + text);
    rest = left;
    for (const item of found) items.push({ at: performance.now(), ...item });
    wake();
  });
  stream.closed = new Promise((resolve) => response.once("close", resolve)).then(() => {
    stream.ended = true;
    wake();
  });
  response.on("error", () => {});
  stream.next = (found = () => true, within = 5_000) => {
    const look = async () => {
      for (;;) {
        while (given < items.length) {
          const item = items[given];
          given += 1;
          if (found(item)) return item;
        }
        if (stream.ended) throw new Error(`${url} ended`);
        await new Promise((resolve) => {
          const wakeUp = () => {
            waiting.delete(wakeUp);
            resolve();
          };
          waiting.add(wakeUp);
        });
      }
    };
    return soon(`the next of ${url} (${items.length} so far)`, look(), within);
  };
  stream.close = () => {
    request.destroy();
    return stream.closed;
  };
  return stream;
}

/** Events of `text/event-stream` as `{id, event, data}`, comments and `retry` as `{comment}` and `{retry}`. */
export function events(text) {
  const blocks = text.split("\n\n");
  const rest = blocks.pop();
  const found = [];
  for (const block of blocks) {
    const event = { event: "message", data: [] };
    for (const line of block.split("\n")) {
      const [, name, value] = /^([^:]*):? ?(.*)$/s.exec(line);
      if (name === "") found.push({ comment: value });
      else if (name === "retry") found.push({ retry: Number(value) });
      else if (name === "data") event.data.push(value);
      else event[name] = value;
    }
    if (event.data.length > 0) found.push({ ...event, data: event.data.join("\n") });
  }
  return [found, rest];
}

/** Lines of JSON as `{value}`; empty lines are signs of life and left out. */
export function lines(text) {
  const all = text.split("\n");
  const rest = all.pop();
  return [all.filter(Boolean).map((line) => ({ value: JSON.parse(line) })), rest];
}

export const openEvents = (url, headers) => open(url, events, { headers: { Accept: "text/event-stream", ...headers } });
export const openLines = (url, headers) => open(url, lines, { headers });

/** Sends bytes as they are and gives all that comes back until the other side closes, or until `within` is over. */
export function raw(port, bytes, { within = 3_000, end = false } = {}) {
  return new Promise((resolve) => {
    let back = "";
    const socket = net.connect(port, "127.0.0.1", () => (end ? socket.end(bytes) : socket.write(bytes)));
    const timer = setTimeout(() => finish("open"), within);
    const finish = (how) => {
      clearTimeout(timer);
      socket.destroy();
      resolve({ back, how });
    };
    socket.setEncoding("latin1");
    socket.on("data", (text) => {
      back += text;
    });
    socket.on("close", () => finish("closed"));
    socket.on("error", () => finish("closed"));
  });
}
