// One redis-server, servers of both kinds, and clients on them.

import path from "node:path";
import { fileURLToPath } from "node:url";
import { io } from "socket.io-client";
import { freePort, start } from "../../lib/process.js";
import { startRedis } from "../../lib/redis.js";
import { soon, until } from "../../lib/wait.js";

const HERE = path.dirname(fileURLToPath(import.meta.url));
const ROOT = path.resolve(HERE, "../../..");
const TARGET = path.resolve(ROOT, process.env.CARGO_TARGET_DIR ?? "target");
const COMMANDS = { rust: [path.join(TARGET, "debug/examples/cluster")], node: [process.execPath, path.join(HERE, "node.js")] };

/** Starts Redis and servers of these kinds, such as `["rust", "node"]`, and waits until all know of each other. */
export async function startCluster(kinds, environment = {}) {
  const redis = await startRedis();
  const cluster = { redis, servers: [] };
  cluster.add = async (kind) => {
    const port = await freePort();
    const [command, ...args] = COMMANDS[kind];
    const child = start(command, args, { ...process.env, RUST_LOG: "socketio_redis=debug", ...environment, PORT: String(port), REDIS_URL: redis.url });
    const server = { kind, child, url: `http://127.0.0.1:${port}` };
    await until(`the ${kind} server`, async () => {
      if (!child.alive()) throw new Error(`it ended\n${child.said()}`);
      return fetch(`${server.url}/socket.io/`, { signal: AbortSignal.timeout(1_000) }).then(() => true, () => false);
    });
    cluster.servers.push(server);
    return server;
  };
  /** Waits until each server counts all that run. */
  cluster.complete = async () => {
    for (const nsp of ["/", "/chat"]) {
      for (const server of cluster.servers) {
        const client = await connect(server, nsp);
        await until(`the ${server.kind} server counts ${cluster.servers.length}`, async () => (await client.ask("count")) === cluster.servers.length);
        client.close();
      }
    }
  };
  cluster.close = async () => {
    for (const { child } of cluster.servers) await child.stop("SIGKILL");
    await redis.close();
  };
  try {
    for (const kind of kinds) await cluster.add(kind);
    await cluster.complete();
    return cluster;
  } catch (error) {
    for (const { kind, child } of cluster.servers) error.message += `\n--- ${kind}\n${child.said()}`;
    await cluster.close();
    throw error;
  }
}

/** A client on a server: what it heard, and questions to the server. */
export async function connect({ url }, nsp = "/chat", options = {}) {
  const socket = io(url + nsp, { transports: ["websocket"], forceNew: true, reconnection: false, ...options });
  const heard = [];
  socket.on("connect_error", (error) => heard.push(["connect_error", error.message]));
  socket.onAny((event, ...args) => {
    const answer = typeof args.at(-1) === "function" ? args.pop() : undefined;
    heard.push([event, ...args]);
    if (event === "question") answer?.(client.answer ?? { from: socket.id, args });
  });
  await soon(`a connection to ${url}${nsp}`, new Promise((done, fail) => socket.once("connect", done).once("connect_error", fail)));
  const client = {
    socket,
    heard,
    get id() {
      return socket.id;
    },
    ask: (event, ...args) => soon(`the answer to ${event}`, socket.emitWithAck(event, ...args), 15_000),
    /** Waits until this was heard: an event's name, or a function of what was heard. */
    hears: (what) => {
      const matches = typeof what === "function" ? what : ([event]) => event === what;
      return until(`${socket.id} hears ${what}`, () => heard.find(matches));
    },
    heardAll: (event) => heard.filter(([name]) => name === event).map(([, ...args]) => args),
    close: () => socket.disconnect(),
  };
  return client;
}
