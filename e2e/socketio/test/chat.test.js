// The chat with every kind of client that may come: each parser, each transport, Socket.IO 2, Python; directly, in one process
// with everything else, and through the gateway.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { GATEWAY, STANDALONE, startService, startStack } from "../../lib/stack.js";
import { KINDS, ask, client, connected, once, until } from "../support/clients.js";
import { proxy } from "../support/proxy.js";

const old = createRequire(import.meta.url)("socket.io-client-2");

const HERE = dirname(fileURLToPath(import.meta.url));
const TARGET = resolve(HERE, "../../..", process.env.CARGO_TARGET_DIR ?? "target");
const PYTHON = process.env.PYTHON ?? join(TARGET, "e2e-python/bin/python");

/** How a client of either age connects. */
const CLIENTS = {
  ...Object.fromEntries(Object.entries(KINDS).map(([name, options]) => [name, (url) => connected(url, options)])),
  ...Object.fromEntries(
    [["polling"], ["websocket"], ["polling", "websocket"]].map((transports) => [
      `Socket.IO 2, ${transports.join(" and ")}`,
      async (url) => {
        const socket = old(url, { forceNew: true, reconnection: false, transports });
        await once(socket, "connect");
        return socket;
      },
    ]),
  ),
};

const PLACES = {
  "chat-svc": async () => {
    const service = await startService("chat-svc");
    return { base: service.base, port: service.port, stop: () => service.stop() };
  },
  [STANDALONE]: () => startStack(STANDALONE),
  [GATEWAY]: () => startStack(GATEWAY),
};

/** Keeps what a room is told: `[data, meta]`, without the offset behind them. */
function listen(socket) {
  const heard = [];
  socket.on("chat message", (data, meta) => heard.push([data, meta]));
  return heard;
}

for (const [place, begin] of Object.entries(PLACES)) {
  describe(`chat with every client: ${place}`, () => {
    let there;
    const sockets = [];
    before(async () => (there = await begin()));
    after(async () => {
      sockets.forEach((socket) => socket.disconnect());
      await there?.stop();
    });

    it("clients of every kind in one room receive each other's messages", async () => {
      const room = `babel-${process.pid}`;
      const members = [];
      for (const [name, connect] of Object.entries(CLIENTS)) {
        const socket = await connect(there.base);
        sockets.push(socket);
        const answer = await ask(socket, "join", room);
        assert.equal(answer.ok, true, `${name}: ${JSON.stringify(answer)}`);
        members.push({ name, socket, heard: listen(socket) });
      }
      const messages = ["héllo \u{1f680}\u2028\"\\", { deep: [1, 2.5, null, { yes: true }] }, Buffer.from([0, 1, 2, 254, 255]), { file: Buffer.from("x"), name: "a" }];
      const told = [];
      for (const { name, socket } of members) {
        for (const message of messages) {
          const answer = await ask(socket, "chat message", message);
          assert.equal(answer.ok, true, `${name}: ${JSON.stringify(answer)}`);
          told.push([message, answer.id]);
        }
      }
      for (const { name, heard } of members) {
        await until(`${name} has heard all (${heard.length} of ${told.length})`, () => heard.length >= told.length);
        assert.deepEqual(heard.map(([data]) => data), told.map(([message]) => message), name);
        assert.deepEqual(heard.map(([, meta]) => meta.id), told.map(([, id]) => id), name);
        for (const [, meta] of heard) assert.equal(meta.room, room);
      }
      // Who leaves hears no more.
      const [first, second] = members;
      assert.equal((await ask(first.socket, "leave", room)).ok, true);
      await ask(second.socket, "chat message", "without you");
      await until("the others heard it", () => second.heard.length > told.length);
      assert.equal(first.heard.length, told.length);
    });

    for (const name of ["WebSocket only", "polling only", "msgpack, WebSocket only"]) {
      it(`recovers missed messages: ${name}`, async () => {
        const network = await proxy({ host: "127.0.0.1", port: there.port });
        const socket = client(network.url, { ...KINDS[name], reconnection: true, reconnectionDelay: 10, reconnectionDelayMax: 20 });
        const other = await connected(there.base, KINDS["WebSocket only"]);
        sockets.push(socket, other);
        try {
          socket.connect();
          await once(socket, "connect");
          const room = `missed-${process.pid}-${name.replaceAll(/\W/g, "-")}`;
          const heard = listen(socket);
          await ask(socket, "join", room);
          await ask(other, "join", room);
          await ask(other, "chat message", 0);
          await until("the first is there", () => heard.length === 1);
          const { id } = socket;

          network.refuse(true);
          const gone = once(socket, "disconnect");
          network.cut();
          await gone;
          for (const message of [1, "two", Buffer.from("three")]) await ask(other, "chat message", message);
          const back = once(socket, "connect");
          network.refuse(false);
          await back;
          await ask(other, "chat message", 4);
          await until("all is there", () => heard.length >= 5);
          assert.deepEqual(heard.map(([data]) => data), [0, 1, "two", Buffer.from("three"), 4]);
          assert.equal(socket.recovered, true);
          assert.equal(socket.id, id);
        } finally {
          socket.disconnect();
          other.disconnect();
          await network.stop();
        }
      });
    }

    it("the Python client takes part", { skip: existsSync(PYTHON) ? false : `no ${PYTHON}: make e2e-socketio` }, async () => {
      const options = { env: { ...process.env, SOCKETIO_CHAT_URL: there.base }, cwd: join(HERE, "../python"), timeout: 120_000 };
      await promisify(execFile)(PYTHON, ["-m", "unittest", "test_chat"], options);
    });
  });
}
