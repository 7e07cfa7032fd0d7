// More than one client should want: connections of one address, and packets of one Socket.IO socket.

import assert from "node:assert/strict";
import { chatClient } from "../lib/chat.js";
import { until } from "../lib/wait.js";
import { address, Crowd, request, tally } from "./crowd.js";
import { attacksOn } from "./attack.js";
import { SETTINGS } from "./defences.js";
import { KINDS } from "./target.js";

const PER_ADDRESS = Number(SETTINGS.TRIDENT_MAX_CONNECTIONS_PER_ADDRESS);
const CONNECT_RATE = Number(SETTINGS.TRIDENT_CONNECT_RATE);
/** That send too many packets. */
const SOCKETS = 4;
const HANDSHAKE = "/socket.io/?EIO=4&transport=polling";

/** Frames of a client are masked (RFC 6455 §5.3); a mask of zeros changes nothing. */
const text = (words) => Buffer.concat([Buffer.from([0x81, 0x80 | words.length, 0, 0, 0, 0]), Buffer.from(words)]);
const UPGRADE = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";

for (const kind of KINDS) {
  attacksOn(kind, (attack) => {
    attack("sessions that never join", `200 Engine.IO handshakes of one address; ${PER_ADDRESS} are allowed`, async (target) => {
      const from = address(300);
      const answers = await Promise.all(Array.from({ length: 200 }, () => request(target.port, HANDSHAKE, { from }).catch(() => ({ status: "closed", headers: {} }))));
      const statuses = answers.map(({ status }) => status);
      const [letIn, turnedAway] = [200, 403].map((status) => statuses.filter((one) => one === status).length);
      assert.ok(letIn > 0 && letIn <= PER_ADDRESS, `${letIn} were accepted`);
      assert.ok(statuses.every((status) => [200, 403, 429, "closed"].includes(status)), tally(statuses));
      assert.ok(answers.every(({ status, headers }) => status !== 429 || headers["retry-after"] === "2"), "they are told when to come again");
      const counted = await Promise.all(["connections_per_address", "connect_rate", "sockets_per_address"].map((reason) => target.figure("trident_refusals_total", `reason="${reason}"`)));
      assert.ok(counted[0] > 0 && counted[0] + counted[1] + counted[2] >= turnedAway, `counted: ${counted}`);
      return tally(statuses);
    });

    attack("streams of one address", `100 each of SSE, streams and long polls of one address; ${PER_ADDRESS} are allowed`, async (target) => {
      const got = [];
      for (const [at, path] of ["/events?channel=public.many", "/data?channel=public.many&mode=stream", "/data?channel=public.many&wait=5"].entries()) {
        const crowd = Crowd.call(target.port, 100, () => ({ from: address(310 + at), say: `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n` }));
        try {
          // Refused event streams are answered 200, too, and end at once: a browser would not come again otherwise.
          const refused = ({ statuses, back, closed }) => statuses[0] === 429 || (closed && statuses.length === 0) || (at === 0 && /retry: \d/.test(back) && !/connected/.test(back));
          await until("all but the first to be refused", () => crowd.count(refused) >= 100 - PER_ADDRESS);
          assert.equal(crowd.count(refused), 100 - PER_ADDRESS);
          if (at > 0) assert.ok(crowd.callers.filter((one) => refused(one) && one.statuses.length > 0).every(({ back }) => /retry-after: \d/i.test(back)), "they are told when to come again");
          got.push(`${path.split("?")[0]}: ${tally(crowd.callers.map((caller) => (refused(caller) ? "refused" : "served")))}`);
        } finally {
          crowd.leave();
        }
      }
      return got.join("; ");
    });

    attack("rapid reconnects", `1,000 polls of one address as fast as they are answered; ${CONNECT_RATE} a second are allowed`, async (target) => {
      const began = performance.now();
      const statuses = [];
      const one = async () => {
        while (statuses.length < 1_000) {
          const { status, headers } = await request(target.port, "/data?channel=public.often&mode=poll", { from: address(320) });
          if (status === 429) assert.match(headers["retry-after"] ?? "", /^\d+$/);
          statuses.push(status);
        }
      };
      await Promise.all(Array.from({ length: 20 }, one));
      const seconds = (performance.now() - began) / 1_000;
      const served = statuses.filter((status) => status === 200).length;
      assert.ok(served <= CONNECT_RATE * (seconds + 1) + 1, `${served} in ${seconds} s`);
      assert.ok(served < statuses.length, "somebody was refused");
      await until("all to be counted", async () => (await target.figure("trident_refusals_total", 'reason="connect_rate"')) + target.logged("connect_rate") >= statuses.length - served, { every: 200 });
      return `${tally(statuses)} in ${seconds.toFixed(1)} s`;
    });

    attack("packets of one socket", `${SOCKETS} WebSockets, 5,000 events each at once; ${SETTINGS.TRIDENT_SOCKET_RATE} a second are allowed`, async (target) => {
      const crowd = Crowd.call(target.port, SOCKETS, () => ({ from: address(330), say: UPGRADE }));
      try {
        await until("the upgrades", () => crowd.count(({ statuses }) => statuses[0] === 101) === SOCKETS);
        const flood = Buffer.concat([text("40"), ...Array.from({ length: 5_000 }, () => text('42["typing",true]'))]);
        crowd.callers.forEach((caller) => caller.say(flood));
        await crowd.shed(10_000);
        await until("counted", async () => (await target.figure("trident_refusals_total", 'reason="socket_rate"')) >= SOCKETS, { every: 200 });
        return `${crowd.closed()} of ${SOCKETS} disconnected`;
      } finally {
        crowd.leave();
      }
    });

    attack("packets in one body", "5,000 events in one POST of a polling session", async (target) => {
      const from = address(340);
      const { body } = await request(target.port, HANDSHAKE, { from });
      const { sid } = JSON.parse(body.slice(1));
      const path = `${HANDSHAKE}&sid=${sid}`;
      await request(target.port, path, { from, method: "POST", body: "40" });
      await request(target.port, path, { from, method: "POST", body: Array.from({ length: 5_000 }, () => '42["typing",true]').join("\x1e") }).catch(() => {});
      await until("the end of the session", async () => (await request(target.port, path, { from, method: "POST", body: "3" })).status === 400);
      return "disconnected";
    });

    attack("endless rooms and channels", "names of 1,500 rooms and 50 × 100 channels, below the packet rate", async (target) => {
      const client = await chatClient(target.base, { transports: ["websocket"] }).open();
      try {
        const refusals = [];
        for (let at = 0; at < 50; at += 1) {
          const channels = Array.from({ length: 100 }, (_, n) => `public.room-${at}-${n}`);
          const answer = await client.ask("subscribe", { channels });
          if (!answer.ok) refusals.push(answer.error.code);
        }
        assert.ok(refusals.length >= 35, `only ${refusals.length} of 50 were refused`);
        return `${50 - refusals.length} of 50 subscriptions accepted, then ${tally(refusals)}`;
      } finally {
        client.close();
      }
    });
  });
}
