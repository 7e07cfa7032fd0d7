// Several replicas of a service behind the gateway: who holds a polling session, and what happens when replicas go and come.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { connect } from "node:net";
import { after, before, describe, test } from "node:test";
import { chat, leaveAll } from "../lib/chat.js";
import { ask, openEvents, publish } from "../lib/http.js";
import { freePort, start } from "../lib/process.js";
import { startRedis } from "../lib/redis.js";
import { startGateway, startService } from "../lib/stack.js";
import { bearer } from "../lib/token.js";
import { soon, until } from "../lib/wait.js";

const CLIENTS = 60;
/** A session whose client went elsewhere is forgotten within ten seconds. */
const SOON_MISSED = { TRIDENT_PING_INTERVAL: "3s", TRIDENT_PING_TIMEOUT: "7s" };

/** Polling sessions that a replica holds. */
async function held(replica) {
  const { body } = await ask(`${replica.base}/metrics`);
  return Number(/^trident_connections\{transport="polling"\} (\d+)$/m.exec(body)?.[1] ?? 0);
}

/** Opens a session without a client's cleverness and gives its id. */
async function handshake(base, headers = {}) {
  const answer = await ask(`${base}/socket.io/?EIO=4&transport=polling`, { headers });
  assert.equal(answer.status, 200, answer.body);
  return JSON.parse(answer.body.slice(1)).sid;
}

const say = (base, sid, packet) => ask(`${base}/socket.io/?EIO=4&transport=polling&sid=${sid}`, { method: "POST", headers: { "Content-Type": "text/plain" }, body: packet });

describe("Socket.IO by polling alone, three replicas, all clients of one address", () => {
  let redis;
  let gateway;
  let replicas;
  const startChat = () => startService("chat-svc", { TRIDENT_BUS: redis.url, ...SOON_MISSED });
  const upstreams = (...chats) => ({ comet: 9, sse: 9, chat: chats.map((replica) => replica.port) });
  before(async () => {
    redis = await startRedis();
    replicas = await Promise.all([startChat(), startChat(), startChat()]);
    gateway = await startGateway(upstreams(...replicas));
  });
  after(async () => {
    leaveAll();
    await gateway?.stop();
    for (const replica of replicas ?? []) await replica.stop();
    await redis?.close();
  });

  test("every replica gets sessions, and each session's requests find it", { timeout: 120_000 }, async () => {
    const clients = await Promise.all(Array.from({ length: CLIENTS }, () => chat(gateway.base, { transports: ["polling"] })));
    const shares = await Promise.all(replicas.map(held));
    assert.equal(shares.reduce((sum, one) => sum + one), CLIENTS);
    for (const share of shares) assert.ok(share >= CLIENTS / 10, `sessions fell ${shares.join(", ")}`);
    for (let round = 0; round < 3; round += 1) {
      const text = `round ${round}`;
      const { ok } = await clients[round].say(text);
      assert.ok(ok);
      await Promise.all(clients.map((client) => client.hears("chat message", (said) => said === text)));
    }
    // A request that went elsewhere would have been answered 400, and the client would have let go.
    for (const client of clients) assert.deepEqual(client.disconnects, []);

    // One is gone from one moment to the next. Its clients are told 400 by another one, and come back there.
    await replicas[0].stop("SIGKILL");
    await until("all clients back", () => clients.every((client) => client.socket.connected && client.connects.length === 1 + client.disconnects.length) && clients.some((client) => client.disconnects.length > 0), { within: 40_000 });
    await until("what is left holds them all", async () => (await held(replicas[1])) + (await held(replicas[2])) === CLIENTS, { within: 40_000 });
    const moved = clients.filter((client) => client.disconnects.length > 0).length;
    assert.equal(moved, shares[0], "only sessions that were held there moved");

    // And one comes in its place, at another address: it takes its share, and the others keep theirs.
    const [, second, third] = replicas;
    const kept = clients.map((client) => client.connects.length);
    const fourth = await startChat();
    replicas = [second, third, fourth];
    await gateway.serve(upstreams(...replicas));
    await until("the new one has sessions", async () => (await held(fourth)) > 0, { within: 40_000 });
    await until("all hold all", async () => (await Promise.all(replicas.map(held))).reduce((sum, one) => sum + one) === CLIENTS, { within: 60_000 });
    await until("all are connected", () => clients.every((client) => client.socket.connected));
    const left = clients.filter((client, at) => client.connects.length > kept[at]).length;
    assert.ok(left > 0 && left < CLIENTS * 0.6, `${left} of ${CLIENTS} moved to a third replica`);
    await clients[0].say("all together");
    await Promise.all(clients.map((client) => client.hears("chat message", (said) => said === "all together")));
    leaveAll();
  });

  test("a session cannot choose its replica", async () => {
    const sids = await Promise.all(Array.from({ length: 8 }, () => handshake(gateway.base, { "Trident-Session-Key": "beef" })));
    assert.ok(sids.every((sid) => /^[0-9a-f]{4}[\w-]{16}$/.test(sid)), sids.join());
    assert.ok(sids.some((sid) => !sid.startsWith("beef")), "the gateway passed the client's own header on");
    assert.ok(new Set(sids.map((sid) => sid.slice(0, 4))).size > 1, "the first four characters are drawn anew for each session");
    const unknown = await ask(`${gateway.base}/socket.io/?EIO=4&transport=polling&sid=${"x".repeat(20)}`);
    assert.deepEqual([unknown.status, unknown.json().code], [400, 1]);
  });

  test("a new session never stays with an unavailable replica", { timeout: 60_000 }, async () => {
    const gone = replicas.pop();
    await gone.stop("SIGKILL");
    for (let at = 0; at < 30; at += 1) {
      const sid = await handshake(gateway.base);
      const answer = await say(gateway.base, sid, "40");
      assert.equal(answer.status, 200, `${sid}: ${answer.body}`);
    }
  });
});

