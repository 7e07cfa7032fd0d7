// The application's side: what it answers to webhooks, requests for /v1 from pages of other sites, and clients that fill the event feed.

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { createServer } from "node:http";
import path from "node:path";
import { after } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { io } from "socket.io-client";
import { ask } from "../lib/http.js";
import { freePort, start } from "../lib/process.js";
import { BUILD, ROOT } from "../lib/stack.js";
import { until } from "../lib/wait.js";
import { attacksOn } from "./attack.js";
import { Caller, address, request, tally } from "./crowd.js";
import { STANDALONE, bearer, key } from "./target.js";

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
/** How calls are answered. */
let answerCall = (response) => response.end("{}");
const hooks = await serve(async (asked, response) => {
  const chunks = [];
  for await (const chunk of asked) chunks.push(chunk);
  const body = Buffer.concat(chunks).toString();
  if (asked.url === "/calls") return answerCall(response);
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

const SECRET = `whsec_${HOOK_KEY.toString("base64")}`;
const settings = {
  TRIDENT_CALL_URL: new URL("/calls", hooks.url).href,
  TRIDENT_CALLS: "event",
  TRIDENT_EVENTS: "all",
  TRIDENT_EVENTS_RATE: "50",
  TRIDENT_HOOK_URL: hooks.url,
  TRIDENT_HOOK_EVENTS: "none",
  TRIDENT_HOOK_CHANNELS: "hooked",
  TRIDENT_HOOK_SECRET: SECRET,
};

/** How many addresses connect as fast as they can, and how often ten times each: ten thousand connects in a second where the build is fast enough. */
const ADDRESSES = 200;
const ROUNDS = BUILD === "release" ? 5 : 1;

/** A request to a backend, as Trident would send it. */
function signed(id, body, { time = Math.floor(Date.now() / 1_000), secret = HOOK_KEY } = {}) {
  const signature = `v1,${createHmac("sha256", secret).update(`${id}.${time}.${body}`).digest("base64")}`;
  return { body, headers: { "webhook-id": id, "webhook-timestamp": `${time}`, "webhook-signature": signature } };
}

const order = (id, tea) => JSON.stringify({ id, kind: "event", event: "order.create", args: [{ tea }], namespace: "/", socket: { id: "s", user: "ann", rooms: [], data: null } });

/** Requests that are not Trident's, or are no longer: each from one that is. */
function forgeries() {
  const body = order("forged", 1);
  const time = Math.floor(Date.now() / 1_000);
  const good = signed("forged", body);
  const having = (headers) => ({ body, headers: { ...good.headers, ...headers } });
  const bare = good.headers["webhook-signature"].slice("v1,".length);
  return {
    "without any signature": { body, headers: {} },
    "signed with another key": signed("forged", body, { secret: "another key" }),
    "signed with an empty key": signed("forged", body, { secret: "" }),
    "of an hour ago": signed("forged", body, { time: time - 3_600 }),
    "of the next hour": signed("forged", body, { time: time + 3_600 }),
    "with a later time than was signed": having({ "webhook-timestamp": `${time + 1}` }),
    "with a time that is no number": having({ "webhook-timestamp": "now" }),
    "with another body": { ...good, body: order("forged", 100) },
    "with another id": having({ "webhook-id": "other" }),
    "with an empty signature": having({ "webhook-signature": "v1," }),
    "with a part of the signature": having({ "webhook-signature": `v1,${bare.slice(0, 8)}` }),
    "with the signature of another scheme": having({ "webhook-signature": `v1a,${bare}` }),
    "with a thousand signatures": having({ "webhook-signature": Array(300).fill(`v1,${"A".repeat(43)}=`).join(" ") }),
  };
}

attacksOn(
  STANDALONE,
  (attack) => {
    attack("an application that misbehaves", "answers webhooks with a redirect, and with 100 MB", async (target) => {
      answers.push(redirect, flood);
      const published = await ask(`${target.base}/events?channel=hooked`, { method: "POST", headers: { ...bearer({ trident: { publish: ["hooked"] } }), "Content-Type": "application/json" }, body: "1" });
      assert.equal(published.status, 201);
      await until("the batch to be accepted", () => received.length >= 3, { within: 20_000 });
      assert.equal(elsewhere, 0, "the redirect is followed");
      const [first] = received;
      for (const { id, body, isSigned } of received) assert.deepEqual([id, body, isSigned], [first.id, first.body, true]);
      return "not followed, not read; the same batch is accepted at the third attempt";
    });

    attack("request forgery through answers", "the application answers calls with a redirect to another server, and with 100 MB; a client asks for the address of another server", async (target) => {
      const socket = io(target.base, { forceNew: true, transports: ["websocket"], localAddress: address(650), extraHeaders: { Origin: "http://page.example" } });
      try {
        await new Promise((resolve, reject) => socket.once("connect", resolve).once("connect_error", reject));
        const codes = [];
        for (const answer of [redirect, flood]) {
          answerCall = answer;
          codes.push((await socket.timeout(20_000).emitWithAck("order.create", { callback: other.url })).error.code);
        }
        assert.deepEqual(codes, ["backend_unavailable", "backend_unavailable"]);
        const aimed = await request(target.port, `${other.url}`, { from: address(650) });
        assert.equal(aimed.status, 404);
        assert.equal(elsewhere, 0, "the other server is asked");
        return "2 × backend_unavailable, 404; the other server is never asked";
      } finally {
        answerCall = (response) => response.end("{}");
        socket.disconnect();
      }
    });

    attack("forged and replayed signatures", `${Object.keys(forgeries()).length} kinds of request to the backends of \`examples/\` in Node.js and Python, and one request five times`, async (target) => {
      const got = [];
      for (const [command, file] of [[process.execPath, "node/server.mjs"], ["python3", "python/server.py"]]) {
        const port = await freePort();
        const env = { ...process.env, TRIDENT_URL: target.base, TRIDENT_TOKEN: key({ trident: { api: ["read"] } }), TRIDENT_HOOK_SECRET: SECRET, PORT: `${port}` };
        const backend = start(command, [path.join(ROOT, "examples/backend", file)], env);
        try {
          const post = ({ body, headers }) => ask(`http://127.0.0.1:${port}/calls`, { method: "POST", headers: { "Content-Type": "application/json", ...headers }, body });
          await until(`${file} to listen`, () => post({ body: "{}", headers: {} }).catch(() => undefined));
          const wrong = [];
          for (const [what, forged] of Object.entries(forgeries())) {
            const { status } = await post(forged);
            got.push(status);
            if (status !== 401) wrong.push(`${file}: ${what}: ${status}`);
          }
          assert.deepEqual(wrong, []);
          const genuine = signed("call_1", order("call_1", 2));
          const numbers = [];
          for (let n = 0; n < 5; n += 1) {
            const answer = await post(genuine);
            assert.equal(answer.status, 200, backend.said());
            numbers.push(answer.json().ack[0].order.number);
          }
          assert.deepEqual(numbers, [1, 1, 1, 1, 1], `${file}: a request that is repeated, and nothing that was forged, is an order`);
        } finally {
          await backend.stop("SIGKILL");
        }
      }
      return `${tally(got)}; the repeated request is one order`;
    });

    attack("/v1 from another site", "200 requests with the cookie of a backend, from a page of another origin and of none", async (target) => {
      const cookie = { Cookie: `trident_token=${key({ trident: { api: ["write"] } })}` };
      const got = [];
      for (let n = 0; n < 50; n += 1) {
        for (const page of [{ Origin: "http://evil.example" }, {}]) {
          const from = address(700 + n);
          got.push((await request(target.port, "/v1/connections", { from, headers: { ...cookie, ...page } })).status);
          got.push((await request(target.port, "/v1/users/ann/connections", { from, method: "DELETE", headers: { ...cookie, ...page } })).status);
        }
      }
      assert.deepEqual([...new Set(got)], [401]);
      return tally(got);
    });

    attack("clients that fill the event feed", "2,000 streams, opened and closed from 100 addresses, with all events on; 50 events a second are written", async (target) => {
      const missed = await target.figure("trident_events_missed_total");
      const got = [];
      for (let round = 0; round < 20; round += 1) {
        const all = Array.from({ length: 100 }, (_, n) => request(target.port, "/events?channel=public.feed", { from: address(800 + n), method: "HEAD" }));
        const polls = Array.from({ length: 100 }, (_, n) => request(target.port, "/data?channel=public.feed&wait=1&since=earliest", { from: address(800 + n) }).catch(() => ({ status: "closed" })));
        got.push(...(await Promise.all([...all, ...(round === 0 ? polls : [])])).map(({ status }) => status));
      }
      const feed = await ask(`${target.base}/data?channel=$events&mode=poll&since=earliest&limit=1000`.replace("$", "%24"), { headers: bearer({ trident: { api: ["read"] } }) });
      assert.equal(feed.status, 200);
      const kinds = feed.json().messages.map(({ data }) => data.kind);
      assert.ok(kinds.includes("gap") || (await target.figure("trident_events_missed_total")) === missed, "what is missing is a gap");
      return `${tally(got)}; what exceeds the rate is a gap`;
    });

    attack("anonymous connects", `${ADDRESSES} addresses send ${10 * ROUNDS} polls each within ${ROUNDS / 5} s, of ${10 * ROUNDS} channels, with all events on; 50 events a second are written`, async (target) => {
      const figures = async () => Promise.all(["recorded", "missed"].map((name) => target.figure(`trident_events_${name}_total`)));
      const names = Array.from({ length: 10 * ROUNDS }, (_, n) => `public.storm.${n}`);
      const lines = names.map((channel) => JSON.stringify({ channel, data: 1 })).join("\n");
      const stored = await ask(`${target.base}/events`, { method: "POST", headers: { ...bearer({ trident: { publish: ["public.*"] } }), "Content-Type": "application/x-ndjson" }, body: lines });
      assert.equal(stored.status, 201, stored.body);
      const before = await figures();
      const began = performance.now();
      const callers = Array.from({ length: ADDRESSES }, (_, n) => new Caller(target.port, { from: address(1_000 + n) }));
      const polls = names.map((channel) => `GET /data?channel=${channel}&since=earliest HTTP/1.1\r\nHost: x\r\n\r\n`);
      let took;
      try {
        for (let round = 0; round < ROUNDS; round += 1) {
          callers.forEach((caller) => caller.say(polls.slice(10 * round, 10 * round + 10).join("")));
          await sleep(200);
        }
        await until("all polls to be answered", () => callers.every(({ statuses, closed }) => closed || statuses.length === polls.length), { within: 30_000, every: 100 });
        took = (performance.now() - began) / 1_000;
      } finally {
        callers.forEach((caller) => caller.leave());
      }
      const served = callers.flatMap(({ statuses }) => statuses).filter((status) => status === 200).length;
      assert.equal(served, ADDRESSES * polls.length, tally(callers.flatMap(({ statuses }) => statuses)));
      const [recorded, missed] = (await figures()).map((value, at) => value - before[at]);
      assert.ok(recorded + missed >= served, `${recorded} and ${missed} events of ${served} clients`);
      assert.ok(recorded <= 50 * (took + 2), `${recorded} events in ${took} s`);
      // The number in the gaps is exact.
      const lost = async () => {
        const feed = await ask(`${target.base}/data?channel=%24events&mode=poll&since=earliest&limit=1000`, { headers: bearer({ trident: { api: ["read"] } }) });
        return feed.json().messages.reduce((sum, { data }) => sum + (data.kind === "gap" ? data.count : 0), 0);
      };
      await until("the gaps to count all that is missing", async () => (await lost()) === (await target.figure("trident_events_missed_total")), { within: 10_000, every: 200 });
      return `${served} × 200 in ${took.toFixed(1)} s; ${recorded} events, and gaps that count the other ${missed} exactly`;
    });
  },
  { settings },
);
