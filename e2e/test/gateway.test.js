// The gateway while something changes: its own reload, a service that goes and comes back.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { io } from "socket.io-client";
import { ask, openEvents, openLines, publish } from "../lib/http.js";
import { GATEWAY, ONE_LOG, startService, startStack } from "../lib/stack.js";
import { bearer, token } from "../lib/token.js";
import { soon, until } from "../lib/wait.js";

const connected = (socket) => soon("connect", new Promise((resolve, reject) => socket.on("connect", resolve).on("connect_error", reject)));

describe("nginx.conf", () => {
  let stack;
  before(async () => {
    stack = await startStack(ONE_LOG);
  });
  after(() => stack?.stop());

  test("is accepted without a warning", () => {
    stack.gateway.test();
    // A machine that grants fewer open files is told of, and served as far as they go.
    const complaints = stack.gateway.told().split("\n").filter((line) => /\[(warn|emerg|alert)\]/.test(line) && !line.includes("RLIMIT_NOFILE"));
    assert.deepEqual(complaints, []);
  });

  test("case 4.4: 128 channels with names of 128 characters are one subscription", async () => {
    const channels = (count) => Array.from({ length: count }, (_, at) => `channel=public.${String(at).padStart(121, "x")}`).join("&");
    for (const count of [60, 128]) {
      const answer = await ask(`${stack.base}/data?mode=poll&${channels(count)}`);
      assert.equal(answer.status, 200, answer.body.slice(0, 200));
      const events = await openEvents(`${stack.base}/events?${channels(count)}`);
      assert.equal(events.status, 200);
      await events.close();
    }
  });

  test("a path of /v1 reaches a service as it was sent, with DELETE as one of the methods", async () => {
    const headers = { Authorization: `Bearer ${token({ sub: "backend", trident: { api: ["write"] } })}` };
    const path = `${stack.base}/v1/channels/public.path%2Fof.three%2Fsegments`;
    const id = await publish(stack.base, "public.path/of.three/segments", "x");
    await until("the message", async () => (await ask(path, { headers })).json().newest === id);
    assert.equal((await ask(path.replaceAll("%2F", "/"), { headers })).status, 404);
    const purged = await ask(`${path}/messages`, { method: "DELETE", headers });
    assert.equal(purged.status, 200, purged.body);
    const trace = await ask(`${stack.base}/v1/stats`, { method: "TRACE", headers });
    assert.equal(trace.status, 405);
    assert.match(trace.headers.allow, /\bDELETE\b/);
  });

  test("a stream behind the gateway is as one at its service", { timeout: 30_000 }, async () => {
    const url = `${stack.base}/streams/public.stream%2Fof%2Dtwo`;
    const of = (method, { query = "", ...more } = {}) => ask(url + query, { ...more, method, headers: { ...bearer(), "Content-Type": "text/plain", ...more.headers } });
    const created = await of("PUT", { body: "a" });
    assert.deepEqual([created.status, created.headers.location], [201, url]);
    // Nothing is held back, neither of an event stream nor of a long poll.
    const events = await openEvents(`${url}?live=sse&offset=-1`, { headers: bearer() });
    assert.equal((await events.next((item) => item.event === "data")).data, "a");
    const poll = of("GET", { query: `?live=long-poll&timeout=25&offset=${created.headers["stream-next-offset"]}` });
    const [, one] = await Promise.all([poll, of("POST", { body: "b" }), events.next((item) => item.data === "b")]);
    assert.deepEqual([(await poll).body, one.status], ["b", 204]);
    await events.close();

    // Bodies of the size that the service accepts, and none that is larger.
    const limit = 1_048_576;
    assert.equal((await of("POST", { body: "x".repeat(limit) })).status, 204);
    const large = await of("POST", { body: "x".repeat(limit + 1) });
    assert.deepEqual([large.status, large.json().error.code], [413, "too_large"]);
    const all = await of("GET", { query: `?offset=${one.headers["stream-next-offset"]}` });
    assert.equal(all.body.length, limit);
    assert.equal((await of("GET", { query: `?offset=${one.headers["stream-next-offset"]}`, headers: { "If-None-Match": all.headers.etag } })).status, 304);
    const head = await of("HEAD");
    assert.deepEqual([head.status, head.headers["stream-next-offset"]], [200, all.headers["stream-next-offset"]]);

    const page = { Origin: "http://localhost:1", "Access-Control-Request-Method": "PUT" };
    const preflight = await ask(url, { method: "OPTIONS", headers: page });
    assert.match(preflight.headers["access-control-allow-methods"], /PUT.*DELETE|DELETE.*PUT/);
    assert.deepEqual([(await of("DELETE")).status, (await of("GET")).status], [204, 404]);
  });

  test("case 8.11: the access log has no session ids", async () => {
    await ask(`${stack.base}/socket.io/?EIO=4&transport=polling&sid=0123456789abcdefghij`);
    const log = await until("the log to have it", () => {
      const text = readFileSync(`${stack.gateway.folder}/access.log`, "utf8");
      return /"GET \/socket\.io\/ HTTP\/1\.1" 400/.test(text) && text;
    }, { within: 20_000 });
    assert.doesNotMatch(log, /0123456789abcdefghij/);
  });

  test("a reload ends no stream, no long poll and no WebSocket", { timeout: 60_000 }, async () => {
    const sse = await openEvents(`${stack.base}/events?channel=public.reload`);
    await sse.next((item) => item.retry);
    const stream = await openLines(`${stack.base}/data?mode=stream&channel=public.reload`);
    const socket = io(stack.base, { transports: ["websocket"], reconnection: false, forceNew: true });
    await connected(socket);
    const told = new Promise((resolve) => socket.on("chat message", resolve));
    const { cursor } = (await ask(`${stack.base}/data?mode=poll&channel=public.reload`)).json();
    const longPoll = ask(`${stack.base}/data?channel=public.reload&since=${cursor}&wait=30`);
    let dropped;
    socket.on("disconnect", (reason) => { dropped = reason; });

    // The same file again: new workers take new connections, the old one keeps what it has.
    const old = stack.gateway.workers();
    stack.gateway.signal("SIGHUP");
    await until("new workers", () => stack.gateway.workers().some((pid) => !old.includes(pid)));
    for (let at = 0; at < 20; at += 1) assert.equal((await ask(`${stack.base}/healthz`)).status, 200);

    const id = await publish(stack.base, "public.reload", "after the reload");
    await Promise.all([sse.next((item) => item.id === id), stream.next((item) => item.value.id === id)]);
    assert.equal((await longPoll).json().messages[0].id, id);
    socket.emit("chat message", "still here");
    assert.equal(await soon("the echo", told), "still here");
    assert.equal(dropped, undefined);
    assert.equal(sse.ended || stream.ended, false);
    assert.ok(stack.gateway.workers().some((pid) => old.includes(pid)), "an old worker still serves what began with it");
    socket.close();
    await Promise.all([sse.close(), stream.close()]);
  });
});

