// Readers that stop reading, on every transport, while much is published: what they do not take is held once, in the log, and
// not for each of them.

import assert from "node:assert/strict";
import { chatClient, leaveAll } from "../lib/chat.js";
import { until } from "../lib/wait.js";
import { Crowd, address, request } from "./crowd.js";
import { attacksOn } from "./attack.js";
import { KINDS, bearer } from "./target.js";

/** Of each transport. */
const READERS = 30;
/** 6 MiB; queued for each of 120 readers they would be 720. The log of a channel holds 8 MiB. */
const [MESSAGES, SIZE, BATCH] = [768, 8_192, 6];
const CHANNEL = "public.bulk";
const HANDSHAKE = "/socket.io/?EIO=4&transport=polling";

/** A polling session that reads the channel, and asks for nothing any more. */
async function silentSession(port, n) {
  const from = address(600 + (n % 10));
  const { body } = await request(port, HANDSHAKE, { from });
  const path = `${HANDSHAKE}&sid=${JSON.parse(body.slice(1)).sid}`;
  for (const packet of ["40", `42["subscribe",{"channels":["${CHANNEL}"]}]`]) await request(port, path, { from, method: "POST", body: packet });
}

for (const kind of KINDS) {
  attacksOn(kind, (attack) => {
    attack("readers that stop reading", `${READERS} each of SSE, stream, WebSocket and polling, while ${MESSAGES} messages of 8 KiB are published`, async (target) => {
      const paths = [`/events?channel=${CHANNEL}`, `/data?channel=${CHANNEL}&mode=stream`];
      const crowds = paths.map((path) => Crowd.call(target.port, READERS, (n) => ({ from: address(620 + (n % 10)), paused: true, say: `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n` })));
      try {
        // The clients and these come from one address, which may have 40.
        const sockets = await Promise.all(Array.from({ length: READERS }, () => chatClient(target.base, { transports: ["websocket"], reconnection: false, localAddress: address(640) }).open()));
        for (const { socket } of sockets) socket.emit("subscribe", { channels: [CHANNEL] });
        for (const client of sockets) await client.ask("unsubscribe", { channels: ["public.nothing"] });
        for (const { socket } of sockets) socket.io.engine.transport.ws._socket.pause();
        await Promise.all(Array.from({ length: READERS }, (_, n) => silentSession(target.port, n)));
        await until("all to read", async () => (await target.figure("trident_log_readers")) >= 4 * READERS);
        const line = JSON.stringify({ channel: CHANNEL, data: "x".repeat(SIZE) });
        const body = Array.from({ length: BATCH }, () => line).join("\n");
        for (let batch = 0; batch < MESSAGES / BATCH; batch += 1) {
          // Each token may publish so many a second.
          const headers = { ...bearer({ sub: `bulk-${batch % 20}` }), "Content-Type": "application/x-ndjson" };
          const answer = await request(target.port, "/data", { method: "POST", headers, body });
          assert.equal(answer.status, 201, answer.body);
        }
        return "each is behind or was disconnected; publishing continues";
      } finally {
        leaveAll();
        crowds.forEach((crowd) => crowd.leave());
      }
    });
  });
}
