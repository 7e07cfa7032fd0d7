// What nobody should send, and what comes of it: the error that says so, or a closed connection, and a service that goes on.

import assert from "node:assert/strict";
import net from "node:net";
import { after, before, describe, test } from "node:test";
import { ask, openEvents, publish, raw } from "../lib/http.js";
import { chance, seed } from "../lib/random.js";
import { GATEWAY, STANDALONE, startStack } from "../lib/stack.js";
import { bearer, token } from "../lib/token.js";
import { until } from "../lib/wait.js";

const LONG = "n".repeat(129);
const JSON_BODY = { "Content-Type": "application/json" };
const TEXT = { "Content-Type": "text/plain" };
const NDJSON = { "Content-Type": "application/x-ndjson" };

/** Questions: path, status, code, headers. All are GETs. */
const QUESTIONS = [
  ...["abc", "1", "1-", "-1", "1-2-3", "1763800000000-", "99999999999999999999-0", "1-99999999999999999999", "+1-0", "1- 0", "%00", "%0d%0a", "0x10-0", "earlies"].flatMap((since) => [
    [`/data?since=${since}`, 400, "bad_cursor"],
    [`/events?since=${since}`, 400, "bad_cursor"],
  ]),
  ...["", "a b", LONG, "%C3%A4", "a//b", "/a", "a/..", "a%00", "a%0d%0ab", "*"].flatMap((channel) => [
    [`/data?channel=${channel}`, 400, "bad_channel"],
    [`/events?channel=${channel}`, 400, "bad_channel"],
  ]),
  ["/data?channel=%ff", 400, "bad_encoding"],
  ["/events?channel=%ff", 400, "bad_encoding"],
  ...["0", "61", "-1", "1.5", "ten", "", "99999999999999999999"].map((wait) => [`/data?wait=${wait}`, 400]),
  ...["0", "1001", "-5", "many", "", "1e2"].map((limit) => [`/data?limit=${limit}`, 400]),
  ...["push", "", "POLL", "stream%00"].map((mode) => [`/data?mode=${mode}`, 400]),
  ...["xml", "", "Batch"].map((format) => [`/data?format=${format}`, 400]),
  ["/data?nothing=1", 400, "unknown_parameter"],
  ["/events?wait=5", 400, "unknown_parameter"],
  ["/data?mode=poll&mode=stream", 400],
  ["/data?since=1-0&since=2-0", 400],
  [`/events?${Array.from({ length: 129 }, (_, at) => `channel=public.c${at}`).join("&")}`, 400],
  ["/data?channel=secret", 401, "token_needed"],
  ["/events?channel=secret", 401, "token_needed"],
  ["/events?channel=secret", 401, "bad_token", { Authorization: "Bearer nonsense" }],
  ["/events?channel=secret", 401, "bad_token", { Authorization: `Bearer ${token({}, { algorithm: "none" })}` }],
  ["/events?channel=secret", 403, undefined, { Authorization: `Bearer ${token({ trident: { subscribe: ["other"] } })}` }],
  ["/data/", 404, "not_found"],
  ["/data/../etc/passwd", 404, "not_found"],
  ["/%2e%2e/%2e%2e/etc/passwd", undefined],
];

/** Publications: path, headers, body, status, code. All with a token that may do everything. */
const PUBLICATIONS = [
  ["/events", JSON_BODY, "1", 400],
  ["/events?channel=a b", JSON_BODY, "1", 400, "bad_channel"],
  [`/events?channel=${LONG}`, JSON_BODY, "1", 400, "bad_channel"],
  ...["%0d", "%0a", "a%0d%0adata:x", "%00", LONG, "", "connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener", "%ff", "%7f"].flatMap((event) => [
    [`/events?channel=public.bad&event=${event}`, JSON_BODY, "1", 400],
    [`/data?channel=public.bad&event=${event}`, TEXT, "1", 400],
  ]),
  ["/events?channel=public.bad&evnet=x", JSON_BODY, "1", 400, "unknown_parameter"],
  ...["", "{", "{'a':1}", "nul", "1 2", "[1,]", "\"\\ud800\"", "\"\n\"", "01", "\ufeff1"].map((body) => ["/events?channel=public.bad", JSON_BODY, body, 400]),
  ["/events?channel=public.bad", JSON_BODY, Buffer.from([0x22, 0xff, 0xfe, 0x22]), 400],
  ["/data?channel=public.bad", TEXT, Buffer.from([0x61, 0xc3, 0x28]), 400],
  ["/data?channel=public.bad", TEXT, Buffer.from([0xed, 0xa0, 0x80]), 400],
  ["/events?channel=public.bad", { "Content-Type": "application/xml" }, "<a/>", 415],
  ["/events?channel=public.bad", {}, "x", 415],
  ["/events?channel=public.bad", { "Content-Type": "nonsense" }, "x", 415],
  ["/events?channel=public.bad", TEXT, "x".repeat(65_537), 413, "too_large"],
  ["/data?channel=public.bad", JSON_BODY, `"${"x".repeat(70_000)}"`, 413, "too_large"],
  ["/events?channel=public.bad", { ...JSON_BODY, "Transfer-Encoding": "chunked" }, `"${"x".repeat(70_000)}"`, 413, "too_large"],
  ["/events?channel=public.bad", { ...JSON_BODY, "Idempotency-Key": LONG }, "1", 400],
  ["/events", NDJSON, '{"channel":"public.bad","data":1}\n{"channel":"public.bad","data":}', 400],
  ["/events", NDJSON, '{"channel":"public.bad","data":1}\n{"channel":"b b","data":1}', 400],
  ["/events", NDJSON, '{"channel":"public.bad","data":1}\n{"channel":"public.bad"}', 400],
  ["/events", NDJSON, '{"channel":"public.bad","data":1}\n{"channel":"public.bad","event":"a\\nb","data":1}', 400],
  ["/events", NDJSON, '{"channel":"public.bad","data":1}\n[]', 400],
  ["/events", NDJSON, "", 400],
];

