// A replica that takes connections and then says nothing (stopped, swapping, stuck): what each kind of request costs.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { createServer } from "node:net";
import { after, before, describe, test } from "node:test";
import { chat, leaveAll } from "../lib/chat.js";
import { ask, openEvents } from "../lib/http.js";
import { startGateway, startService } from "../lib/stack.js";
import { bearer } from "../lib/token.js";

/** Takes connections, reads, and never answers. `asked` counts requests. */
async function silence() {
  const silent = { asked: 0 };
  const open = new Set();
  const server = createServer((socket) => {
    open.add(socket);
    socket.on("data", (bytes) => {
      if (/^(GET|POST|HEAD|OPTIONS) /.test(bytes.toString("latin1"))) silent.asked += 1;
    });
    socket.on("error", () => {}).on("close", () => open.delete(socket));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  silent.port = server.address().port;
  silent.stop = () => {
    for (const socket of open) socket.destroy();
    return new Promise((resolve) => server.close(resolve));
  };
  return silent;
}

/** The project's times, ten times as fast; and nobody is passed over, so that every request may meet the silent one. */
const hurried = (text) =>
  text
    .replaceAll(/(proxy_read_timeout|proxy_next_upstream_timeout) (\d+)s;/g, (_, name, seconds) => `${name} ${seconds * 100}ms;`)
    .replaceAll("max_fails=2", "max_fails=0");

describe("a replica that accepts requests and does not answer", () => {
  let service;
  let silent;
  let gateway;
  let base;
  before(async () => {
    service = await startService("standalone");
    silent = await silence();
    const both = [silent.port, service.port];
    gateway = await startGateway({ comet: both, chat: both, sse: both }, hurried);
    base = gateway.base;
  });
  after(async () => {
    leaveAll();
    await gateway?.stop();
    await silent?.stop();
    await service?.stop();
  });

  /** Asks until the silent one has been asked twice, and gives all answers. */
  async function meet(request) {
    const before = silent.asked;
    const answers = [];
    for (let at = 0; at < 60 && silent.asked < before + 2; at += 1) answers.push(await request(at));
    assert.ok(silent.asked >= before + 2, "the silent one was asked");
    return answers;
  }
  const publication = (channel, at, headers = {}) =>
    ask(`${base}/${at % 2 ? "data" : "events"}?channel=${channel}`, { method: "POST", headers: { ...bearer(), "Content-Type": "text/plain", ...headers }, body: `${at}` });
  async function held(channel) {
    const answer = await ask(`${service.base}/data?mode=poll&channel=${channel}&since=earliest`);
    return answer.json().messages.map(({ data }) => data);
  }

  test("safe requests are sent to another replica", { timeout: 60_000 }, async () => {
    for (const [path, method] of [
      ["/data?mode=poll&channel=public.x", "GET"],
      ["/comet", "GET"],
      ["/socket.io/socket.io.js", "GET"],
      ["/socket.io/?EIO=4&transport=polling", "GET"],
      ["/events", "OPTIONS"],
    ]) {
      const preflight = method === "OPTIONS" ? { Origin: "http://localhost:1", "Access-Control-Request-Method": "POST" } : {};
      for (const answer of await meet(() => ask(base + path, { method, headers: preflight }))) {
        assert.ok([200, 204].includes(answer.status), `${path}: ${answer.status}`);
        assert.ok(answer.took < 3_000, `${path}: ${answer.took} ms`);
      }
    }
  });

  test("a publication is rejected and not repeated: its outcome is unknown", { timeout: 60_000 }, async () => {
    const answers = await meet((at) => publication("public.once", at));
    const done = answers.flatMap(({ status }, at) => (status === 201 ? [`${at}`] : []));
    for (const answer of answers) {
      if (answer.status === 201) continue;
      assert.equal(answer.status, 503);
      assert.equal(answer.json().error.code, "service_unavailable");
      assert.ok(Number(answer.headers["retry-after"]) > 0);
      assert.ok(answer.took < 3_000);
    }
    assert.deepEqual(await held("public.once"), done);
  });

  test("one with an Idempotency-Key is repeated, and stored once", { timeout: 60_000 }, async () => {
    const answers = await meet((at) => publication("public.keyed", at, { "Idempotency-Key": randomUUID() }));
    assert.deepEqual(answers.map(({ status }) => status), answers.map(() => 201));
    assert.deepEqual(await held("public.keyed"), answers.map((_, at) => `${at}`));
  });

  test("a reader of events is asked to retry", { timeout: 60_000 }, async () => {
    const [streams, fine] = [[], []];
    await meet(async () => {
      const stream = await openEvents(`${base}/events?channel=public.x`);
      assert.equal(stream.status, 200);
      assert.ok(stream.headAfter < 6_000);
      await stream.next((item) => item.retry);
      (stream.headAfter > 1_000 ? streams : fine).push(stream);
    });
    assert.ok(streams.length > 0 && fine.length > 0);
    for (const stream of streams) await stream.closed;
    for (const stream of fine) await stream.close();
  });

  test("a long poll ends late, with an answer", { timeout: 120_000 }, async () => {
    for (const [wait, within] of [[3, 5_500], [60, 8_500]]) {
      // The service's own long polls last as long as ever: those that the silent one had are the ones that are refused.
      const polls = await Promise.all(Array.from({ length: 8 }, () => ask(`${base}/data?channel=public.quiet&wait=${wait}`)));
      const refused = polls.filter(({ status }) => status === 503);
      assert.ok(refused.length > 0, `wait=${wait}`);
      for (const answer of refused) {
        assert.ok(answer.took < within, `${wait}: ${answer.took} ms`);
        assert.equal(answer.headers["retry-after"], "2");
      }
    }
  });

  test("a chat continues, with polling alone as well", { timeout: 60_000 }, async () => {
    for (const transports of [["polling"], ["websocket"]]) {
      // A session is held by one of the two by chance; a client that the silent one got tries again, with another session.
      let clients = [];
      for (let tries = 0; tries < 10 && !clients.some(Boolean); tries += 1) {
        clients = await Promise.all(Array.from({ length: 4 }, () => chat(base, { transports, timeout: 2_000 }).catch(() => null)));
      }
      assert.ok(clients.some(Boolean), "some replica took somebody in");
    }
  });
});
