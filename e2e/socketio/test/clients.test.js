// The client of Socket.IO 4, in each way to connect: events, acknowledgements, buffers, rooms, namespaces, ends.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, describe, it } from "node:test";

import { KINDS, ask, client, connected, once, times, until } from "../support/clients.js";
import { CLIENT_DIR, start } from "../support/server.js";

let server;
before(async () => (server = await start()));
after(() => server.stop());

for (const [name, options] of Object.entries(KINDS)) {
  describe(name, () => {
    const sockets = [];
    const connect = async (namespace = "/", more = {}) => {
      const socket = await connected(server.url + namespace, { ...options, ...more });
      sockets.push(socket);
      return socket;
    };
    after(() => sockets.forEach((socket) => socket.disconnect()));

    it("connects with the configured transport", async () => {
      const socket = await connect();
      assert.equal(socket.io.engine.transport.name, options.transports.at(-1));
      assert.match(socket.id, /^[\w-]{20}$/);
      const { id, recovered } = await ask(socket, "whoami");
      assert.equal(id, socket.id);
      assert.equal(recovered, false);
      assert.notEqual(socket.io.engine.id, socket.id);
    });

    it("sends and receives events", async () => {
      const socket = await connect();
      const values = [0, -1, 1.5, 2 ** 53, "", "héllo \u{1f680}", "\u2028\n\"\\", true, false, null, [], {}, [1, [2]], { a: { b: [null] } }];
      for (const args of [[], ...values.map((value) => [value]), values]) {
        // An offset may follow, since recovery is on.
        const echo = once(socket, "echo");
        socket.emit("echo", ...args);
        assert.deepEqual((await echo).slice(0, args.length), args);
      }
    });

    it("keeps the order of a hundred events", async () => {
      const socket = await connect();
      const echoes = times(socket, "echo", 100);
      for (let n = 0; n < 100; n++) socket.emit("echo", n);
      assert.deepEqual((await echoes).map(([n]) => n), Array.from({ length: 100 }, (_, n) => n));
    });

    it("sends and receives acknowledgements", async () => {
      const socket = await connect();
      assert.deepEqual(await ask(socket, "echo", "one"), "one");
      assert.deepEqual(await ask(socket, "echo", "one", 2, { three: 3 }), ["one", 2, { three: 3 }]);
      assert.deepEqual(await socket.timeout(5_000).emitWithAck("echo", [1, 2]), [1, 2]);
      assert.equal(await ask(socket, "echo"), undefined);

      socket.once("question", (what, answer) => answer(what, "yes"));
      const answered = once(socket, "answered");
      socket.emit("ask me", 5_000, { n: 1 });
      assert.deepEqual((await answered).slice(0, 2), [{ n: 1 }, "yes"]);
    });

    it("acknowledgements time out on both sides", async () => {
      const socket = await connect();
      socket.once("question", () => {});
      const unanswered = once(socket, "unanswered");
      socket.emit("ask me", 100, null);
      assert.equal((await unanswered)[0], "timeout");
      await assert.rejects(socket.timeout(100).emitWithAck("nobody listens"), /timed out/);
    });

    it("sends and receives buffers", async () => {
      const socket = await connect();
      const large = Buffer.alloc(100_000, "0123456789");
      for (const args of [
        [Buffer.from([0, 1, 2, 255])],
        [Buffer.alloc(0)],
        [large],
        ["mixed", { deep: [Buffer.from("a"), { deeper: Buffer.from("b") }] }, Buffer.from("c"), null],
        Array.from({ length: 10 }, (_, n) => Buffer.from([n])),
      ]) {
        const echo = once(socket, "echo");
        socket.emit("echo", ...args);
        assert.deepEqual((await echo).slice(0, args.length), args);
        assert.deepEqual([await ask(socket, "echo", ...args)].flat(), args);
      }
      const array = new Uint8Array([1, 2, 3]);
      assert.deepEqual(Buffer.from(await ask(socket, "echo", array)), Buffer.from(array));

      socket.once("question", (buffer, answer) => answer(Buffer.concat([buffer, buffer])));
      const answered = once(socket, "answered");
      socket.emit("ask me", 5_000, Buffer.from("ab"));
      assert.deepEqual((await answered)[0], Buffer.from("abab"));
    });

    it("receives the messages of its room", async () => {
      const [speaker, listener, stranger] = [await connect(), await connect(), await connect()];
      const room = `room ${name}`;
      assert.equal(await ask(speaker, "join", room), true);
      assert.equal(await ask(listener, "join", room), true);
      assert.deepEqual((await ask(stranger, "who", room)).sort(), [speaker.id, listener.id].sort());

      stranger.once("said", () => assert.fail("a stranger heard it"));
      speaker.once("said", () => assert.fail("the speaker heard it"));
      const said = once(listener, "said");
      await ask(speaker, "say", room, { text: "hi", file: Buffer.from("x") });
      assert.deepEqual((await said)[0], { text: "hi", file: Buffer.from("x") });

      // A socket's own id is a room.
      stranger.off("said");
      const heard = once(stranger, "said");
      await ask(speaker, "say", stranger.id, "psst");
      assert.equal((await heard)[0], "psst");

      await ask(listener, "part", room);
      assert.deepEqual(await ask(stranger, "who", room), [speaker.id]);
      speaker.disconnect();
      await until("the room is empty", async () => (await ask(stranger, "who", room)).length === 0);
    });

    it("receives broadcasts to everyone", async () => {
      const all = [await connect(), await connect(), await connect("/admin")];
      all[2].once("shouted", () => assert.fail("another namespace heard it"));
      const heard = [once(all[0], "shouted"), once(all[1], "shouted")];
      await ask(all[0], "shout", "fire");
      for (const args of await Promise.all(heard)) assert.equal(args[0], "fire");
      await ask(all[2], "whoami");
      all[2].off("shouted");
    });

    it("acknowledges a broadcast to a room", async () => {
      const [one, two, three, asker] = [await connect(), await connect(), await connect(), await connect()];
      const room = `jury ${name}`;
      for (const socket of [one, two, three]) await ask(socket, "join", room);
      one.on("question", (answer) => answer("one"));
      two.on("question", (answer) => answer("two"));
      const [answers, missing] = await ask(asker, "ask all", room, 300);
      assert.deepEqual(answers.sort(), ["one", "two"]);
      assert.equal(missing, 1);
    });

    it("uses several namespaces on one connection", async () => {
      const root = await connect();
      const admin = root.io.socket("/admin", {});
      sockets.push(admin);
      admin.connect();
      await once(admin, "connect");
      assert.notEqual(admin.id, root.id);
      assert.equal(await ask(admin, "echo", "admin"), "admin");
      assert.equal(await ask(root, "echo", "root"), "root");
      admin.disconnect();
      assert.equal(await ask(root, "echo", "root"), "root");
      admin.connect();
      await once(admin, "connect");
      assert.equal(await ask(admin, "echo", "again"), "again");
    });

    it("connects to a namespace that is created on demand", async () => {
      const tenant = await connect("/tenant-42");
      assert.equal(await ask(tenant, "where"), "/tenant-42");
    });

    it("is rejected with a reason", async () => {
      for (const [namespace, message, data] of [
        ["/nowhere", "Invalid namespace", undefined],
        ["/tenant-x", "Invalid namespace", undefined],
        ["/guarded", "not authorized", { code: 401 }],
      ]) {
        const socket = client(server.url + namespace, { ...options, auth: { token: "guess" } });
        sockets.push(socket);
        const refused = once(socket, "connect_error");
        socket.connect();
        const [error] = await refused;
        assert.equal(error.message, message);
        assert.deepEqual(error.data, data);
        socket.disconnect();
      }
      const guest = await connect("/guarded", { auth: { token: "open sesame" } });
      assert.ok(guest.connected);
    });

    it("sends its handshake data", async () => {
      const socket = await connect("/", { auth: { token: "t", n: 1 }, query: { a: "b c", z: "é" }, extraHeaders: { "x-custom": "yes" } });
      assert.deepEqual(await ask(socket, "auth"), { token: "t", n: 1 });
      const handshake = await ask(socket, "handshake");
      assert.deepEqual(handshake.auth, { token: "t", n: 1 });
      assert.equal(handshake.query.a, "b c");
      assert.equal(handshake.query.z, "é");
      assert.equal(handshake.headers["x-custom"], "yes");
      assert.equal(handshake.secure, false);
      assert.equal(handshake.xdomain, false);
      assert.ok(Math.abs(handshake.issued - Date.now()) < 60_000);
      assert.ok(!Number.isNaN(Date.parse(handshake.time)));
      assert.match(handshake.url, /^\/socket\.io\/\?/);
      assert.match(handshake.address, /127\.0\.0\.1/);
    });

    it("is disconnected by the server", async () => {
      const socket = await connect();
      const left = once(socket, "disconnect");
      socket.emit("leave");
      assert.equal((await left)[0], "io server disconnect");
      const other = await connect();
      const closed = once(other, "disconnect");
      other.emit("close");
      assert.ok(["io server disconnect", "transport close"].includes((await closed)[0]));
    });

    it("stays connected without traffic", async () => {
      const socket = await connect();
      let reason;
      socket.once("disconnect", (why) => (reason = why));
      // Two heartbeats, as the client counts them.
      await times(socket.io, "ping", 2);
      assert.equal(reason, undefined);
      assert.equal(await ask(socket, "echo", "still here"), "still here");
    });
  });
}

describe("the client's files", () => {
  it("are served byte for byte", async () => {
    const bundled = await start("e2e", { CLIENT_DIR });
    try {
      for (const name of ["socket.io.js", "socket.io.min.js", "socket.io.esm.min.js", "socket.io.msgpack.min.js"]) {
        for (const file of [name, `${name}.map`]) {
          const response = await fetch(`${bundled.url}/socket.io/${file}`);
          assert.equal(response.status, 200, file);
          assert.equal(response.headers.get("etag"), '"4.8.4"');
          assert.equal(await response.text(), await readFile(`${CLIENT_DIR}/${file}`, "utf8"), file);
        }
      }
    } finally {
      await bundled.stop();
    }
  });
});
