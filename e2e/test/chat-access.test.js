// Who may come in and read what: tokens, origins, and limits.

import assert from "node:assert/strict";
import { connect } from "node:net";
import { after, before, describe, test } from "node:test";
import { WAYS, chat, chatClient, figure, leaveAll, newRoom, refused } from "../lib/chat.js";
import { ask, publish, raw } from "../lib/http.js";
import { GATEWAY, STANDALONE, startService, startStack } from "../lib/stack.js";
import { token } from "../lib/token.js";
import { until } from "../lib/wait.js";

const soonOver = (seconds) => Math.floor(Date.now() / 1_000) + seconds;
const reader = (claims) => token({ trident: { publish: [], subscribe: ["private.*", "chat.staff"] }, ...claims });

for (const kind of [STANDALONE, GATEWAY]) {
  describe(`chat, access: ${kind}`, () => {
    let [stack, service] = [];
    before(async () => {
      stack = await startStack(kind);
      service = stack.services["chat-svc"] ?? stack.services.standalone;
    });
    after(async () => {
      leaveAll();
      await stack?.stop();
    });

    test("private channels need a token that names them", async () => {
      const nobody = await chat(stack.base);
      assert.equal((await nobody.ask("subscribe", { channels: ["private.a"] })).error.code, "token_needed");
      for (const options of [{ auth: { token: reader() } }, { extraHeaders: { Authorization: `Bearer ${reader()}` } }, { extraHeaders: { Cookie: `a=b; trident_token=${reader()}` } }]) {
        const somebody = await chat(stack.base, options);
        assert.equal((await somebody.ask("subscribe", { channels: ["private.a"] })).ok, true, JSON.stringify(options));
        assert.equal((await somebody.ask("subscribe", { channels: ["secret"] })).error.code, "insufficient_scope");
      }
      const id = kind === STANDALONE ? await publish(stack.base, "private.a", "psst") : undefined;
      if (id) {
        const somebody = await chat(stack.base, { auth: { token: reader() } });
        await somebody.ask("subscribe", { channels: ["private.a"], since: "earliest" });
        await somebody.hears("message", (data) => data === "psst");
        assert.equal(nobody.told.filter(({ args }) => args[1]?.channel === "private.a").length, 0);
      }
    });

    test("a cookie is accepted from the same origin only", async (t) => {
      const cookie = { Cookie: `trident_token=${reader()}` };
      const page = await chat(stack.base, { extraHeaders: { ...cookie, Origin: stack.base } });
      assert.equal((await page.ask("subscribe", { channels: ["private.a"] })).ok, true);
      const unlisted = await chat(stack.base, { extraHeaders: { ...cookie, Origin: "http://localhost:5173" } });
      assert.equal((await unlisted.ask("subscribe", { channels: ["private.a"] })).error.code, "token_needed", "nobody configured it");
      const open = await startService("standalone", { TRIDENT_ORIGINS: "*" });
      t.after(() => open.stop());
      const stranger = await chat(open.base, { extraHeaders: { ...cookie, Origin: "https://evil.example" } });
      assert.equal((await stranger.ask("subscribe", { channels: ["private.a"] })).error.code, "token_needed");
    });

    test("an invalid token is rejected at once, with its code", async () => {
      for (const wrong of ["nonsense", token({}, { secret: "x".repeat(40) }), token({ exp: soonOver(-120) }), token({}, { algorithm: "none" }), "", 5, {}]) {
        for (const options of Object.values(WAYS)) {
          const error = await refused(stack.base, { ...options, auth: { token: wrong } });
          assert.equal(error.data?.code, "bad_token", `${JSON.stringify(wrong)}: ${error.message}`);
          assert.ok(error.message.length > 5);
        }
      }
      assert.equal((await refused(stack.base, { extraHeaders: { Authorization: "Bearer nonsense" } })).data.code, "bad_token");
      // No token is no bad one.
      for (const auth of [{}, { token: null }, { other: 1 }]) (await chat(stack.base, { auth })).close();
    });

    for (const [way, options] of Object.entries(WAYS)) {
      test(`a connection ends with its token, ${way}`, { timeout: 30_000 }, async () => {
        const client = await chat(stack.base, { ...options, auth: { token: reader({ exp: soonOver(2) }) }, reconnection: false });
        assert.equal((await client.ask("subscribe", { channels: ["private.a"] })).ok, true);
        await until("the end", () => client.disconnects.length > 0);
        assert.deepEqual(client.disconnects, ["transport close"]);
        // It shows the same token again when it comes back, and is told.
        const error = await refused(stack.base, { ...options, auth: { token: reader({ exp: soonOver(-2) }) } });
        assert.equal(error.data?.code, "bad_token");
      });
    }

    test("a client that recovers a session must still have permission", { timeout: 30_000 }, async () => {
      let shown = reader({ exp: soonOver(3) });
      const client = await chat(stack.base, { auth: (send) => send(shown ? { token: shown } : {}) });
      const { id } = client.socket;
      await client.ask("subscribe", { channels: ["private.a"] });
      await client.say("something to remember");
      await client.hears("chat message");
      shown = undefined;
      const error = await new Promise((resolve) => client.socket.once("connect_error", resolve));
      assert.equal(error.data?.code, "token_needed");
      // With a new token all is as it was.
      shown = reader();
      client.socket.connect();
      await until("the way back", () => client.connects.length === 2);
      assert.deepEqual(client.connects[1], { recovered: true, id });
    });

    test("rooms that are not public", async (t) => {
      const closed = await startService("standalone", { TRIDENT_PUBLIC: "random" });
      t.after(() => closed.stop());
      const { base } = closed;
      const nobody = await chat(base);
      assert.equal((await nobody.say("anybody?")).error.code, "no_room");
      assert.equal((await nobody.ask("join", "staff")).error.code, "token_needed");
      const staff = await chat(base, { auth: { token: reader() } });
      assert.equal((await staff.ask("join", "staff")).ok, true);
      assert.equal((await staff.say("hm")).error.code, "forbidden");
      const boss = await chat(base, { auth: { token: token({ trident: { publish: ["chat.staff"], subscribe: ["chat.*"] } }) } });
      await boss.ask("join", "staff");
      assert.equal((await boss.say("listen")).ok, true);
      await staff.hears("chat message", (data) => data === "listen");
    });

    test("other origins are rejected, at the handshake and at the upgrade", async () => {
      const before = await figure(service.base, 'trident_refusals_total{reason="bad_origin"}');
      for (const options of Object.values(WAYS)) {
        await refused(stack.base, { ...options, extraHeaders: { Origin: "https://evil.example" } });
        const own = await chat(stack.base, { ...options, extraHeaders: { Origin: stack.base } });
        own.close();
      }
      const handshake = `${stack.base}/socket.io/?EIO=4&transport=polling`;
      for (const Origin of ["https://evil.example", "http://localhost.evil.example", "null"]) {
        const answer = await ask(handshake, { headers: { Origin } });
        assert.equal(answer.status, 403, Origin);
        assert.deepEqual(answer.json(), { code: 4, message: "Forbidden" });
        assert.equal(answer.headers["access-control-allow-origin"], undefined);
      }
      // A session that is there lets no stranger's WebSocket in.
      const opened = await ask(handshake, { headers: { Origin: "http://localhost:3000" } });
      assert.equal(opened.headers["access-control-allow-origin"], "http://localhost:3000");
      const { sid } = JSON.parse(opened.body.slice(1));
      const upgrade = (origin) => raw(stack.port, `GET /socket.io/?EIO=4&transport=websocket&sid=${sid} HTTP/1.1\r\nHost: 127.0.0.1:${stack.port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: ${origin}\r\n\r\n`, { within: 1_000 });
      assert.match((await upgrade("https://evil.example")).back, /^HTTP\/1\.1 400 /);
      assert.match((await upgrade("http://localhost:3000")).back, /^HTTP\/1\.1 101 /);
      await until("they are counted", async () => (await figure(service.base, 'trident_refusals_total{reason="bad_origin"}')) >= before + 6);
    });
  });
}