const REQUESTS = {
  "no HTTP at all": "hello\r\n\r\n",
  "HTTP/2 without asking": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
  "a TLS greeting": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
  "a version that is none": "GET /data HTTP/9.9\r\nHost: a\r\n\r\n",
  "a host that is none": "GET /data?mode=poll HTTP/1.1\r\nHost: a b\r\n\r\n",
  "an empty host": "GET /data?mode=poll HTTP/1.1\r\nHost:\r\n\r\n",
  "an asterisk to GET": "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
  "a field name of 64 KiB": `GET /data?mode=poll HTTP/1.1\r\nHost: a\r\n${"n".repeat(65_536)}: x\r\n\r\n`,
  "two hosts": "GET /data?mode=poll HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
  "a NUL in a header": "GET /data?mode=poll HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
  "a header without a name": "GET /data?mode=poll HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n",
  "length and chunks": "POST /events?channel=a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
  "two lengths": "POST /events?channel=a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
  "a negative length": "POST /events?channel=a HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
  "a length that is a word": "POST /events?channel=a HTTP/1.1\r\nHost: a\r\nContent-Length: ten\r\n\r\n",
  "a chunk size that is none": "POST /events?channel=a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
  "a chunk size without end": `POST /events?channel=a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${"f".repeat(40)}\r\n`,
  "a header of 200 kB": `GET /data?mode=poll HTTP/1.1\r\nHost: a\r\nX: ${"a".repeat(200_000)}\r\n\r\n`,
  "5,000 headers": `GET /data?mode=poll HTTP/1.1\r\nHost: a\r\n${Array.from({ length: 5_000 }, (_, at) => `X-${at}: 1\r\n`).join("")}\r\n`,
  "a path of 200 kB": `GET /${"a".repeat(200_000)} HTTP/1.1\r\nHost: a\r\n\r\n`,
};

