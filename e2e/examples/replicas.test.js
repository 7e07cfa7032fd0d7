// The official Socket.IO client through the gateway, with two replicas of the chat, against a backend in Express, Flask and PHP, while a replica
// and the backend are killed in turn.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, request as forward } from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { io } from "socket.io-client";
import { figure } from "../lib/chat.js";
import { ask } from "../lib/http.js";
import { freePort, start } from "../lib/process.js";
import { startRedis } from "../lib/redis.js";
import { ROOT, startGateway, startService } from "../lib/stack.js";
import { soon, until } from "../lib/wait.js";

const at = (name) => path.join(ROOT, "e2e/examples/backends", name);
const folder = mkdtempSync(path.join(tmpdir(), "trident-calls-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const hasFlask = () => {
  try {
    return Boolean(execFileSync("python3", ["-c", "import flask"], { stdio: "pipe" }));
  } catch {
    return false;
  }
};

const BACKENDS = {
  Express: (port) => start(process.execPath, [at("express.cjs"), port], { ...process.env, NODE_PATH: path.join(ROOT, "examples/backend/express-login/node_modules") }),
  Flask: (port) => start("python3", [at("flask_app.py"), port], process.env),
  PHP: (port) => start("php", ["-S", `127.0.0.1:${port}`, at("backend.php")], { ...process.env, CALLS: folder }),
};

/** A call has so long, and the client a little longer. */
const DEADLINE = 1_000;

/** Passes calls on to the backend on `port`, and records under which ids it has got each order. It loses some answers, and asks for a repetition. */
async function recorder() {
  const record = { port: 0, orders: new Map(), lost: 0 };
  const server = createServer(async (request, response) => {
    const body = Buffer.concat(await request.toArray());
    const { id, event, args } = JSON.parse(body);
    const isNew = event === "order" && !record.orders.has(args[0]);
    if (event === "order") record.orders.set(args[0], (record.orders.get(args[0]) ?? new Set()).add(id));
    const isLost = isNew && record.orders.size % 5 === 0;
    const headers = { "Content-Type": "application/json", "Content-Length": body.length };
    const passed = forward({ port: record.port, host: "127.0.0.1", path: "/calls", method: "POST", headers, agent: false }, (answer) => {
      if (isLost) {
        record.lost += 1;
        answer.resume();
        response.writeHead(503, { "Retry-After": "0" }).end();
        return;
      }
      response.writeHead(answer.statusCode, { "Content-Type": "application/json" });
      answer.on("error", () => response.destroy()).pipe(response);
    });
    passed.on("error", () => response.destroy()).end(body);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  record.url = `http://127.0.0.1:${server.address().port}/calls`;
  record.close = () => new Promise((resolve) => {
    server.closeAllConnections();
    server.close(resolve);
  });
  return record;
}

describe("the official client, two replicas and a backend", () => {
  const parts = [];
  const replicas = [];
  let redis;
  let gateway;
  let calls;
  const startReplica = async (n) => {
    replicas[n] = await startService("chat-svc", settings(), replicas[n]?.port);
  };
  const settings = () => ({
    TRIDENT_BUS: redis.url,
    TRIDENT_DEMO: "off",
    TRIDENT_TRUSTED_PROXIES: "127.0.0.1",
    TRIDENT_CALL_URL: calls.url,
    TRIDENT_CALLS: "connect,event",
    TRIDENT_CALL_NAMESPACES: "/shop",
    TRIDENT_CALL_TIMEOUT: `${DEADLINE}ms`,
  });
  before(async () => {
    [redis, calls] = await Promise.all([startRedis(), recorder()]);
    parts.push(() => redis.close(), () => calls.close());
    await Promise.all([0, 1].map(startReplica));
    parts.push(() => Promise.all(replicas.map((replica) => replica.stop("SIGKILL"))));
    const ports = replicas.map(({ port }) => port);
    gateway = await startGateway({ comet: ports[0], chat: ports, sse: ports[0] });
    parts.push(() => gateway.stop());
  });
  after(async () => {
    for (const stop of parts.toReversed()) await stop();
  });

  for (const [name, run] of Object.entries(BACKENDS)) {
    test(`${name}: each event has its ack, or fails in time, and the backend gets it under one id`, { skip: name === "Flask" && !hasFlask() && "there is no Flask here" }, async () => {
      const port = String(await freePort());
      let backend = run(port);
      calls.port = port;
      const listens = () => until("the backend listens", () => ask(`http://127.0.0.1:${port}/calls`, {
        method: "POST", headers: { "Content-Type": "application/json" }, body: '{"id":"probe","kind":"connect","headers":{}}',
      }).catch(() => undefined));
      const sockets = [];
      const open = (cookie) => {
        const socket = io(`${gateway.base}/shop`, {
          forceNew: true, transports: ["websocket"], reconnectionDelay: 20, reconnectionDelayMax: 50, extraHeaders: cookie ? { Cookie: cookie } : {},
        });
        sockets.push(socket);
        return soon("a connection", new Promise((resolve, reject) => socket.once("connect", () => resolve(socket)).once("connect_error", reject)));
      };
      try {
        await listens();
        await assert.rejects(open(), (error) => error.message === "log in first" && error.data.code === "refused");
        const sessions = (replica) => figure(replica.base, 'trident_connections{transport="websocket"}');
        for (let n = 0; n < 4 || !(await Promise.all(replicas.map(sessions))).every((count) => count > 0); n += 1) {
          assert.ok(n < 40, "all clients are at one replica");
          await open(`user=u${n}`);
        }
        const clients = sockets.slice(1);

        const bytes = Buffer.from([0, 1, 254, 255]);
        const echoed = await clients[0].timeout(5_000).emitWithAck("echo", { tea: 2, bytes });
        assert.deepEqual([echoed.tea, Buffer.from(echoed.bytes)], [2, bytes]);

        for (const client of clients) assert.equal((await client.timeout(5_000).emitWithAck("enter", "lobby")).ok, true);
        const heard = clients.map((client) => soon("what was said in the room", new Promise((resolve) => client.once("heard", (...args) => resolve(args)))));
        assert.equal((await clients[1].timeout(5_000).emitWithAck("shout", "lobby", "tea", bytes)).ok, true);
        for (const [text, buffer] of await Promise.all(heard)) assert.deepEqual([text, Buffer.from(buffer)], ["tea", bytes]);

        // Each client sends one event after the other until all is over, also while it is disconnected.
        const seen = { ok: 0, failed: 0, rejected: 0, late: 0 };
        let isOver = false;
        const orders = clients.map(async (client, who) => {
          for (let n = 0; !isOver; n += 1) {
            const order = `${name}-${who}-${n}`;
            const begun = performance.now();
            const answer = await client.timeout(2 * DEADLINE).emitWithAck("order", order).catch(() => "rejected");
            if (performance.now() - begun > 3 * DEADLINE) seen.late += 1;
            if (answer === "rejected") seen.rejected += 1;
            else if (answer.ok) {
              assert.deepEqual(answer, { ok: true, order, user: `u${who}` });
              seen.ok += 1;
            } else {
              assert.equal(answer.error.code, "backend_unavailable");
              seen.failed += 1;
            }
            await new Promise((resolve) => setTimeout(resolve, 5));
          }
        });
        const acked = (more) => until(`${more} more acks`, ((count) => () => seen.ok >= count)(seen.ok + more));
        await acked(10);
        const victim = replicas[name.length % 2];
        await victim.stop("SIGKILL");
        await startReplica(replicas.indexOf(victim));
        await until("all clients are connected again", () => clients.every((client) => client.connected));
        await acked(10);
        await backend.stop("SIGKILL");
        await until("an event without a backend", () => seen.failed > 0);
        backend = run(port);
        await listens();
        await acked(10);
        isOver = true;
        await Promise.all(orders);
        assert.equal(seen.late, 0);
        const twice = [...calls.orders].filter(([, ids]) => ids.size > 1);
        assert.deepEqual(twice, []);
        assert.ok(calls.lost > 0 && calls.orders.size >= seen.ok, "each ack is of a call");
      } finally {
        for (const socket of sockets) socket.disconnect();
        await backend.stop("SIGKILL");
      }
    });
  }
});
