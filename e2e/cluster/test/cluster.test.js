// A client on either kind of server hears what is emitted on the other, and each kind asks and orders the other's sockets.

import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { until } from "../../lib/wait.js";
import { connect, startCluster } from "../support/cluster.js";

/** Bytes that are no text. */
const BINARY = Buffer.from(Array.from({ length: 300 }, (_, at) => (at * 31) % 256));

for (const environment of [{}, { SPECIFIC_RESPONSES: "yes" }]) {
  describe(`two Rust servers and one of Node's${environment.SPECIFIC_RESPONSES ? ", answers to the one who asked alone" : ""}`, () => {
    let cluster;
    let clients = [];
    before(async () => {
      cluster = await startCluster(["rust", "node", "rust"], environment);
    });
    after(() => cluster?.close());
    afterEach(() => {
      for (const client of clients) client.close();
      clients = [];
    });
    /** A client on each server, and one more on the first, in the order of the servers. */
    const four = async (nsp) => {
      clients = await Promise.all([...cluster.servers, cluster.servers[0]].map((server) => connect(server, nsp)));
      return clients;
    };
    /** What is asked of one server of each kind, with clients that are elsewhere. */
    const both = (what, run) => {
      for (const [kind, at] of [["rust", 0], ["node", 1]]) {
        test(`${what}, from ${kind}`, async () => {
          const all = await four();
          await run(all[at], all.filter((_, other) => other !== at), all);
        });
      }
    };

    both("events reach all, in order and once", async (from, others) => {
      for (let n = 0; n < 100; n += 1) from.socket.emit("emit", {}, "news", [n, { text: "时间" }], () => {});
      for (const client of others) {
        await client.hears(([event, n]) => event === "news" && n === 99);
        assert.deepEqual(client.heardAll("news"), Array.from({ length: 100 }, (_, n) => [n, { text: "时间" }]));
      }
    });

    both("binary data is as it was", async (from, others) => {
      await from.ask("emit", {}, "news", [BINARY, { deep: [BINARY.subarray(0, 1)] }, "x"]);
      for (const client of others) {
        assert.deepEqual(await client.hears("news"), ["news", BINARY, { deep: [BINARY.subarray(0, 1)] }, "x"]);
      }
    });

    both("rooms, one or several, and exceptions", async (from, others, all) => {
      await Promise.all(all.map((client, at) => client.ask("join", at < 2 ? ["low", `n${at}`] : ["high", `n${at}`])));
      const emit = (whom, mark) => from.ask("emit", whom, "news", [mark]);
      await emit({ rooms: ["low"] }, "low");
      await emit({ rooms: ["n0", "n2"] }, "even");
      await emit({ rooms: ["low", "n0", "high"] }, "each once");
      await emit({ except: ["high"] }, "not high");
      await emit({ rooms: ["high"], except: ["n3"] }, "high but n3");
      await emit({ rooms: [all[3].id] }, "one socket");
      await emit({ rooms: ["nobody"] }, "none");
      await emit({}, "end");
      const expected = [
        ["low", "even", "each once", "not high", "end"],
        ["low", "each once", "not high", "end"],
        ["even", "each once", "high but n3", "end"],
        ["each once", "one socket", "end"],
      ];
      for (const [at, client] of all.entries()) {
        await client.hears(([, mark]) => mark === "end");
        assert.deepEqual(client.heardAll("news").flat(), expected[at], `client ${at}`);
      }
    });

    both("volatile events reach those who are not busy", async (from, others) => {
      for (const client of others) {
        await until("a volatile event", async () => {
          await from.ask("emit", { volatile: true }, "news", [1]);
          return client.heardAll("news").length > 0;
        });
      }
    });

    both("local events stay, and namespaces are apart", async (from, others, all) => {
      const root = await connect(cluster.servers[0], "/");
      clients = [...clients, root];
      await from.ask("emit", { local: true }, "news", ["local"]);
      await from.ask("emit", {}, "news", ["end"]);
      for (const client of others) await client.hears(([, mark]) => mark === "end");
      const neighbours = from === all[0] ? [all[0], all[3]] : [all[1]];
      for (const client of all) {
        assert.deepEqual(client.heardAll("news").flat(), neighbours.includes(client) ? ["local", "end"] : ["end"]);
      }
      await root.ask("count");
      assert.deepEqual(root.heard, []);
    });

    both("all are asked, and each answers once", async (from, others, all) => {
      const [answers, missing] = await from.ask("ask", {}, [1, BINARY]);
      const byId = (a, b) => (a.from < b.from ? -1 : 1);
      const expected = all.map((client) => ({ from: client.id, args: [1, BINARY] }));
      assert.deepEqual([answers.sort(byId), missing], [expected.sort(byId), 0]);
    });

    both("those asked may answer in binary, or not at all", async (from, others, all) => {
      await others[0].ask("join", ["asked"]);
      await others[1].ask("join", ["asked"]);
      others[0].answer = BINARY;
      others[1].socket.offAny().onAny((event) => others[1].heard.push([event]));
      const [answers, missing] = await from.ask("ask", { rooms: ["asked"] }, ["?"]);
      assert.deepEqual([answers, missing], [[BINARY], 1]);
      assert.deepEqual(all.filter((client) => client.heardAll("question").length > 0), others.slice(0, 2));
    });

    both("sockets are fetched with rooms and data", async (from, others, all) => {
      await Promise.all(all.map((client, at) => client.ask("join", ["all", `n${at}`])));
      const found = await from.ask("fetch", { rooms: ["all"], except: ["n3"] });
      const expected = [0, 1, 2].map((at) => ({ id: all[at].id, rooms: [all[at].id, "all", `n${at}`], data: { on: cluster.servers[at].kind }, issued: true }));
      const byId = (a, b) => (a.id < b.id ? -1 : 1);
      assert.deepEqual(found.sort(byId), expected.sort(byId));
      const rooms = await from.ask("all rooms");
      assert.deepEqual(rooms.sort(), ["all", "n0", "n1", "n2", "n3", ...all.map((client) => client.id)].sort());
    });

    both("sockets are put into rooms and taken out of them", async (from, others, all) => {
      await all[2].ask("join", ["not me"]);
      await from.ask("sockets join", { except: ["not me"] }, ["a", "b"]);
      const rooms = (at) => all[at].ask("rooms");
      for (const at of [0, 1, 3]) await until(`client ${at} in its rooms`, async () => (await rooms(at)).join() === "a,b");
      assert.deepEqual(await rooms(2), ["not me"]);
      await from.ask("sockets leave", { rooms: ["a"] }, ["b", "not me"]);
      for (const at of [0, 1, 3]) await until(`client ${at} out of a room`, async () => (await rooms(at)).join() === "a");
      assert.deepEqual(await rooms(2), ["not me"]);
    });

    both("sockets are disconnected", async (from, others) => {
      const reason = (client) => new Promise((done) => client.socket.once("disconnect", done));
      const goes = [reason(others[0]), reason(others[1])];
      await from.ask("disconnect sockets", { rooms: [others[0].id] }, false);
      await from.ask("disconnect sockets", { rooms: [others[1].id] }, true);
      assert.deepEqual(await Promise.all(goes), ["io server disconnect", "io server disconnect"]);
      assert.equal(others[2].socket.connected, true);
    });

    both("servers tell each other", async (from, others, all) => {
      await from.ask("tell servers", "hello", ["x", { n: 1 }]);
      const elsewhere = from === all[0] ? [all[1], all[2]] : [all[0], all[2], all[3]];
      for (const client of elsewhere) assert.deepEqual(await client.hears("server event"), ["server event", "hello", ["x", { n: 1 }]]);
      const answers = await from.ask("ask servers", "load", [7]);
      const kinds = from === all[0] ? ["node", "rust"] : ["rust", "rust"];
      assert.deepEqual(answers.sort((a, b) => (a.server < b.server ? -1 : 1)), kinds.map((server) => ({ server, asked: [7] })));
      assert.deepEqual(from.heardAll("server event"), []);
    });

    test("requests to silent servers end with the timeout", async () => {
      const [rust] = await four();
      assert.deepEqual(await rust.ask("ask servers", "hello", []), []);
    });
  });
}
