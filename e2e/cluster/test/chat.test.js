// The chat's service on two replicas, and Node's server, in one cluster: what is said in a room and what Node emits to it reach
// the clients of both, once.

import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { Emitter } from "@socket.io/redis-emitter";
import { createClient } from "redis";
import { proxy } from "../../lib/proxy.js";
import { startService } from "../../lib/stack.js";
import { until } from "../../lib/wait.js";
import { connect, startCluster } from "../support/cluster.js";

/** Clients come back fast, and as often as they have to. */
const COMES_BACK = { reconnection: true, reconnectionDelay: 20, reconnectionDelayMax: 50 };
/** The lease of whoever tells Node what is said. */
const LEASE = "{trident:log}:lease:socket.io";
const BYTES = Buffer.from([0, 255, 128, 10]);

describe("the chat in a cluster with Node", () => {
  let cluster;
  let node;
  let replicas = [];
  let lines = [];
  let clients = [];
  let redis;
  let rooms = 0;
  const newRoom = () => `room-${(rooms += 1)}`;

  const startReplica = async () => {
    const replica = await startService("chat-svc", { TRIDENT_BUS: cluster.redis.url });
    replicas.push(replica);
    return replica;
  };
  const enter = async (server, options) => {
    const client = await connect(server, "/", options);
    clients.push(client);
    return client;
  };
  /** A client of the chat in a room. */
  const member = async (replica, room, options) => {
    const client = await enter({ url: replica.base ?? replica.url }, options);
    assert.equal((await client.ask("join", room)).ok, true);
    return client;
  };
  /** A client of Node's in the Socket.IO room that is called as the channel of the chat's room. */
  const guest = async (room) => {
    const client = await enter(node);
    await client.ask("join", `chat.${room}`);
    return client;
  };
  /** What was heard as chat messages, without what the chat says of them. */
  const said = (client) => client.heardAll("chat message").map(([data]) => data);
  /** Says this again and again, as messages that can be told apart, until one of them is heard by `client`. */
  const sayUntilHeard = async (speaker, client, mark, within = 10_000) => {
    let n = 0;
    await until(`${mark} reaches Node`, async () => {
      await speaker.ask("chat message", `${mark} ${(n += 1)}`);
      return said(client).some((data) => String(data).startsWith(mark));
    }, { within, every: 100 });
    return n;
  };
  /** Nothing twice, and nothing out of order: messages of `sayUntilHeard` and of loops bear numbers that grow. */
  const isOnce = (client, mark) => {
    const numbers = said(client).filter((data) => String(data).startsWith(`${mark} `)).map((data) => Number(data.slice(mark.length + 1)));
    assert.deepEqual(numbers, [...new Set(numbers)].sort((a, b) => a - b), `${mark}: once, and in order`);
    return numbers;
  };

  before(async () => {
    cluster = await startCluster(["node"]);
    node = cluster.servers[0];
    await Promise.all([startReplica(), startReplica()]);
    redis = await createClient({ url: cluster.redis.url }).on("error", () => {}).connect();
    const asks = await connect(node, "/");
    await until("Node counts all three", async () => (await asks.ask("count")) === 3);
    asks.close();
    // From here on one of the replicas tells Node.
    const room = newRoom();
    await sayUntilHeard(await member(replicas[0], room), await guest(room), "ready");
  });
  afterEach(async () => {
    for (const client of clients) client.close();
    await Promise.all(lines.map((line) => line.stop()));
    [clients, lines] = [[], []];
  });
  after(async () => {
    redis?.destroy();
    await Promise.all(replicas.filter((replica) => replica.alive()).map((replica) => replica.stop("SIGKILL")));
    await cluster?.close();
  });

  test("a room's message from any replica reaches Node's clients of the room once", { timeout: 60_000 }, async () => {
    const room = newRoom();
    const [here, elsewhere] = [await guest(room), await guest(newRoom())];
    const speakers = await Promise.all(replicas.map((replica) => member(replica, room)));
    const all = Array.from({ length: 30 }, (_, n) => `text ${n}`);
    for (const [n, text] of all.entries()) assert.equal((await speakers[n % 2].ask("chat message", text)).ok, true);
    await speakers[0].ask("chat message", { list: [BYTES, { deep: BYTES }], n: 1 });
    await speakers[1].ask("chat message", "end");
    for (const client of [here, ...speakers]) {
      await client.hears(([event, data]) => event === "chat message" && data === "end");
      assert.deepEqual(said(client), [...all, { list: [BYTES, { deep: BYTES }], n: 1 }, "end"]);
    }
    const [, meta] = here.heardAll("chat message")[0];
    assert.equal(meta.room, room);
    assert.equal(here.heardAll("chat message")[0].length, 2, "Node's clients get no offset");
    assert.deepEqual(said(elsewhere), []);
  });

  test("an event that Node emits to a room reaches only the chat's clients in it", { timeout: 60_000 }, async () => {
    const room = newRoom();
    const speaker = await guest(room);
    const inside = await Promise.all(replicas.map((replica) => member(replica, room)));
    const outside = await Promise.all(replicas.map((replica) => member(replica, newRoom())));
    const to = { rooms: [`chat.${room}`] };
    await speaker.ask("emit", to, "news", [1, { bytes: BYTES }, BYTES, { n: 2 }]);
    await speaker.ask("emit", { ...to, except: [inside[0].id] }, "news", [{ not: "for the first" }]);
    await speaker.ask("emit", { ...to, except: [`chat.${room}`] }, "news", [{ for: "nobody" }]);
    await speaker.ask("emit", {}, "news", [{ end: true }]);
    for (const client of [...inside, ...outside, speaker]) await client.hears(([event, what]) => event === "news" && what.end);
    const [first, second, end] = [[1, { bytes: BYTES }, BYTES, { n: 2 }], [{ not: "for the first" }], [{ end: true }]];
    assert.deepEqual(inside[0].heardAll("news"), [first, end]);
    assert.deepEqual(inside[1].heardAll("news"), [first, second, end]);
    assert.deepEqual(speaker.heardAll("news"), [first, second, end]);
    for (const client of outside) assert.deepEqual(client.heardAll("news"), [[{ end: true }]]);
  });

  test("the emitter reaches the chat's clients", { timeout: 60_000 }, async () => {
    const room = newRoom();
    const inside = await Promise.all([...replicas.map((replica) => member(replica, room)), guest(room)]);
    const outside = await member(replicas[0], newRoom());
    const emitter = new Emitter(redis);
    emitter.to(`chat.${room}`).emit("news", { bytes: BYTES });
    emitter.to(`chat.${room}`).except(inside[1].id).emit("news", { not: "for the second" });
    emitter.emit("news", { end: true });
    for (const client of [...inside, outside]) await client.hears(([event, what]) => event === "news" && what.end);
    for (const [n, client] of inside.entries()) {
      const expected = [{ bytes: BYTES }, ...(n === 1 ? [] : [{ not: "for the second" }]), { end: true }];
      assert.deepEqual(client.heardAll("news"), expected.map((one) => [one]));
    }
    assert.deepEqual(outside.heardAll("news"), [[{ end: true }]]);
  });

  test("an event of Node's that ends in a string does not disturb recovery", { timeout: 60_000 }, async () => {
    const room = newRoom();
    const speaker = await guest(room);
    const writer = await member(replicas[1], room);
    for (const last of ["a string", "1-0", ""]) {
      const line = await proxy({ host: "127.0.0.1", port: replicas[0].port });
      lines.push(line);
      const client = await member(line, room, COMES_BACK);
      const { id } = client;
      await writer.ask("chat message", "before");
      await client.hears("chat message");
      await speaker.ask("emit", { rooms: [`chat.${room}`] }, "news", [{ n: 1 }, last]);
      const [, ...news] = await client.hears("news");
      assert.deepEqual(news.slice(0, 2), [{ n: 1 }, last]);
      line.refuse(true);
      line.cut();
      await until("the cut", () => !client.socket.connected);
      for (const text of ["one", "two"]) await writer.ask("chat message", text);
      line.refuse(false);
      await until("the way back", () => client.socket.connected);
      assert.equal(client.socket.recovered, true, `after ${JSON.stringify(last)}`);
      assert.equal(client.id, id);
      await client.hears(([, data]) => data === "two");
      assert.deepEqual(said(client), ["before", "one", "two"]);
      client.close();
    }
  });

  test("a replica is killed: another one continues to notify Node, and nothing is sent twice", { timeout: 120_000 }, async () => {
    // One of the two first replicas has the lease, so that by the end it was its holder that was killed, and once, it may be, another.
    let moved = 0;
    for (const victim of [...replicas]) {
      const room = newRoom();
      const [other] = replicas.filter((replica) => replica !== victim && replica.alive());
      const next = await startReplica();
      const [listener, speaker] = [await guest(room), await member(other, room)];
      await sayUntilHeard(speaker, listener, "before");
      const holder = await redis.get(LEASE);
      await victim.stop("SIGKILL");
      const killed = performance.now();
      const tries = await sayUntilHeard(speaker, listener, "after", 8_000);
      const silence = performance.now() - killed;
      const isMoved = (await redis.get(LEASE)) !== holder;
      moved += isMoved ? 1 : 0;
      assert.ok(silence < 4_500, `Node heard nothing for ${Math.round(silence)} ms, ${tries} messages`);
      // All that comes from now on comes, wherever it is said.
      const newcomer = await member(next, room);
      for (let n = 1; n <= 40; n += 1) await [speaker, newcomer][n % 2].ask("chat message", `steady ${n}`);
      await listener.hears(([, data]) => data === "steady 40");
      assert.deepEqual(isOnce(listener, "steady"), Array.from({ length: 40 }, (_, n) => n + 1));
      for (const mark of ["before", "after"]) isOnce(listener, mark);
      if (!isMoved) assert.deepEqual(isOnce(listener, "after"), Array.from({ length: tries }, (_, n) => n + 1), "who only stood by is not missed");
    }
    assert.ok(moved > 0, "the lease has another holder");
  });

  test("replicas that are stopped in turn: Node receives every message once", { timeout: 120_000 }, async () => {
    const room = newRoom();
    const goers = replicas.filter((replica) => replica.alive());
    const stays = await startReplica();
    const [listener, speaker] = [await guest(room), await member(stays, room)];
    await sayUntilHeard(speaker, listener, "before");
    const holder = await redis.get(LEASE);
    let said = 0;
    for (const replica of goers) {
      let isStopped = false;
      const stopped = replica.stop("SIGTERM").then(() => { isStopped = true; });
      // From before it stops until another has had the time to take over.
      let left = 20;
      await until("it has stopped", async () => {
        assert.equal((await speaker.ask("chat message", `rolling ${(said += 1)}`)).ok, true);
        return isStopped && (left -= 1) < 0;
      }, { within: 30_000, every: 50 });
      await stopped;
    }
    await listener.hears(([, data]) => data === `rolling ${said}`);
    assert.deepEqual(isOnce(listener, "rolling"), Array.from({ length: said }, (_, n) => n + 1));
    assert.notEqual(await redis.get(LEASE), holder, "it was handed on");
  });
});
