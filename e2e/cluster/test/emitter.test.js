// The official Redis emitter reaches sockets on servers of both kinds.

import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { Emitter } from "@socket.io/redis-emitter";
import { createClient } from "redis";
import { until } from "../../lib/wait.js";
import { connect, startCluster } from "../support/cluster.js";

describe("the Redis emitter", () => {
  let cluster;
  let redis;
  let emitter;
  let clients = [];
  before(async () => {
    cluster = await startCluster(["rust", "node"]);
    redis = await createClient({ url: cluster.redis.url }).connect();
    emitter = new Emitter(redis).of("/chat");
  });
  after(async () => {
    redis?.destroy();
    await cluster?.close();
  });
  afterEach(() => {
    for (const client of clients) client.close();
    clients = [];
  });
  const pair = async () => {
    clients = await Promise.all(cluster.servers.map((server) => connect(server)));
    return clients;
  };

  test("emits: to all, rooms, exceptions, binary data, volatile", async () => {
    const [rust, node] = await pair();
    await rust.ask("join", ["a", "rust"]);
    await node.ask("join", ["a", "node"]);
    const binary = Buffer.from([0, 255, 128]);
    emitter.emit("news", 1, "two", { three: binary }, binary);
    emitter.to("rust").emit("news", "to rust");
    emitter.to(["rust", "node"]).emit("news", "to both");
    emitter.to("a").except("rust").emit("news", "not to rust");
    emitter.emit("news", "end");
    for (const [client, expected] of [
      [rust, ["to rust", "to both", "end"]],
      [node, ["to both", "not to rust", "end"]],
    ]) {
      await client.hears(([, mark]) => mark === "end");
      const [first, ...rest] = client.heardAll("news");
      assert.deepEqual(first, [1, "two", { three: binary }, binary]);
      assert.deepEqual(rest.flat(), expected);
      // Dropped for those who are busy, so it is said again.
      await until("a volatile event", () => emitter.volatile.emit("now", 1) && client.heardAll("now").length > 0);
    }
  });

  test("puts sockets into rooms, takes them out, disconnects them", async () => {
    const [rust, node] = await pair();
    emitter.socketsJoin(["a", "b"]);
    for (const client of clients) await until("both rooms", async () => (await client.ask("rooms")).join() === "a,b");
    emitter.in("a").except(node.id).socketsLeave("b");
    await until("one room", async () => (await rust.ask("rooms")).join() === "a");
    assert.deepEqual(await node.ask("rooms"), ["a", "b"]);
    const reason = new Promise((done) => rust.socket.once("disconnect", done));
    emitter.in(rust.id).disconnectSockets(true);
    assert.equal(await reason, "io server disconnect");
    assert.equal(node.socket.connected, true);
  });

  test("sends server-side events", async () => {
    await pair();
    emitter.serverSideEmit("hello", 1, { two: 2 });
    for (const client of clients) assert.deepEqual(await client.hears("server event"), ["server event", "hello", [1, { two: 2 }]]);
  });

  test("invalid messages are counted, and the rest continues", async () => {
    const [rust, node] = await pair();
    const before = await rust.ask("stats");
    // Not among the events: Node's adapter throws at what it cannot decode there.
    for (const garbage of ["{", "[]", "\xc1", '{"type":77}', '{"requestId":1}']) {
      for (const channel of ["socket.io-request#/chat#", "socket.io-response#/chat#"]) await redis.publish(channel, garbage);
    }
    assert.equal(await node.ask("emit", {}, "news", ["still here"]), true);
    await rust.hears("news");
    const ignored = (stats) => Number(/ignored: (\d+)/.exec(stats)[1]);
    assert.ok(ignored(await rust.ask("stats")) - ignored(before) >= 10);
  });
});
