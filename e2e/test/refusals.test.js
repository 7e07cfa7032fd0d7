// What is refused is counted by its reason, and whoever may come again is told when: each reason at a running process.

import assert from "node:assert/strict";
import net from "node:net";
import { after, describe, test } from "node:test";
import { chat, leaveAll } from "../lib/chat.js";
import { ask, openEvents, openLines } from "../lib/http.js";
import { startRedis } from "../lib/redis.js";
import { startService } from "../lib/stack.js";
import { bearer, token } from "../lib/token.js";
import { soon, until } from "../lib/wait.js";

const CHANNEL = "public.refusals";
const own = [];
const serve = async (settings) => {
  const service = await startService("standalone", { TRIDENT_DEMO: "off", ...settings });
  own.push(service);
  return service;
};
const publish = (base, { headers = bearer(), channel = CHANNEL, body = "x", type = "text/plain" } = {}) =>
  ask(`${base}/data?channel=${channel}`, { method: "POST", headers: { "Content-Type": type, ...headers }, body });
/** Sends bytes as they are, `then` more when there is an answer, and waits for the end of the connection. */
const say = (port, bytes, then) => soon("the end", new Promise((resolve) => {
  let text = "";
  const socket = net.connect(port, "127.0.0.1", () => socket.write(bytes));
  if (then) socket.once("data", () => socket.write(then));
  socket.on("data", (more) => (text += more)).on("error", () => {}).on("close", () => resolve(text));
}), 30_000);

