// The client library in Node behind a proxy that spoils everything: what is published comes once and in order.

import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import { io } from "socket.io-client";
import { WebSocket } from "ws";
import { connect } from "../../web/client/dist/index.js";
import { socketio } from "../../web/client/dist/transports/socketio.js";
import { ONE_LOG, startStack } from "../lib/stack.js";
import { soon, until } from "../lib/wait.js";
import { Proxy } from "./proxy.js";
import { head, Writer } from "./writer.js";

globalThis.WebSocket ??= WebSocket;

const KEEP_ALIVE = 500;
/** Seconds instead of minutes. */
const TIMING = { open: 1_500, silence: 2_500, backoff: 100, backoffMost: 1_000, avoid: 3_600_000 };
let drawn = 0;

describe("client behind a bad proxy", () => {
  let stack;
  let proxy;
  let reader;
  before(async () => {
    stack = await startStack(ONE_LOG, { TRIDENT_HISTORY_COUNT: "20000", TRIDENT_KEEPALIVE: `${KEEP_ALIVE}ms` });
  });
  after(() => stack?.stop());
  beforeEach(async () => {
    proxy = await Proxy.start(stack.base);
  });
  afterEach(async () => {
    reader?.close();
    await proxy.close();
  });

  /** A reader of a new channel, what it was told, and who publishes there. */
  async function begin(options = {}) {
    const channel = `public.trouble-${process.pid}-${(drawn += 1)}`;
    const since = "since" in options ? options.since : await head(stack.base, channel);
    const connection = connect({ url: proxy.base, channels: [channel], websocket: socketio(io), timing: TIMING, ...options, since });
    const told = [];
    const read = [];
    connection.on("state", (state) => told.push(state));
    connection.on("gap", (gap) => assert.fail(`a gap: ${JSON.stringify(gap)}`));
    if (!options.unread) connection.on("message", ({ id }) => read.push(id));
    reader = connection;
    const writer = new Writer(stack.base, channel);
    return {
      connection,
      writer,
      read,
      told,
      on: (transport) => until(`open on ${transport}`, () => connection.state.phase === "open" && connection.state.transport === transport, { within: 20_000 }),
      whys: () => told.map(({ transport, why }) => `${transport} ${why}`),
      async all() {
        await writer.arrived(() => read.length, 30_000);
        assert.deepEqual(read, writer.ids);
      },
    };
  }

  test("WebSockets rejected, then event streams buffered, then everything cut: 1,000 messages once and in order", async () => {
    const client = await begin();
    await client.on("websocket");
    const writing = client.writer.to(1_000, 60);
    await until("some by WebSocket", () => client.read.length > 100);
    proxy.set("websocket", "refuse");
    await client.on("sse");
    proxy.set("sse", "hold");
    await client.on("stream");
    proxy.cut();
    await until("it waits", () => client.told.filter(({ why }) => why === "network").length > 4);
    proxy.mend();
    await writing;
    await client.all();
    const why = (name) => client.told.find((state) => state.why === name && state.phase === "connecting")?.message ?? "";
    assert.match(why("blocked"), /^websocket: /);
    assert.match(why("buffered"), /^sse: no data within 1\.5 s/);
    assert.match(why("network"), /ECONNRESET|socket|closed|terminated|transport/i);
  });

  for (const [what, spoil, expected] of [
    ["holds streams back to their end", { sse: "hold", stream: "hold" }, "longpoll"],
    ["lets heads of streams through, and nothing more", { sse: "holdBody", stream: "holdBody" }, "longpoll"],
    ["refuses event streams", { sse: "refuse" }, "stream"],
    ["holds event streams back", { sse: "holdBody" }, "stream"],
  ]) {
    test(`a proxy that ${what}: ${expected}`, async () => {
      Object.assign(proxy.to, { websocket: "refuse" }, spoil);
      const client = await begin();
      const writing = client.writer.to(100, 20);
      await client.on(expected);
      await writing;
      await client.all();
    });
  }

  test("new messages are those after the start, even if the first transports fail", async () => {
    Object.assign(proxy.to, { sse: "hold", stream: "hold" });
    const client = await begin({ since: undefined, websocket: undefined, transports: ["sse", "stream", "longpoll"] });
    await until("the place is known", () => proxy.count.longpoll > 0);
    // Its answer comes at once; what is published now is after it.
    await until("asked beside", async () => client.connection.cursor !== undefined || client.connection.state.transport === "stream");
    await client.writer.to(50);
    await client.on("longpoll");
    await client.all();
  });

  for (const transport of ["sse", "stream", "longpoll"]) {
    test(`a hanging connection is closed and opened again: ${transport}`, async () => {
      const client = await begin({ transports: [transport] });
      await client.writer.to(20);
      await client.all();
      // Until it is known to work, silence would be the transport's fault.
      await until("signs of life", () => client.connection.state.phase === "open" && proxy.count[transport] > 0);
      proxy.isFrozen = true;
      await client.writer.to(40);
      await until("silence is noticed", () => client.whys().some((why) => /silent|buffered/.test(why)), { within: 15_000 });
      proxy.isFrozen = false;
      await client.all();
    });

    test(`slow pieces, and headers taken out: ${transport}`, async () => {
      proxy.delay = 40;
      proxy.strip = ["ETag", "Trident-Gap", "X-Accel-Buffering", "Cache-Control"];
      const client = await begin({ transports: [transport] });
      await client.writer.to(200, 20);
      await client.all();
    });
  }

  test("cut again and again, on all transports in turn", async () => {
    const client = await begin({ timing: { ...TIMING, avoid: 5_000 } });
    const writing = client.writer.to(1_000, 60);
    await until("it works", () => client.read.length > 0);
    for (let n = 0; client.writer.ids.length < 1_000; n += 1) {
      const transport = ["websocket", "sse", "stream", "longpoll"][n % 4];
      for (const name of Object.keys(proxy.to)) proxy.set(name, name === transport ? "pass" : "refuse");
      proxy.cut();
      await new Promise((resolve) => setTimeout(resolve, 100));
      proxy.mend();
      await client.on(transport);
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    await writing;
    await client.all();
    assert.deepEqual([...new Set(client.told.filter(({ phase }) => phase === "open").map(({ transport }) => transport))].sort(), ["longpoll", "sse", "stream", "websocket"]);
  });

  test("a better transport is used again when it works", async () => {
    proxy.to.websocket = "refuse";
    const client = await begin({ timing: { ...TIMING, avoid: 1_000 } });
    await client.on("sse");
    const writing = client.writer.to(300, 50);
    proxy.to.websocket = "pass";
    await client.on("websocket");
    assert.ok(client.whys().includes("websocket better"), client.whys().join(", "));
    await writing;
    await client.all();
  });

  for (const transport of ["websocket", "ws", "sse", "stream", "longpoll"]) {
    test(`case 13.2: a slow reader gets all of it over one connection, and holds little of it: ${transport}`, async () => {
      const client = await begin({ transports: [transport], queue: 50, unread: true });
      await client.on(transport);
      await client.writer.to(2_000);
      for (const id of client.writer.ids) {
        const { value } = await soon("the next", client.connection.next());
        assert.equal(value.id, id);
        if (value.data.n % 500 === 0) await new Promise((resolve) => setTimeout(resolve, 100));
      }
      assert.equal(client.told.filter(({ phase }) => phase === "connecting").length, 1, client.whys().join(", "));
    });
  }
});
