// What a person with curl finds on every route. For anything that serves all of them: one process, or a gateway.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { WebSocket } from "ws";
import { ask, openEvents, openLines, trusted } from "../lib/http.js";
import { ROOT } from "../lib/stack.js";
import { token } from "../lib/token.js";
import { soon } from "../lib/wait.js";

/** The official client's files, all of which are part of the binary. */
const CLIENT = ["socket.io.js", "socket.io.min.js", "socket.io.esm.min.js", "socket.io.msgpack.min.js"].flatMap((name) => [name, `${name}.map`]);
const ID = /^\d{13}-\d+$/;

/** Declares the tests of all routes; `stackOf()` gives what has the `base` to ask, once they run. */
export function checkRoutes(stackOf) {
  const base = () => stackOf().base;
  const get = (path, headers = {}) => ask(base() + path, { headers });

  test("a bare GET /data is one value as JSON, its cursor in the ETag", async () => {
    const said = execFileSync("curl", ["-sS", "--max-time", "20", `${base()}/data`], { encoding: "utf8" });
    const { code } = JSON.parse(said);
    assert.ok(code >= 0 && code <= 100, said);
    const answer = await get("/data");
    assert.equal(answer.status, 200);
    assert.match(answer.headers["content-type"], /^application\/json/);
    assert.equal(answer.headers["cache-control"], "max-age=0, no-transform");
    assert.match(answer.headers.etag, /^"\d{13}-\d+"$/);
  });

  test("/events tells the time each second, with ids that grow", async () => {
    const stream = await openEvents(`${base()}/events`);
    assert.equal(stream.status, 200);
    assert.equal(stream.headers["content-type"], "text/event-stream;charset=utf-8");
    assert.equal(stream.headers["cache-control"], "no-store, no-transform");
    assert.equal(stream.headers["x-accel-buffering"], "no");
    const { retry } = await stream.next((item) => item.retry);
    assert.ok(retry >= 2_000 && retry <= 4_000, String(retry));
    const ticks = [];
    while (ticks.length < 4) ticks.push(await stream.next((item) => item.id));
    await stream.close();
    for (const [at, tick] of ticks.entries()) {
      assert.match(tick.data, /^时间:\d{1,2}$/);
      assert.match(tick.id, ID);
      assert.equal(tick.event, "message");
      if (at > 0) {
        const apart = Number(tick.id.split("-")[0]) - Number(ticks[at - 1].id.split("-")[0]);
        assert.ok(apart > 500 && apart < 1_500, `${apart} ms apart`);
      }
    }
  });

  test("/data?mode=stream writes a line each second", async () => {
    const stream = await openLines(`${base()}/data?mode=stream`);
    assert.equal(stream.status, 200);
    assert.match(stream.headers["content-type"], /^application\/x-ndjson/);
    assert.equal(stream.headers["x-accel-buffering"], "no");
    await stream.next();
    for (const before of [stream.items[0].at, undefined]) {
      const line = await stream.next();
      assert.equal(typeof line.value.code, "number");
      if (before) assert.ok(line.at - before > 500 && line.at - before < 1_500, `${line.at - before} ms apart`);
    }
    await stream.close();
  });

  test("/ws: messages, commands and their answers, with a plain WebSocket", async () => {
    const url = `${base().replace(/^http/, "ws")}/ws?channel=public.ws`;
    // An installation is asked more than once.
    const other = `public.other-${Date.now()}`;
    const open = async (address, protocols) => {
      const socket = new WebSocket(address, protocols, { ca: trusted() });
      const [frames, waiting] = [[], []];
      socket.onmessage = ({ data }) => (waiting.shift() ?? ((frame) => frames.push(frame)))(JSON.parse(data));
      const next = () => soon("a frame", frames.length > 0 ? Promise.resolve(frames.shift()) : new Promise((resolve) => waiting.push(resolve)));
      const closed = new Promise((resolve) => (socket.onclose = ({ code }) => resolve(code)));
      await soon("the opening", new Promise((resolve, reject) => Object.assign(socket, { onopen: resolve, onerror: reject })));
      return { socket, next, closed: soon("the end", closed) };
    };
    const { socket, next, closed } = await open(url, ["trident.v1", `trident.bearer.${token()}`]);
    assert.equal(socket.protocol, "trident.v1");
    const data = { n: 1, text: "茶".repeat(2_000) };
    socket.send(JSON.stringify({ subscribe: { channels: [other] }, id: 1 }));
    assert.equal((await next()).ok, true);
    socket.send(JSON.stringify({ publish: { channel: other, data }, id: "p" }));
    const [answer, message] = [await next(), await next()].sort((one) => (one.ok ? -1 : 1));
    assert.deepEqual([answer.id, answer.ok, answer.cursor, message.data], ["p", true, message.id, data]);
    assert.match(message.id, ID);
    socket.close(1000);
    assert.equal(await closed, 1000);
    const again = await open(`${url}&channel=${other}&since=earliest`);
    assert.deepEqual(await again.next(), message);
    again.socket.close();
    const refused = await open(`${base().replace(/^http/, "ws")}/ws?channel=private`);
    assert.equal(await refused.closed, 4401);
    const plain = await get("/ws");
    assert.deepEqual([plain.status, plain.json().error.code], [426, "upgrade_required"]);
  });

  test("the pages, their files and the playground", async () => {
    for (const [page, files, word] of [
      ["/comet", ["/comet.js", "/comet-lane.js", "/comet-text.js", "/comet.css"], "Comet"],
      ["/chat", ["/chat.js", "/chat-rooms.js", "/chat-text.js", "/chat-view.js", "/chat.css"], "Chat"],
      ["/sse", ["/sse.js", "/sse-text.js", "/sse.css"], "Server-sent events"],
      ["/", ["/playground.js", "/playground.css", "/base.css", "/page.js", "/404.js"], "Trident"],
      ["/docs", ["/docs.js", "/docs.css", "/docs/TUTORIAL.md", "/docs/BACKEND.md"], "Documentation"],
      ["/admin", ["/admin.js", "/admin.css"], "Administration"],
    ]) {
      const answer = await get(page);
      assert.equal(answer.status, 200, page);
      assert.match(answer.headers["content-type"], /^text\/html; ?charset=utf-8$/);
      assert.match(answer.headers["content-security-policy"], page === "/admin" ? /^default-src 'none'; .*frame-ancestors 'none'/ : /default-src 'self'/, page);
      assert.equal(answer.headers["x-content-type-options"], "nosniff");
      assert.ok(answer.body.includes(word), page);
      assert.doesNotMatch(answer.body, /<style|\sstyle=|\son[a-z]+=|https?:\/\/(?!www\.w3\.org)/, `${page} holds something inline or from elsewhere`);
      assert.doesNotMatch(answer.body, /<script(?![^>]*src=)/, page);
      for (const file of files) {
        const part = await get(file);
        assert.equal(part.status, 200, file);
        assert.match(part.headers["content-type"], { js: /^(text|application)\/javascript/, css: /^text\/css/, md: /^text\/markdown/ }[file.split(".").at(-1)]);
        assert.ok(part.headers.etag, file);
        const again = await get(file, { "If-None-Match": part.headers.etag });
        assert.equal(again.status, 304, file);
      }
      assert.equal((await ask(base() + page, { method: "HEAD" })).status, 200, page);
      assert.equal((await ask(base() + page, { method: "POST", body: "x" })).status, 405, page);
    }
  });

  test("the sign that browsers ask for by themselves", async () => {
    const sign = await get("/favicon.ico");
    assert.equal(sign.status, 200);
    assert.equal(sign.headers["content-type"].split(";")[0], "image/svg+xml");
    assert.match(sign.body, /^<svg /);
  });

  test("the official client of Socket.IO, and its handshake", async () => {
    for (const name of CLIENT) {
      const file = await get(`/socket.io/${name}`);
      assert.equal(file.status, 200, name);
      assert.match(file.headers["content-type"], name.endsWith(".map") ? /json/ : /javascript/);
      assert.equal(file.body, readFileSync(path.join(ROOT, "web/vendor/dist", name), "utf8"), name);
      assert.equal((await get(`/socket.io/${name}`, { "If-None-Match": file.headers.etag })).status, 304, name);
    }
    const shake = await get("/socket.io/?EIO=4&transport=polling");
    assert.equal(shake.status, 200);
    assert.deepEqual(Object.keys(JSON.parse(shake.body.slice(1))), ["sid", "upgrades", "pingInterval", "pingTimeout", "maxPayload"]);
  });

  test("errors have one form, and pages of allowed origins may read them", async () => {
    const headers = { Origin: "http://localhost:5173" };
    for (const [path, status, code] of [
      ["/nothing-here", 404, "not_found"],
      ["/data?since=never", 400, "bad_cursor"],
      ["/events?chanel=a", 400, "unknown_parameter"],
    ]) {
      const answer = await get(path, headers);
      assert.equal(answer.status, status, path);
      assert.equal(answer.json().error.code, code);
      assert.ok(answer.json().error.message);
      assert.equal(answer.headers["access-control-allow-origin"], headers.Origin, path);
      // Loopback origins that nobody has configured have none, at the services and on the gateway's own pages.
      assert.equal(answer.headers["access-control-allow-credentials"], undefined, path);
      assert.match(answer.headers.vary, /Origin/, path);
    }
    const stranger = await get("/data?since=never", { Origin: "http://elsewhere.example" });
    assert.equal(stranger.headers["access-control-allow-origin"], undefined);
  });

  test("preflights are answered on both transports", async () => {
    for (const path of ["/data", "/events"]) {
      const headers = { Origin: "http://127.0.0.1:9", "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,idempotency-key" };
      const answer = await ask(base() + path, { method: "OPTIONS", headers });
      assert.equal(answer.status, 204, path);
      assert.equal(answer.headers["access-control-allow-origin"], headers.Origin);
      assert.match(answer.headers["access-control-allow-headers"], /Authorization/i);
      assert.match(answer.headers["access-control-allow-headers"], /Idempotency-Key/i);
    }
  });
}
