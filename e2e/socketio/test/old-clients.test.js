// The client of Socket.IO 2, which speaks Engine.IO 3.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { after, before, describe, it } from "node:test";

import { ask, once, times, until } from "../support/clients.js";
import { start } from "../support/server.js";

const io = createRequire(import.meta.url)("socket.io-client-2");

const KINDS = {
  "polling only": { transports: ["polling"] },
  "polling only, base64": { transports: ["polling"], forceBase64: true },
  "WebSocket only": { transports: ["websocket"] },
  upgrade: { transports: ["polling", "websocket"] },
};

let server;
before(async () => (server = await start()));
after(() => server.stop());

for (const [name, options] of Object.entries(KINDS)) {
  describe(`Socket.IO 2, ${name}`, () => {
    const sockets = [];
    const connect = async (namespace = "/", more = {}) => {
      const socket = io(server.url + namespace, { forceNew: true, reconnection: false, ...options, ...more });
      sockets.push(socket);
      await once(socket, "connect");
      if (options.transports.length === 2) {
        await until("it is upgraded", () => socket.io.engine.transport.name === "websocket" && !socket.io.engine.upgrading);
      }
      return socket;
    };
    after(() => sockets.forEach((socket) => socket.disconnect()));

    it("connects with the configured transport", async () => {
      const socket = await connect();
      assert.equal(socket.io.engine.transport.name, options.transports.at(-1));
      const { id } = await ask(socket, "whoami");
      assert.equal(id, socket.id);
    });

    it("sends and receives events", async () => {
      const socket = await connect();
      const values = [0, 1.5, "", "héllo \u{1f680}", "\u2028\n\"\\", true, null, [], {}, [1, [2]], { a: { b: [null] } }];
      for (const args of [[], ...values.map((value) => [value]), values]) {
        const echo = once(socket, "echo");
        socket.emit("echo", ...args);
        assert.deepEqual((await echo).slice(0, args.length), args);
      }
      const echoes = times(socket, "echo", 100);
      for (let n = 0; n < 100; n++) socket.emit("echo", n, "\u{1f680}");
      assert.deepEqual((await echoes).map(([n]) => n), Array.from({ length: 100 }, (_, n) => n));
    });

    it("sends and receives acknowledgements", async () => {
      const socket = await connect();
      assert.deepEqual(await ask(socket, "echo", "one", 2, { three: 3 }), ["one", 2, { three: 3 }]);
      socket.once("question", (what, answer) => answer(what, "yes"));
      const answered = once(socket, "answered");
      socket.emit("ask me", 5_000, { n: 1 });
      assert.deepEqual((await answered).slice(0, 2), [{ n: 1 }, "yes"]);
    });

    it("sends and receives buffers", async () => {
      const socket = await connect();
      const large = Buffer.alloc(100_000, "0123456789");
      for (const args of [[Buffer.from([0, 1, 2, 255])], [large], ["mixed", { deep: [Buffer.from("a"), Buffer.from("é")] }]]) {
        const echo = once(socket, "echo");
        socket.emit("echo", ...args);
        assert.deepEqual((await echo).slice(0, args.length), args);
        assert.deepEqual([await ask(socket, "echo", ...args)].flat(), args);
      }
    });

    it("receives the messages of its room", async () => {
      const [speaker, listener] = [await connect(), await connect()];
      const room = `old room ${name}`;
      await ask(speaker, "join", room);
      await ask(listener, "join", room);
      const said = once(listener, "said");
      await ask(speaker, "say", room, { text: "hi", file: Buffer.from("x") });
      assert.deepEqual((await said)[0], { text: "hi", file: Buffer.from("x") });
    });

    it("uses namespaces, with a query", async () => {
      const admin = await connect("/admin?a=b%20c");
      assert.equal(await ask(admin, "echo", "admin"), "admin");
      const root = await connect("/", { query: { d: "e" } });
      assert.equal((await ask(root, "handshake")).query.d, "e");
      const nowhere = io(`${server.url}/nowhere`, { forceNew: true, reconnection: false, ...options });
      sockets.push(nowhere);
      const [error] = await once(nowhere, "error");
      assert.equal(error.message ?? error, "Invalid namespace");
    });

    it("stays connected without traffic, and disconnects", async () => {
      const socket = await connect();
      await times(socket, "pong", 2);
      assert.equal(await ask(socket, "echo", "still here"), "still here");
      const left = once(socket, "disconnect");
      socket.emit("leave");
      assert.equal((await left)[0], "io server disconnect");
    });
  });
}
