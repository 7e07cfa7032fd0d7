// Pages of strangers, in a browser that holds a token of ours as a cookie: what they send, and what they may see of the answer.

import assert from "node:assert/strict";
import { ask } from "../lib/http.js";
import { address, request, tally } from "./crowd.js";
import { attacksOn } from "./attack.js";
import { KINDS, key } from "./target.js";

const OURS = "http://page.example";
const STRANGERS = ["http://evil.example", "null", "https://page.example", "http://page.example:81", "http://page.example.evil.example", "http://evilpage.example", "http://page.example@evil.example", "http://page.exampl\u0435", "file://", "http://evil.example, http://page.example", ""];
const UPGRADE = { Connection: "Upgrade", Upgrade: "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==" };
const HANDSHAKE = "/socket.io/?EIO=4&transport=";
const CHANNEL = "public.origins";

/** What a page can do: path, options, and the status that a page of ours gets. */
const KINDS_OF_REQUEST = {
  "a fetch": ["/data?mode=poll&channel=secret", {}, 200],
  "a preflight": [`/data?channel=${CHANNEL}`, { method: "OPTIONS", headers: { "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization" } }, 204],
  "a simple POST": [`/events?channel=${CHANNEL}`, { method: "POST", headers: { "Content-Type": "text/plain" }, body: "1" }, 201],
  "a POST of JSON": [`/data?channel=${CHANNEL}`, { method: "POST", headers: { "Content-Type": "application/json" }, body: "1" }, 201],
  "a WebSocket": [`${HANDSHAKE}websocket`, { headers: UPGRADE }, 101],
  "a Socket.IO handshake": [`${HANDSHAKE}polling`, {}, 200],
};
/** Those that do something, or are let in: not merely unreadable but refused. */
const REFUSED = ["a simple POST", "a POST of JSON", "a WebSocket", "a Socket.IO handshake"];

for (const kind of KINDS) {
  attacksOn(kind, (attack) => {
    attack("pages of other sites", `${Object.keys(KINDS_OF_REQUEST).length} kinds of request with the cookie from ${STRANGERS.length} origins: foreign, null, lookalikes`, async (target) => {
      const Cookie = `trident_token=${key({ sub: "visitor" })}`;
      const send = (path, options, Origin) => request(target.port, path, { ...options, from: address(420), headers: { ...options.headers, Cookie, Origin } });
      for (const [what, [path, options, status]] of Object.entries(KINDS_OF_REQUEST)) {
        const answer = await send(path, options, OURS);
        assert.equal(answer.status, status, `${what} of a page of ours: ${answer.body}`);
      }
      const wrong = [];
      const got = [];
      for (const origin of STRANGERS) {
        for (const [what, [path, options]] of Object.entries(KINDS_OF_REQUEST)) {
          // Node writes headers as Latin-1; a browser as UTF-8.
          const answer = await send(path, options, Buffer.from(origin).toString("latin1"));
          if (answer.headers["access-control-allow-origin"] !== undefined) wrong.push(`${what} from ${origin} may be read`);
          if (REFUSED.includes(what)) {
            if (answer.status < 400) wrong.push(`${what} from ${origin}: ${answer.status}`);
            got.push(answer.status);
          }
        }
      }
      assert.deepEqual(wrong, []);
      const { messages } = (await ask(`${target.base}/data?mode=poll&channel=${CHANNEL}&since=earliest`)).json();
      assert.equal(messages.length, 2, "what a page of ours published, and nothing else");
      return `writing and connecting: ${tally(got)}; reading: no answer is readable`;
    });

    attack("the rights of a backend, from a page", `\`/v1\` with a cookie that has \`trident.api\`, from a page of ours and ${STRANGERS.length} other origins; \`/admin\` in a frame`, async (target) => {
      const Cookie = `trident_token=${key({ sub: "backend", trident: { api: ["write"] } })}`;
      const got = [];
      for (const Origin of [OURS, ...STRANGERS].map((origin) => Buffer.from(origin).toString("latin1"))) {
        for (const [method, path, body] of [["GET", "/v1/connections"], ["DELETE", `/v1/channels/${CHANNEL}/messages`], ["POST", "/v1/revocations", '{"user":"visitor"}']]) {
          got.push((await request(target.port, path, { method, body, from: address(421), headers: { Cookie, Origin, "Content-Type": "application/json" } })).status);
        }
      }
      assert.deepEqual([...new Set(got)], [401], got.join());
      const page = await request(target.port, "/admin", { from: address(421) });
      assert.match(page.headers["content-security-policy"], /frame-ancestors 'none'/);
      return `${tally(got)}; the page forbids frames`;
    });
  });
}
