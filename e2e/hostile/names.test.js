// Names of channels that try to reach beyond the pattern that a token has, or to mean something to what they pass on the way.

import assert from "node:assert/strict";
import { chatClient } from "../lib/chat.js";
import { ask } from "../lib/http.js";
import { address, request, tally } from "./crowd.js";
import { attacksOn } from "./attack.js";
import { KINDS, bearer, key } from "./target.js";

const MINE = { publish: ["news.*"], subscribe: ["news.*"] };
/** As they are written, percent-encoding included. */
const NAMES = [
  "secret", "*", "chat.*", "news.*", "news", "newsX", "NEWS.secret", "News.a", "news%2f..%2fsecret", "news./../secret", "news.a%2f%2e%2e%2fsecret", "news.%00secret", "news.%0d%0aX:1",
  "news.a%20b", "%20news.a", "news.a%20", "news.%252e", "news.%D0%B0", "n%D0%B5ws.a", "news.%E2%80%8Ba", "news%EF%BC%8Ea", "news.%ff", "news.%c0%ae", "news.%u0061",
  `news.${"a".repeat(200)}`, "", "secret%26channel%3dnews.a", "news.a,secret", "news.a;secret", "news.a%23", "news.{secret}", "news.[a-z]", "news.?", "secret&channel=news.a",
];

/** The name as it is where nothing is encoded: a character for each byte. */
const decoded = (name) => name.replaceAll(/%([0-9a-f]{2})/gi, (_, hex) => String.fromCharCode(parseInt(hex, 16)));

for (const kind of KINDS) {
  attacksOn(kind, (attack) => {
    attack("names that try to match more", `${NAMES.length} names with a token for \`news.*\`: encoded slashes and NUL, wildcards, lookalikes, case, \`..\`, overlong; to read, to publish, by Socket.IO`, async (target) => {
      const from = address(440);
      const secret = await ask(`${target.base}/data?channel=secret`, { method: "POST", headers: { ...bearer({ sub: "owner" }), "Content-Type": "application/json" }, body: '"treasure"' });
      assert.equal(secret.status, 201);
      const token = { sub: "reader", trident: MINE };
      const headers = bearer(token);
      assert.equal((await request(target.port, "/data?mode=poll&channel=news.a", { from, headers })).status, 200, "what it is for");
      const wrong = [];
      const got = [];
      for (const name of NAMES) {
        const answers = [
          await request(target.port, `/data?mode=poll&since=earliest&channel=${name}`, { from, headers }),
          await request(target.port, `/events?since=earliest&channel=${name}`, { from, headers, method: "HEAD" }),
          await request(target.port, `/data?channel=${name}`, { from, headers: { ...headers, "Content-Type": "application/json" }, method: "POST", body: "1" }),
          await request(target.port, "/events", { from, headers: { ...headers, "Content-Type": "application/x-ndjson" }, method: "POST", body: JSON.stringify({ channel: decoded(name), data: 1 }) }),
        ];
        for (const [at, { status, body }] of answers.entries()) {
          got.push(status);
          if (![400, 401, 403, 404, 405].includes(status)) wrong.push(`${name}, ${at}: ${status} ${body.slice(0, 80)}`);
        }
      }
      const client = await chatClient(target.base, { transports: ["websocket"], auth: { token: key(token) } }).open();
      try {
        for (const name of NAMES) {
          const channel = decoded(name);
          for (const answer of [await client.ask("subscribe", { channels: [channel] }), await client.ask("subscribe", { channels: ["news.a", channel] })]) {
            if (answer.ok) wrong.push(`Socket.IO: ${name} was subscribed`);
          }
        }
      } finally {
        client.close();
      }
      assert.deepEqual(wrong, []);
      const { messages } = (await ask(`${target.base}/data?mode=poll&channel=secret&since=earliest`, { headers: bearer() })).json();
      assert.deepEqual(messages.map(({ data }) => data), ["treasure"]);
      return `${tally(got)}; Socket.IO: none subscribed`;
    });
  });
}