for (const kind of [STANDALONE, GATEWAY]) {
  describe(`bad input: ${kind}`, () => {
    let stack;
    before(async () => {
      stack = await startStack(kind, { TRIDENT_HEADER_TIMEOUT: "3s" });
    });
    after(async () => {
      await stack?.stop();
      assert.doesNotMatch(stack.said(), /panicked/);
    });

    const target = (path) => stack.base + path.replaceAll(" ", "%20");
    const proper = (answer, what, status, code) => {
      const said = `${what}: ${answer.status} ${answer.body.slice(0, 300)}`;
      if (status === undefined) assert.ok(answer.status >= 400 && answer.status < 500, said);
      else assert.equal(answer.status, status, said);
      const { error } = answer.json();
      assert.match(error.code, /^[a-z_]+$/, said);
      assert.ok(error.message.length > 5, said);
      if (code) assert.equal(error.code, code, said);
    };
    /** Publishing and reading still work on both paths. */
    const goesOn = async () => {
      assert.ok(stack.alive(), stack.said());
      for (const path of ["/data", "/events"]) await publish(stack.base, "public.well", 1, { path });
      const sse = await openEvents(`${stack.base}/events?channel=public.well&since=earliest`);
      await sse.next((item) => item.id);
      await sse.close();
    };

    test("questions", async () => {
      const wrong = [];
      for (const [path, status, code, headers] of QUESTIONS) {
        try {
          proper(await ask(target(path), { headers, within: 3_000 }), `GET ${path} ${JSON.stringify(headers ?? {})}`, status, code);
        } catch (error) {
          wrong.push(error.message);
        }
      }
      assert.deepEqual(wrong, []);
      await goesOn();
    });

    test("publications, none of which is stored", async () => {
      const wrong = [];
      for (const [path, headers, body, status, code] of PUBLICATIONS) {
        try {
          proper(await ask(target(path), { method: "POST", headers: { ...headers, ...bearer() }, body, within: 5_000 }), `POST ${path} ${JSON.stringify(headers)} ${String(body).slice(0, 60)}`, status, code);
        } catch (error) {
          wrong.push(error.message);
        }
      }
      assert.deepEqual(wrong, []);
      for (const path of ["/data?mode=poll&since=earliest&channel=public.bad"]) {
        assert.deepEqual((await ask(stack.base + path)).json().messages, []);
      }
      await goesOn();
    });

    test("the largest accepted body, and the deepest accepted JSON", async () => {
      for (const path of ["/data", "/events"]) {
        const full = await ask(`${stack.base}${path}?channel=public.full`, { method: "POST", headers: { ...JSON_BODY, ...bearer() }, body: `"${"x".repeat(65_534)}"` });
        assert.equal(full.status, 201, full.body);
        const deep = await ask(`${stack.base}${path}?channel=public.full`, { method: "POST", headers: { ...JSON_BODY, ...bearer() }, body: "[".repeat(32_000) + "]".repeat(32_000) });
        assert.ok([201, 400].includes(deep.status), deep.body);
      }
      await goesOn();
    });

    test("methods", async () => {
      for (const path of ["/data", "/events"]) {
        for (const method of ["PUT", "DELETE", "PATCH", "PROPFIND", "TRACE"]) {
          const answer = await ask(stack.base + path, { method, headers: bearer() });
          proper(answer, `${method} ${path}`, 405, "method_not_allowed");
        }
      }
      await goesOn();
    });

    test("bytes that are not a request", async () => {
      for (const [what, bytes] of Object.entries(REQUESTS)) {
        const { back, how } = await raw(stack.port, Buffer.from(bytes, "latin1"), { within: 6_000 });
        const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(back)?.[1] ?? 0);
        // No answer is an answer when the connection is closed with it. A TLS greeting may wait for the rest of itself.
        assert.ok((status >= 400 && status < 600 && status !== 500) || (status === 0 && how === "closed"), `${what}: ${how} after ${back.slice(0, 200)}`);
        assert.doesNotMatch(back.slice(20), /HTTP\/1\.1 2/, `${what}: something came through`);
      }
      await goesOn();
    });

    test(`random bytes (TRIDENT_SEED=${seed})`, async () => {
      const pick = chance();
      const head = "GET /events?channel=public.well HTTP/1.1\r\nHost: a\r\nLast-Event-ID: 1-0\r\nAccept: */*\r\n\r\n";
      for (let at = 0; at < 300; at += 1) {
        const bytes = Buffer.from(at % 2 ? head : head.replace("GET", "POST"), "latin1");
        for (let spoiled = 1 + pick(6); spoiled > 0; spoiled -= 1) bytes[pick(bytes.length)] = pick(256);
        await raw(stack.port, bytes.subarray(0, 1 + pick(bytes.length)), { within: 200, end: true });
      }
      await goesOn();
    });

    test("10,000 requests with incomplete heads", { timeout: 120_000 }, async () => {
      const COUNT = 10_000;
      const sockets = new Set();
      let [opened, closed] = [0, 0];
      try {
        for (let at = 0; at < COUNT; at += 1) {
          const socket = net.connect(stack.port, "127.0.0.1");
          sockets.add(socket);
          socket.on("connect", () => {
            opened += 1;
            socket.write(at % 2 ? "GET /data HTTP/1.1\r\nHost: a\r\nX-Never: " : "POST /events?channel=a HTTP/1.1\r\n");
          });
          socket.on("error", () => {});
          socket.on("data", () => {});
          socket.on("close", () => {
            closed += 1;
            sockets.delete(socket);
          });
          if (at % 250 === 249) await until("connections", () => opened + closed > at - 500, { within: 30_000, every: 5 });
        }
        const began = performance.now();
        const answer = await ask(`${stack.base}/data?mode=poll&channel=public.well`);
        assert.equal(answer.status, 200);
        assert.ok(performance.now() - began < 5_000, "others are served meanwhile");
        await until("the half-open are shed", () => closed >= COUNT, { within: 60_000, every: 100 });
      } finally {
        for (const socket of sockets) socket.destroy();
      }
      await goesOn();
    });
  });
}
