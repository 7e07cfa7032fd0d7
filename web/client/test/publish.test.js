import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { publish, TridentError } from "../dist/index.js";
import { retryAfter } from "../dist/http.js";
import { json, refuse, serve } from "./server.js";

let running;
afterEach(() => running?.close());

/** A server that answers with these in turn, the last of them again and again. */
async function answers(...all) {
  running = await serve((request, response) => {
    const answer = all.length > 1 ? all.shift() : all[0];
    answer(response, request);
  });
  return running;
}

const good = (response) => json(response, 201, { id: "7-0" });

test("one request, and the id", async () => {
  const { url, asked } = await answers(good);
  assert.equal(await publish({ channel: "a b", data: { x: 1 }, event: "e" }, { url, token: "t" }), "7-0");
  const [{ method, path, query, headers }] = asked;
  assert.deepEqual([method, path, query.get("channel"), query.get("event")], ["POST", "/events", "a b", "e"]);
  assert.equal(headers.authorization, "Bearer t");
  assert.match(headers["idempotency-key"], /^[0-9a-f]{32}$/);
});

test("a text of JSON is sent as it is", async () => {
  let body = "";
  const { url } = await answers((response, request) => {
    request.on("data", (bytes) => (body += bytes));
    request.on("end", () => good(response));
  });
  await publish({ channel: "c", json: '{"n": 12345678901234567890}' }, { url });
  assert.equal(body, '{"n": 12345678901234567890}');
});

test("temporary failures are retried with the same key", async () => {
  const busy = (response) => json(response, 503, { error: { code: "bus_unavailable", message: "unavailable" } }, { "Retry-After": "0" });
  const { url, asked } = await answers((response) => response.destroy(), busy, good);
  assert.equal(await publish({ channel: "c", data: 1 }, { url }), "7-0");
  assert.equal(asked.length, 3);
  assert.equal(new Set(asked.map(({ headers }) => headers["idempotency-key"])).size, 1);
});

test("rejections are not retried", async () => {
  const { url, asked } = await answers((response) => refuse(response, 403, "insufficient_scope"));
  const token = () => "t";
  await assert.rejects(publish({ channel: "c", data: 1 }, { url, token }), (error) => error instanceof TridentError && error.code === "insufficient_scope");
  assert.equal(asked.length, 1);
});

for (const [status, code] of [[413, "too_large"], [415, "unsupported_media_type"], [422, "idempotency_key_reused"]]) {
  test(`${status} ${code} is the server's own refusal`, async () => {
    const { url } = await answers((response) => refuse(response, status, code));
    await assert.rejects(publish({ channel: "c", data: 1 }, { url }), { why: "refused", status, code });
  });
}

test("a rejected token is replaced once", async () => {
  const { url, asked } = await answers((response) => refuse(response, 401, "bad_token"));
  const given = [];
  await assert.rejects(publish({ channel: "c", data: 1 }, { url, token: (isRefused) => given.push(isRefused) && "t" }), /bad_token/);
  assert.deepEqual([given, asked.length], [[false, true], 2]);
});

test("replacing a rejected token does not count as an attempt", async () => {
  const { url, asked } = await answers((response) => refuse(response, 401, "bad_token"), good);
  assert.equal(await publish({ channel: "c", data: 1 }, { url, attempts: 1, token: (isRefused) => (isRefused ? "new" : "old") }), "7-0");
  assert.deepEqual(asked.map(({ headers }) => headers.authorization), ["Bearer old", "Bearer new"]);
});

test("it gives up after the last attempt, and stops when it is aborted", async () => {
  const { url, asked } = await answers((response) => response.destroy());
  await assert.rejects(publish({ channel: "c", data: 1 }, { url, attempts: 2 }), /cannot be reached/);
  assert.equal(asked.length, 2);
  const signal = AbortSignal.timeout(100);
  await assert.rejects(publish({ channel: "c", data: 1 }, { url, signal, attempts: 50 }), { name: "TimeoutError" });
});

test("Retry-After is seconds or a date", () => {
  assert.equal(retryAfter("2"), 2_000);
  assert.equal(retryAfter("0"), undefined);
  assert.equal(retryAfter(null), undefined);
  assert.equal(retryAfter("soon"), undefined);
  assert.equal(retryAfter("86400"), 300_000, "not for a day");
  const left = retryAfter(new Date(Date.now() + 60_000).toUTCString());
  assert.ok(left > 58_000 && left <= 60_000, `${left}`);
});

test("a token that cannot be had is reported as such, after all attempts", async () => {
  const { url, asked } = await answers(good);
  let calls = 0;
  const token = async () => {
    if ((calls += 1) < 3) throw new Error("the login failed");
    return "t";
  };
  await assert.rejects(publish({ channel: "c", data: 1 }, { url, token, attempts: 1 }), { why: "token", message: "Error: the login failed" });
  assert.equal(asked.length, 0);
  assert.equal(await publish({ channel: "c", data: 1 }, { url, token, attempts: 2 }), "7-0");
  assert.equal(calls, 3);
});
