// Connection state recovery with real clients on a bad network.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import { KINDS, ask, client, once, until, within } from "../support/clients.js";
import { proxy } from "../support/proxy.js";
import { start } from "../support/server.js";

const COUNT = Number(process.env.SOCKETIO_E2E_MESSAGES ?? 5_000);
const CUTS = Number(process.env.SOCKETIO_E2E_CUTS ?? 100);

let server;
before(async () => (server = await start()));
after(() => server.stop());

/** A client that comes back as fast as it can. */
function stubborn(url, options) {
  return client(url, { ...options, reconnection: true, reconnectionDelay: 10, reconnectionDelayMax: 10, randomizationFactor: 0 });
}

for (const name of ["WebSocket only", "polling only", "upgrade", "msgpack, WebSocket only"]) {
  describe(`recovery, ${name}`, () => {
    let network;
    before(async () => (network = await proxy(server)));
    after(() => network.stop());

    it("restores the id, the rooms and the missed packets", async () => {
      const socket = stubborn(network.url, KINDS[name]);
      socket.connect();
      await once(socket, "connect");
      const room = `recovery ${name}`;
      const other = client(server.url, KINDS["WebSocket only"]);
      other.connect();
      try {
        await once(other, "connect");
        await ask(socket, "join", room);
        const first = once(socket, "said");
        await ask(other, "say", room, "one");
        await first;
        const { id } = socket;

        const heard = [];
        socket.on("said", (what) => heard.push(what));
        network.refuse(true);
        const gone = once(socket, "disconnect");
        network.cut();
        await gone;
        await until("the server knows", async () => !(await ask(other, "who", room)).includes(id));
        await ask(other, "say", room, "two");
        await ask(other, "say", room, Buffer.from("three"));
        await ask(other, "say", "another room", "not for us");
        const back = once(socket, "connect");
        network.refuse(false);
        await back;

        assert.equal(socket.recovered, true);
        assert.equal(socket.id, id);
        await until("all is there", () => heard.length >= 2);
        assert.deepEqual(heard, ["two", Buffer.from("three")]);
        await ask(other, "say", room, "four");
        await until("all is there", () => heard.length >= 3);
        assert.equal(heard[2], "four");
        assert.deepEqual(await ask(socket, "whoami"), { id, recovered: true });
      } finally {
        socket.disconnect();
        other.disconnect();
      }
    });

    it("a client that disconnected is not recovered", async () => {
      const socket = stubborn(network.url, KINDS[name]);
      socket.connect();
      await once(socket, "connect");
      const { id } = socket;
      await ask(socket, "join", "somewhere");
      socket.disconnect();
      socket.connect();
      await once(socket, "connect");
      assert.equal(socket.recovered, false);
      assert.notEqual(socket.id, id);
      socket.disconnect();
    });
  });
}

describe(`recovery, ${CUTS} cuts`, () => {
  it(`delivers each of ${COUNT} messages once and in order`, async () => {
    const network = await proxy(server);
    const socket = stubborn(network.url, KINDS["WebSocket only"]);
    const narrator = client(server.url, KINDS["WebSocket only"]);
    try {
      socket.connect();
      narrator.connect();
      await Promise.all([once(socket, "connect"), once(narrator, "connect")]);
      const room = "a long story";
      await ask(socket, "join", room);
      const { id } = socket;

      const numbers = [];
      let lost = 0;
      socket.on("number", (n) => numbers.push(n));
      socket.on("connect", () => (lost += socket.recovered ? 0 : 1));
      const counted = within("the end of the story", (done) => socket.once("counted", done), 120_000);
      await ask(narrator, "count", room, COUNT, 1_500);
      await until("it has begun", () => numbers.length > 0);

      let cuts = 0;
      for (; cuts < CUTS && numbers.length < COUNT; cuts++) {
        const seen = numbers.length;
        network.cut();
        await until("it goes on", () => (socket.connected && numbers.length > seen) || numbers.length >= COUNT, 30_000);
      }
      await counted;

      assert.equal(lost, 0, "a session was not recovered");
      assert.deepEqual(numbers, Array.from({ length: COUNT }, (_, n) => n));
      assert.equal(socket.id, id);
      assert.deepEqual(await ask(narrator, "who", room), [id], "its room");
      assert.equal(cuts, CUTS);
    } finally {
      socket.disconnect();
      narrator.disconnect();
      await network.stop();
    }
  });
});
