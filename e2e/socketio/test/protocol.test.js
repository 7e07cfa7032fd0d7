// The servers that public test suites are run against: what those suites find there.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import WebSocket from "ws";

import { ask, client, connected, once, times } from "../support/clients.js";
import { start } from "../support/server.js";

/** A raw WebSocket, all of whose messages are kept from the first. */
function websocket(url) {
  const socket = new WebSocket(url.replace("http", "ws"));
  const messages = [];
  let wake = () => {};
  socket.on("message", (data, isBinary) => (messages.push(isBinary ? data : data.toString()), wake()));
  socket.on("close", () => (messages.push(null), wake()));
  return {
    send: (data) => socket.send(data),
    next: async () => {
      while (messages.length === 0) await new Promise((done) => (wake = done));
      return messages.shift();
    },
    end: () => socket.terminate(),
  };
}

describe("the Engine.IO server", () => {
  let server;
  before(async () => (server = await start("echo_engine")));
  after(() => server.stop());

  it("offers the test suite its namespaces from any origin", async () => {
    const response = await fetch(`${server.url}/engine.io/?EIO=4&transport=polling`, { headers: { origin: "http://a.example" } });
    assert.equal(response.headers.get("access-control-allow-origin"), "*");
    const open = JSON.parse((await response.text()).slice(1));
    assert.deepEqual({ ...open, sid: "" }, { sid: "", upgrades: ["websocket"], pingInterval: 300, pingTimeout: 200, maxPayload: 1_000_000 });
  });

  it("echoes every message on both transports", async () => {
    const url = `${server.url}/engine.io/?EIO=4&transport=polling`;
    const { sid } = JSON.parse((await (await fetch(url)).text()).slice(1));
    const posted = await fetch(`${url}&sid=${sid}`, { method: "POST", body: "4hello\x1ebAQIDBA==" });
    assert.equal(await posted.text(), "ok");
    assert.equal(await (await fetch(`${url}&sid=${sid}`)).text(), "4hello\x1ebAQIDBA==");

    const socket = websocket(`${server.url}/engine.io/?EIO=4&transport=websocket`);
    assert.match(await socket.next(), /^0\{/);
    socket.send("4hello");
    assert.equal(await socket.next(), "4hello");
    socket.send(Buffer.from([1, 2, 3]));
    assert.deepEqual(await socket.next(), Buffer.from([1, 2, 3]));
    // Nobody answers the ping.
    assert.equal(await socket.next(), "2");
    assert.equal(await socket.next(), null);
  });
});

describe("the Socket.IO server", () => {
  let server;
  before(async () => (server = await start("echo")));
  after(() => server.stop());

  it("sends the handshake data and echoes every event", async () => {
    const socket = client(server.url, { transports: ["websocket"], auth: { token: "123" } });
    const auth = once(socket, "auth");
    socket.connect();
    assert.deepEqual(await auth, [{ token: "123" }]);
    for (const args of [[], [1, "2", { 3: [true] }], [Buffer.from([1, 2, 3]), "x", Buffer.from([4])]]) {
      const back = once(socket, "message-back");
      socket.emit("message", ...args);
      assert.deepEqual(await back, args);
    }
    assert.deepEqual(await ask(socket, "message-with-ack", 1, "2", { 3: [false] }), [1, "2", { 3: [false] }]);
    socket.disconnect();
  });

  it("a second namespace sends its sockets only their own handshake", async () => {
    const custom = client(`${server.url}/custom`, { transports: ["websocket"] });
    const auth = once(custom, "auth");
    custom.connect();
    assert.deepEqual(await auth, [{}]);
    custom.disconnect();
    const random = client(`${server.url}/random`, { transports: ["websocket"] });
    const refused = once(random, "connect_error");
    random.connect();
    assert.equal((await refused)[0].message, "Invalid namespace");
    random.disconnect();
  });

  it("does not recover sessions, and closes after one second without a namespace", async () => {
    const socket = websocket(`${server.url}/socket.io/?EIO=4&transport=websocket`);
    await socket.next();
    socket.send("40");
    assert.match(await socket.next(), /^40\{"sid":"[\w-]{20}"\}$/);
    socket.end();

    const silent = websocket(`${server.url}/socket.io/?EIO=4&transport=websocket`);
    const begin = Date.now();
    await silent.next();
    for (let message; (message = await silent.next()) !== null; ) {
      assert.equal(message, "2");
      silent.send("3");
    }
    assert.ok(Date.now() - begin >= 950, "sooner than a second");
  });
});

describe("the server for the client's own tests", () => {
  let server;
  before(async () => (server = await start("client_suite")));
  after(() => server.stop());

  it("case 12.3: answers each event as the client's tests expect", async () => {
    const socket = await connected(server.url, { transports: ["websocket"] });
    const bytes = Buffer.from("asdfasdf");
    for (const [event, args, answer, expected] of [
      ["hi", [], "hi", []],
      ["false", [], "false", [false]],
      ["doge", [], "doge", [bytes]],
      ["getbin", [], "takebin", [bytes]],
      ["buffa", [bytes], "buffack", []],
      ["blob", [bytes], "back", []],
      ["jsonbuff", [{ hello: "lol", message: bytes, goodbye: "gotcha" }], "jsonbuff-ack", []],
      ["jsonblob", [{ hello: "lol", message: bytes, goodbye: "gotcha" }], "jsonblob-ack", []],
    ]) {
      const answered = once(socket, answer);
      socket.emit(event, ...args);
      // An offset may follow, since recovery is on.
      assert.deepEqual((await answered).slice(0, expected.length), expected, event);
    }
    for (const [first, second, answer] of [
      [["abuff1", bytes], ["abuff2", "please arrive second"], "abuff2-ack"],
      [["blob1", bytes], ["blob3", bytes], "blob3-ack"],
    ]) {
      const answered = once(socket, answer);
      socket.emit(...first);
      socket.emit(...second);
      await answered;
    }
    const texts = times(socket, "takeUtf8", 5);
    socket.emit("getUtf8");
    assert.deepEqual((await texts).map(([text]) => text), ["てすと", "Я Б Г Д Ж Й", "Ä ä Ü ü ß", "utf8 — string", "utf8 — string"]);
    const date = once(socket, "takeDate");
    socket.emit("getDate");
    assert.ok(!Number.isNaN(Date.parse((await date)[0])));
    const dates = once(socket, "takeDateObj");
    socket.emit("getDateObj");
    assert.ok(!Number.isNaN(Date.parse((await dates)[0].date)));

    assert.equal(await ask(socket, "echo", "x"), "x");
    assert.ok(!Number.isNaN(Date.parse(await ask(socket, "getAckDate", { test: true }))));
    assert.equal(await ask(socket, "getId"), socket.id);
    socket.once("ack", (answer) => answer(5, { test: true }));
    const got = once(socket, "got it");
    socket.emit("ack");
    await got;
    socket.disconnect();
  });

  it("has the namespaces of the client's tests, and rejects the connections that they expect to fail", async () => {
    for (const namespace of ["/foo", "/timeout_socket", "/valid", "/asd"]) {
      (await connected(server.url + namespace, { transports: ["websocket"] })).disconnect();
    }
    const foo = await connected(`${server.url}/foo`, { transports: ["websocket"] });
    assert.equal(await ask(foo, "getId"), foo.id);
    foo.disconnect();
    const abc = client(`${server.url}/abc?b=c`, { transports: ["websocket"] });
    const handshake = once(abc, "handshake");
    abc.connect();
    assert.equal((await handshake)[0].query.b, "c");
    abc.disconnect();
    for (const [path, options, message] of [
      ["/no", {}, "Auth failed (custom namespace)"],
      ["/", { query: { fail: true } }, "Auth failed (main namespace)"],
    ]) {
      const refused = client(server.url + path, { transports: ["websocket"], ...options });
      const error = once(refused, "connect_error");
      refused.connect();
      assert.equal((await error)[0].message, message);
      refused.disconnect();
    }
  });
});
