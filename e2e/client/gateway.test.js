// The client library behind nginx as others configure it: it buffers whatever it is told by whom, and knows no WebSockets.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { io } from "socket.io-client";
import { connect } from "../../web/client/dist/index.js";
import { socketio } from "../../web/client/dist/transports/socketio.js";
import { STANDALONE, startGateway, startStack } from "../lib/stack.js";
import { until } from "../lib/wait.js";
import { buffered, bufferedEvents, withoutUpgrades } from "./nginx.js";
import { head, Writer } from "./writer.js";

describe("client behind nginx", () => {
  let stack;
  before(async () => {
    stack = await startStack(STANDALONE, { TRIDENT_HISTORY_COUNT: "5000", TRIDENT_KEEPALIVE: "500ms" });
  });
  after(() => stack?.stop());

  async function begin(t, spoil) {
    const { port } = stack;
    const gateway = await startGateway({ comet: port, chat: port, sse: port }, spoil);
    t.after(() => gateway.stop());
    const channel = `public.nginx-${gateway.port}`;
    const since = await head(stack.base, channel);
    const timing = { open: 1_500, silence: 2_500 };
    const connection = connect({ url: gateway.base, channels: [channel], since, websocket: socketio(io), timing });
    t.after(() => connection.close());
    const [read, told] = [[], []];
    connection.on("message", ({ id }) => read.push(id));
    connection.on("gap", (gap) => assert.fail(JSON.stringify(gap)));
    connection.on("state", ({ phase, transport, message }) => told.push(`${phase} ${transport} ${message}`));
    const writer = new Writer(stack.base, channel);
    return {
      writer,
      told,
      on: (transport) => until(`open on ${transport}`, () => connection.state.phase === "open" && connection.state.transport === transport).catch((error) => {
        throw new Error(`${error.message}\n${told.join("\n")}`);
      }),
      async all() {
        await writer.arrived(() => read.length, 30_000);
        assert.deepEqual(read, writer.ids);
      },
    };
  }

  for (const [what, spoil, transport] of [
    ["as the project has it", (text) => text, "websocket"],
    ["without WebSockets", withoutUpgrades, "sse"],
    ["without WebSockets, and event streams buffered", (text) => bufferedEvents(withoutUpgrades(text)), "stream"],
    ["without WebSockets, and everything buffered", (text) => buffered(withoutUpgrades(text)), "longpoll"],
    ["everything buffered", buffered, "websocket"],
  ]) {
    test(`${what}: ${transport}, and every message once and in order`, async (t) => {
      const client = await begin(t, spoil);
      await client.on(transport);
      await client.writer.to(500, 20);
      await client.all();
      // What was found wanting is not tried again for a while.
      assert.ok(client.told.filter((line) => line.startsWith("connecting")).length <= 4, client.told.join("\n"));
    });
  }

  test("a proxy buffer that overflows delivers a stream in bursts: missing messages are fetched over another transport", async (t) => {
    const client = await begin(t, (text) => buffered(withoutUpgrades(text)));
    // So much from the beginning on that the opening is pushed out, and it looks well.
    client.writer.fill = 3_000;
    await client.writer.to(500, 20);
    await client.all();
    await client.on("longpoll");
    assert.ok(client.told.some((line) => /: no data for/.test(line)), client.told.join("\n"));
    await client.writer.to(510);
    await client.all();
  });
});
