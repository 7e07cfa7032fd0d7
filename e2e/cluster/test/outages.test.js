// Redis goes and comes back, servers come and go.

import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { until } from "../../lib/wait.js";
import { connect, startCluster } from "../support/cluster.js";

let cluster;
let clients = [];
afterEach(async () => {
  for (const client of clients) client.close();
  clients = [];
  await cluster?.close();
});
const start = async (kinds) => {
  cluster = await startCluster(kinds);
  clients = await Promise.all(cluster.servers.map((server) => connect(server)));
  return clients;
};
/** Waits until an event from the one reaches the other. */
const meet = async (from, to) => {
  let n = 0;
  await until("an event from one to the other", async () => {
    const mark = `meeting ${(n += 1)}`;
    from.socket.emit("emit", {}, "meeting", [mark], () => {});
    return until("it", () => to.heard.find(([, heard]) => heard === mark), { within: 300 }).catch(() => false);
  }, { within: 20_000 });
};

test("Redis is restarted: both kinds continue, and events stayed on the server while Redis was unavailable", async () => {
  const [rust, node] = await start(["rust", "node"]);
  const neighbour = await connect(cluster.servers[0]);
  clients.push(neighbour);
  await meet(rust, node);
  await cluster.redis.kill();
  // What was under way when the connection broke is answered otherwise.
  await until("the server notices", async () => /other servers cannot be reached: Redis is unavailable/.test(await rust.ask("emit", {}, "news", ["alone"])));
  assert.deepEqual(await neighbour.hears("news"), ["news", "alone"]);
  assert.match(await rust.ask("fetch", {}), /Redis is unavailable/);
  assert.match(await rust.ask("sockets join", {}, ["a room"]), /Redis is unavailable/);
  assert.deepEqual(await neighbour.ask("rooms"), ["a room"], "the sockets here are put into it all the same");
  await cluster.redis.start();
  await meet(rust, node);
  await meet(node, rust);
  await cluster.complete();
  const found = await rust.ask("fetch", {});
  assert.deepEqual(found.map(({ id }) => id).sort(), clients.map(({ id }) => id).sort());
  assert.match(await rust.ask("stats"), /connected: true, .* disconnects: 1\b/);
});

test("Redis does not answer for a while: it counts as unavailable, and is found again", async () => {
  const [rust, node] = await start(["rust", "node"]);
  cluster.redis.freeze();
  await until("the server notices", async () => /connected: false/.test(await rust.ask("stats")), { within: 20_000 });
  cluster.redis.thaw();
  await meet(node, rust);
  await meet(rust, node);
});

test("a request to a server that dies ends without a timeout", async () => {
  const [rust, , survivor] = await start(["rust", "node", "node"]);
  cluster.servers[1].child.signal("SIGSTOP");
  const asked = rust.ask("fetch", {});
  await cluster.servers[1].child.stop("SIGKILL");
  const found = await asked;
  assert.deepEqual(found.map(({ id }) => id).sort(), [rust.id, survivor.id].sort());
});

test("a server that does not answer is reported by an error, in time", async () => {
  const [rust] = await start(["rust", "node"]);
  cluster.servers[1].child.signal("SIGSTOP");
  const begun = Date.now();
  assert.match(await rust.ask("fetch", {}), /1 of 1 other servers did not answer in time/);
  assert.ok(Date.now() - begun < 10_000);
  cluster.servers[1].child.signal("SIGCONT");
  await until("it answers again", async () => Array.isArray(await rust.ask("fetch", {})));
});

test("servers move from Node one at a time", async () => {
  const [first, second] = await start(["node", "node"]);
  await meet(first, second);
  for (const at of [0, 1]) {
    const newcomer = await cluster.add("rust");
    const [gone] = cluster.servers.splice(0, 1);
    await gone.child.stop("SIGTERM");
    clients.shift().close();
    clients.push(await connect(newcomer));
    await cluster.complete();
    await meet(clients[0], clients[1]);
    await meet(clients[1], clients[0]);
    assert.equal(cluster.servers.filter(({ kind }) => kind === "rust").length, at + 1);
  }
});