describe("chat, limits", () => {
  const services = [];
  const serve = async (settings) => {
    const service = await startService("chat-svc", settings);
    services.push(service);
    return service;
  };
  after(async () => {
    leaveAll();
    for (const service of services) await service.stop();
  });

  test("TRIDENT_MAX_CONNECTIONS", async () => {
    const { base } = await serve({ TRIDENT_MAX_CONNECTIONS: "2" });
    const [first, second] = [await chat(base), await chat(base, WAYS["polling only"])];
    for (const options of Object.values(WAYS)) await refused(base, options);
    const answer = await ask(`${base}/socket.io/?EIO=4&transport=polling`);
    assert.deepEqual([answer.status, answer.json().code], [403, 4]);
    assert.ok((await figure(base, 'trident_refusals_total{reason="connections"}')) >= 4);
    // A client that waits gets the place of one who leaves.
    const waiting = chatClient(base, { reconnection: true });
    waiting.socket.connect();
    await new Promise((resolve) => waiting.socket.once("connect_error", resolve));
    first.close();
    await until("the free place", () => waiting.socket.connected);
    assert.equal((await second.say("here")).ok, true);
  });

  test("TRIDENT_MAX_CONNECTIONS_PER_ADDRESS", async () => {
    const { base } = await serve({ TRIDENT_MAX_CONNECTIONS_PER_ADDRESS: "2" });
    const first = await chat(base);
    await chat(base, WAYS["polling only"]);
    for (const options of Object.values(WAYS)) await refused(base, options);
    const answer = await ask(`${base}/socket.io/?EIO=4&transport=polling`);
    assert.deepEqual([answer.status, answer.json().code], [403, 4]);
    assert.match(answer.json().message, /TRIDENT_MAX_CONNECTIONS_PER_ADDRESS/);
    assert.ok((await figure(base, 'trident_refusals_total{reason="connections_per_address"}')) >= 4);
    // Another address, as the proxy in front says it, has places of its own.
    (await chat(base, { extraHeaders: { "X-Forwarded-For": "203.0.113.9" } })).close();
    first.close();
    await until("the place is free", async () => (await figure(base, 'trident_connections{transport="websocket"}')) === 0);
    await chat(base);
  });

  test("a session without a namespace uses a slot, too", async () => {
    const { base } = await serve({ TRIDENT_MAX_CONNECTIONS_PER_ADDRESS: "2" });
    const open = () => ask(`${base}/socket.io/?EIO=4&transport=polling`);
    assert.deepEqual([(await open()).status, (await open()).status, (await open()).status], [200, 200, 403]);
    assert.equal(await figure(base, 'trident_connections{transport="polling"}'), 2);
    // Another address has places of its own.
    (await chat(base, { extraHeaders: { "X-Forwarded-For": "203.0.113.9" } })).close();
  });

  test("the gateway chooses the prefix of session ids", async () => {
    const { base } = await serve({});
    const open = async (key) => {
      const answer = await ask(`${base}/socket.io/?EIO=4&transport=polling`, { headers: { "Trident-Session-Key": key } });
      return JSON.parse(answer.body.slice(1)).sid;
    };
    assert.match(await open("0af3"), /^0af3[\w-]{16}$/);
    const other = await open("not a key");
    assert.match(other, /^[\w-]{20}$/);
  });

  test("TRIDENT_SOCKET_RATE", async () => {
    const { base } = await serve({ TRIDENT_SOCKET_RATE: "20" });
    const flood = await chat(base, { reconnection: false });
    const calm = await chat(base);
    for (let n = 0; n < 200; n += 1) flood.socket.emit("typing", true);
    await until("the end of the flood", () => flood.disconnects.length > 0);
    assert.equal((await calm.say("goes on")).ok, true);
    assert.deepEqual(calm.disconnects, []);
    await until("it is counted", async () => (await figure(base, 'trident_refusals_total{reason="socket_rate"}')) === 1);
  });

  test("TRIDENT_PUBLISH_RATE", async () => {
    const { base } = await serve({ TRIDENT_PUBLISH_RATE: "5" });
    const client = await chat(base);
    const answers = await Promise.all(Array.from({ length: 20 }, (_, n) => client.say(n)));
    const bad = answers.filter(({ ok }) => !ok);
    assert.ok(bad.length >= 10, JSON.stringify(answers));
    assert.ok(bad.every(({ error }) => error.code === "too_many_requests"));
    const good = answers.filter(({ ok }) => ok).map(({ id }) => id);
    await until("what was acked comes", () => client.said().length === good.length);
    assert.deepEqual(client.said().map(([, meta]) => meta.id), good);
  });

  test("a silent connection uses a slot only for a short time", async () => {
    const { base, port } = await serve({ TRIDENT_MAX_CONNECTIONS: "3" });
    const silent = connect(port, "127.0.0.1");
    const client = await chat(base);
    assert.equal((await client.say("here")).ok, true);
    silent.destroy();
  });
});