describe("a service behind the gateway stops and restarts", () => {
  let stack;
  before(async () => {
    stack = await startStack(GATEWAY);
  });
  after(() => stack?.stop());

  test("readers of /events are asked to retry, all others get an error that says so", { timeout: 60_000 }, async () => {
    const { services, base } = stack;
    const sse = await openEvents(`${base}/events?channel=public.away`);
    await sse.next((item) => item.retry);
    await services["sse-svc"].stop();
    await soon("the end of the stream", sse.closed);

    const retries = new Set();
    for (let at = 0; at < 30; at += 1) {
      const stream = await ask(`${base}/events`, { headers: { Accept: "text/event-stream", Origin: "http://localhost:1" } });
      assert.equal(stream.status, 200, "EventSource gives up on anything else");
      assert.match(stream.headers["content-type"], /^text\/event-stream/);
      assert.equal(stream.headers["cache-control"], "no-store, no-transform");
      assert.equal(stream.headers["access-control-allow-origin"], "http://localhost:1");
      assert.equal(stream.headers["access-control-allow-credentials"], undefined, "as at the service");
      retries.add(/^retry: (\d+)$/m.exec(stream.body)[1]);
    }
    assert.ok(retries.size > 1, "all come back at once");
    for (const retry of retries) assert.ok(retry >= 2_000 && retry <= 4_000, retry);

    const post = await ask(`${base}/events?channel=a`, { method: "POST", headers: { "Content-Type": "text/plain", ...bearer() }, body: "x" });
    assert.ok([502, 503, 504].includes(post.status), String(post.status));
    assert.equal(post.json().error.code, "service_unavailable");
    assert.ok(Number(post.headers["retry-after"]) > 0);
    assert.equal((await ask(`${base}/sse`)).headers["retry-after"], "2");
    assert.equal((await ask(`${base}/data?mode=poll&channel=public.away`)).status, 200, "the others go on");

    const back = await startService("sse-svc", {}, services["sse-svc"].port);
    try {
      const id = await until("publishing again", () => publish(base, "public.away", 1).catch(() => null));
      const again = await openEvents(`${base}/events?channel=public.away&since=earliest`);
      await again.next((item) => item.id === id);
      await again.close();
    } finally {
      await back.stop();
    }
  });

  test("comet, Socket.IO and streams unavailable: 502 or 503 with Retry-After", { timeout: 30_000 }, async () => {
    const { services, base } = stack;
    await services["comet-svc"].stop();
    await services["chat-svc"].stop();
    await services["streams-svc"].stop();
    for (const path of ["/data", "/comet", "/chat", "/socket.io/?EIO=4&transport=polling", "/streams/public.a", "/streams/public.a?live=sse&offset=-1"]) {
      const answer = await ask(base + path);
      assert.ok([502, 503].includes(answer.status), `${path}: ${answer.status}`);
      assert.equal(answer.json().error.code, "service_unavailable");
      assert.equal(answer.headers["retry-after"], "2");
    }
    assert.equal((await ask(`${base}/`)).status, 200);
  });
});
