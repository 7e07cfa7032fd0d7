// The application's side: what it answers to webhooks, requests for /v1 from pages of other sites, and clients that fill the event feed.

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { createServer } from "node:http";
import { after } from "node:test";
import { ask } from "../lib/http.js";
import { until } from "../lib/wait.js";
import { attacksOn } from "./attack.js";
import { address, request, tally } from "./crowd.js";
import { STANDALONE, bearer, key } from "./house.js";

const HOOK_KEY = Buffer.from("a key that is good for tests alone");

async function serve(answer) {
  const server = createServer(answer).listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  return { server, url: `http://127.0.0.1:${server.address().port}/hooks` };
}

let elsewhere = 0;
const other = await serve((_, response) => {
  elsewhere += 1;
  response.end();
});
/** How the next requests are answered; then they are accepted. */
const answers = [];
const received = [];
const hooks = await serve(async (asked, response) => {
  const chunks = [];
  for await (const chunk of asked) chunks.push(chunk);
  const body = Buffer.concat(chunks).toString();
  const { "webhook-id": id, "webhook-timestamp": time, "webhook-signature": signature } = asked.headers;
  const expected = createHmac("sha256", HOOK_KEY).update(`${id}.${time}.${body}`).digest("base64");
  received.push({ id, body, isSigned: signature === `v1,${expected}` });
  (answers.shift() ?? ((accepted) => accepted.end()))(response);
});
after(() => [other, hooks].forEach(({ server }) => (server.closeAllConnections(), server.close())));

const redirect = (response) => response.writeHead(307, { Location: other.url }).end();
/** As much as is taken of 100 MB. */
const flood = (response) => {
  let left = 100;
  const more = () => {
    while (left > 0 && !response.destroyed) {
      left -= 1;
      if (!response.write(Buffer.alloc(1_000_000))) return response.once("drain", more);
    }
    response.end();
  };
  response.on("error", () => {});
  more();
};

const settings = {
  TRIDENT_EVENTS: "all",
  TRIDENT_EVENTS_RATE: "50",
  TRIDENT_HOOK_URL: hooks.url,
  TRIDENT_HOOK_EVENTS: "none",
  TRIDENT_HOOK_CHANNELS: "hooked",
  TRIDENT_HOOK_SECRET: `whsec_${HOOK_KEY.toString("base64")}`,
};

attacksOn(
  STANDALONE,
  (attack) => {
    attack("an application that misbehaves", "answers webhooks with a redirect, and with 100 MB", async (house) => {
      answers.push(redirect, flood);
      const published = await ask(`${house.base}/events?channel=hooked`, { method: "POST", headers: { ...bearer({ trident: { publish: ["hooked"] } }), "Content-Type": "application/json" }, body: "1" });
      assert.equal(published.status, 201);
      await until("the batch to be accepted", () => received.length >= 3, { within: 20_000 });
      assert.equal(elsewhere, 0, "the redirect is followed");
      const [first] = received;
      for (const { id, body, isSigned } of received) assert.deepEqual([id, body, isSigned], [first.id, first.body, true]);
      return "not followed, not read; the same batch is accepted at the third attempt";
    });

    attack("/v1 from another site", "200 requests with the cookie of a backend, from a page of another origin and of none", async (house) => {
      const cookie = { Cookie: `trident_token=${key({ trident: { api: ["write"] } })}` };
      const got = [];
      for (let n = 0; n < 50; n += 1) {
        for (const page of [{ Origin: "http://evil.example" }, {}]) {
          const from = address(700 + n);
          got.push((await request(house.port, "/v1/connections", { from, headers: { ...cookie, ...page } })).status);
          got.push((await request(house.port, "/v1/users/ann/connections", { from, method: "DELETE", headers: { ...cookie, ...page } })).status);
        }
      }
      assert.deepEqual([...new Set(got)], [401]);
      return tally(got);
    });

    attack("clients that fill the event feed", "2,000 streams, opened and closed from 100 addresses, with all events on; 50 events a second are written", async (house) => {
      const missed = await house.figure("trident_events_missed");
      const got = [];
      for (let round = 0; round < 20; round += 1) {
        const all = Array.from({ length: 100 }, (_, n) => request(house.port, "/events?channel=public.feed", { from: address(800 + n), method: "HEAD" }));
        const polls = Array.from({ length: 100 }, (_, n) => request(house.port, "/data?channel=public.feed&wait=1&since=earliest", { from: address(800 + n) }).catch(() => ({ status: "closed" })));
        got.push(...(await Promise.all([...all, ...(round === 0 ? polls : [])])).map(({ status }) => status));
      }
      const feed = await ask(`${house.base}/data?channel=$events&mode=poll&since=earliest&limit=1000`.replace("$", "%24"), { headers: bearer({ trident: { api: ["read"] } }) });
      assert.equal(feed.status, 200);
      const kinds = feed.json().messages.map(({ data }) => data.kind);
      assert.ok(kinds.includes("gap") || (await house.figure("trident_events_missed")) === missed, "what is missing is a gap");
      return `${tally(got)}; what exceeds the rate is a gap`;
    });
  },
  { settings },
);