/** A port whose connections are neither accepted nor refused: its queue is full, and who listens there is stopped. */
async function hole() {
  const port = await freePort();
  const script = `require("net").createServer().listen({ port: ${port}, host: "127.0.0.1", backlog: 1 }, () => console.log("listens"))`;
  const listener = start(process.execPath, ["-e", script], process.env);
  await until("it listens", () => listener.said().includes("listens"));
  listener.signal("SIGSTOP");
  const queued = [];
  await until("its queue is full", async () => {
    const line = connect(port, "127.0.0.1").on("error", () => {});
    queued.push(line);
    return await soon("a connection", once(line, "connect"), 300).then(() => false, () => true);
  });
  return {
    port,
    async close() {
      queued.forEach((line) => line.destroy());
      await listener.stop("SIGKILL");
    },
  };
}

describe("publishing through the gateway while a replica fails", () => {
  let redis;
  let service;
  let gateway;
  let broken;
  let taken = 0;
  before(async () => {
    redis = await startRedis();
    service = await startService("sse-svc", { TRIDENT_BUS: redis.url, TRIDENT_DEMO: "off" });
    // It publishes what it is sent, and breaks off before it answers: the worst that can happen.
    broken = createServer(async (request, response) => {
      if (request.method === "POST") {
        taken += 1;
        await publish(service.base, "public.once", `by the broken one ${taken}`);
      }
      response.destroy();
    });
    await new Promise((resolve) => broken.listen(0, "127.0.0.1", resolve));
    gateway = await startGateway({ comet: 9, chat: 9, sse: [broken.address().port, service.port] });
  });
  after(async () => {
    await gateway?.stop();
    broken?.close();
    await service?.stop();
    await redis?.close();
  });

  test("no publication is sent twice, and rejected ones get an error", { timeout: 60_000 }, async () => {
    const answers = [];
    for (let at = 0; at < 20; at += 1) {
      answers.push(await ask(`${gateway.base}/events?channel=public.once`, { method: "POST", headers: { "Content-Type": "text/plain", ...bearer() }, body: `${at}` }));
    }
    const done = answers.filter((answer) => answer.status === 201).length;
    const refused = answers.filter((answer) => answer.status === 503);
    assert.equal(done + refused.length, answers.length, answers.map((answer) => answer.status).join());
    assert.ok(refused.length > 0 && done > 0, `${done} published, ${refused.length} refused`);
    for (const answer of refused) assert.equal(answer.json().error.code, "service_unavailable");
    assert.equal(taken, refused.length, "each that broke off was refused, and not begun again");
    const stream = await openEvents(`${service.base}/events?channel=public.once&since=earliest`);
    const last = await publish(service.base, "public.once", "the last");
    await stream.next((item) => item.id === last);
    assert.equal(stream.items.filter((item) => item.id).length, done + taken + 1);
    await stream.close();
  });

  test("an unreachable replica is skipped at once", { timeout: 60_000 }, async () => {
    await new Promise((resolve) => {
      broken.close(resolve);
      broken.closeAllConnections();
    });
    for (let at = 0; at < 20; at += 1) await publish(gateway.base, "public.once", at);
  });

  test("a replica whose host is gone delays one client, and no request fails", { timeout: 90_000 }, async () => {
    const vanished = await hole();
    try {
      await gateway.serve({ comet: 9, chat: 9, sse: [vanished.port, service.port] });
      const took = [];
      for (let at = 0; at < 12; at += 1) {
        const began = performance.now();
        await publish(gateway.base, "public.once", at);
        took.push(performance.now() - began);
      }
      assert.ok(Math.max(...took) > 2_500, "nobody was sent to the one that vanished: nothing was tried");
      assert.ok(Math.max(...took) < 8_000, `publishing took ${Math.max(...took)} ms`);
      assert.ok(took.filter((one) => one < 1_500).length >= took.length / 2, `most are not delayed: ${took.map(Math.round).join(", ")}`);
    } finally {
      await vanished.close();
    }
  });
});