/** Each reason: settings, what is done, and the statuses of the answers, of which each is counted. Of those that say so, all say when to come again. */
const REASONS = {
  connections: [{ TRIDENT_MAX_CONNECTIONS: "1" }, async ({ base }) => {
    const first = await openLines(`${base}/data?mode=stream&channel=${CHANNEL}`);
    const answers = [await ask(`${base}/data?channel=${CHANNEL}`), await ask(`${base}/events?channel=${CHANNEL}`)];
    await first.close();
    return answers;
  }, [503, 200]],
  connections_per_address: [{ TRIDENT_MAX_CONNECTIONS_PER_ADDRESS: "1" }, async ({ base }) => {
    const first = await openEvents(`${base}/events?channel=${CHANNEL}`);
    const answers = [await ask(`${base}/data?channel=${CHANNEL}`), await ask(`${base}/events?channel=${CHANNEL}`)];
    await first.close();
    return answers;
  }, [429, 200]],
  connect_rate: [{ TRIDENT_CONNECT_RATE: "1" }, async ({ base }) => {
    await ask(`${base}/data?mode=poll&channel=${CHANNEL}`);
    return [await ask(`${base}/data?mode=poll&channel=${CHANNEL}`), await ask(`${base}/events?channel=${CHANNEL}`)];
  }, [429, 200]],
  channels: [{ TRIDENT_MAX_CHANNELS: "1" }, async ({ base }) => {
    const first = await openEvents(`${base}/events?channel=${CHANNEL}`);
    await first.next((item) => item.retry);
    const answers = [await ask(`${base}/data?channel=public.another`)];
    await first.close();
    return answers;
  }, [503]],
  publish_rate: [{ TRIDENT_PUBLISH_RATE: "1" }, async ({ base }) => {
    // At the same time: a second later there is room for another one.
    const answers = await Promise.all([publish(base), publish(base)]);
    assert.equal(answers.filter(({ status }) => status === 201).length, 1);
    return answers.filter(({ status }) => status !== 201);
  }, [429]],
  socket_rate: [{ TRIDENT_SOCKET_RATE: "5" }, async ({ base }) => {
    const client = await chat(base, { transports: ["websocket"], reconnection: false });
    const end = new Promise((resolve) => client.socket.once("disconnect", resolve));
    for (let n = 0; n < 50; n += 1) client.socket.emit("typing", true);
    await soon("the end", end);
    return [{ status: 0, headers: {} }];
  }, [0]],
  body_size: [{ TRIDENT_MAX_BODY: "10" }, async ({ base }) => [await publish(base, { body: "x".repeat(11) })], [413]],
  slow_body: [{ TRIDENT_BODY_TIMEOUT: "1s" }, async ({ port }) => {
    const said = await say(port, `POST /data?channel=a HTTP/1.1\r\nHost: a\r\nAuthorization: ${bearer().Authorization}\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nx`);
    return [{ status: Number(said.slice(9, 12)), headers: {} }];
  }, [408]],
  slow_head: [{ TRIDENT_HEADER_TIMEOUT: "1s" }, async ({ port }) => {
    const said = await say(port, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", "GET /healthz HTTP/1.1\r\nHost:");
    return [{ status: said.includes(" 200 OK\r\n") ? 0 : 1, headers: {} }];
  }, [0]],
  bad_token: [{}, async ({ base }) => [await publish(base, { headers: { Authorization: "Bearer no.such.token" } })], [401]],
  not_allowed: [{}, async ({ base }) => [await publish(base, { headers: { Authorization: `Bearer ${token({ trident: { publish: ["news"] } })}` } })], [403]],
  bad_origin: [{}, async ({ base }) => [await ask(`${base}/socket.io/?EIO=4&transport=polling`, { headers: { Origin: "http://evil.example" } })], [403]],
};

describe("refusals are counted by reason", { concurrency: 4 }, () => {
  after(async () => {
    leaveAll();
    for (const one of own.toReversed()) await (one.stop ?? one.close)();
  });

  /** All reasons with their counts. */
  const counts = async (base) => new Map([...(await ask(`${base}/metrics`)).body.matchAll(/^trident_refusals_total\{reason="(\w+)"\} (\d+)$/gm)].map(([, reason, count]) => [reason, Number(count)]));
  const others = (found) => [...found].filter(([, count]) => count > 0).map(([reason]) => reason);
  const tellWhen = (answers) => answers.every(({ status, headers }) => ![429, 503].includes(status) || /^\d+$/.test(headers["retry-after"]));

  for (const [reason, [settings, act, statuses]] of Object.entries(REASONS)) {
    test(reason, { timeout: 60_000 }, async () => {
      const service = await serve(settings);
      assert.deepEqual(others(await counts(service.base)), [], "nothing yet");
      const answers = await act(service);
      assert.deepEqual(answers.map(({ status }) => status), statuses);
      assert.ok(tellWhen(answers), "who may come again is told when");
      for (const { status, body } of answers) if (status === 200) assert.match(body, /^retry: \d+\n/, "a stream says it itself");
      await until("it is counted", async () => (await counts(service.base)).get(reason) === answers.length);
      assert.deepEqual(others(await counts(service.base)), [reason], "and as nothing else");
    });
  }

  test("bus_unavailable", { timeout: 60_000 }, async () => {
    const redis = await startRedis();
    own.push(redis);
    const service = await serve({ TRIDENT_BUS: redis.url });
    assert.equal((await publish(service.base)).status, 201);
    await redis.stop();
    await until("it is noticed", async () => (await fetch(`${service.base}/readyz`)).status === 503);
    const answer = await publish(service.base);
    assert.deepEqual([answer.status, answer.json().error.code], [503, "bus_unavailable"]);
    assert.match(answer.headers["retry-after"], /^\d+$/);
    assert.ok((await counts(service.base)).get("bus_unavailable") > 0);
  });

  test("every reason is tested here", async () => {
    const service = await serve({});
    // These are tested in standalone/tests/backend and edge/src: service/tests.rs, publish.rs, limits/tests.rs, limits/api.rs, server/tests.rs, http1/sockets.rs;
    // chat-svc/tests/api/application.rs; and e2e/hostile/memory.test.js.
    const elsewhere = ["api_answers", "api_rate", "backend_refused", "backend_unavailable", "behind", "channels_per_client", "disconnected", "disk_full", "idempotency_keys", "outcome_unknown", "receive_total", "sockets_per_address", "stream_bytes"];
    assert.deepEqual([...(await counts(service.base)).keys()].toSorted(), [...Object.keys(REASONS), "bus_unavailable", ...elsewhere].toSorted());
  });
});
