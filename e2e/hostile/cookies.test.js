// Tokens that once held, or hold elsewhere, played again as cookies and headers.

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { refused } from "../lib/chat.js";
import { ask } from "../lib/http.js";
import { address, request, tally } from "./crowd.js";
import { attacksOn } from "./attack.js";
import { KINDS, key } from "./target.js";

const now = () => Math.floor(Date.now() / 1_000);
const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");

/** Each with the claims of somebody who may do everything. */
const TOKENS = {
  "ended a minute ago": () => key({ exp: now() - 60 }),
  "of another audience": () => key({ aud: "elsewhere" }),
  "of no audience": () => key({ aud: undefined }),
  "signed with a key that is no longer in use": () => key({}, { secret: "the-key-of-last-year-0123456789abcdef-0123456789" }),
  "not valid yet": () => key({ nbf: now() + 600 }),
  "unsigned": () => `${part({ alg: "none" })}.${key().split(".")[1]}.`,
  "with claims exchanged": () => key({ trident: {} }).split(".").with(1, key().split(".")[1]).join("."),
  "with HS512 in place of HS256": () => {
    const body = `${part({ alg: "HS512" })}.${key().split(".")[1]}`;
    return `${body}.${createHmac("sha256", "only-for-tests-0123456789abcdef-0123456789abcdef").update(body).digest("base64url")}`;
  },
};

for (const kind of KINDS) {
  attacksOn(kind, (attack) => {
    attack("invalid tokens", `${Object.keys(TOKENS).length} kinds of invalid token, as cookie, header and Socket.IO \`auth\`, to publish and to read`, async (target) => {
      const from = address(430);
      const page = { Origin: "http://page.example" };
      const publish = (headers) => request(target.port, "/data?channel=public.replay", { from, method: "POST", headers: { ...page, "Content-Type": "application/json", ...headers }, body: "1" });
      assert.equal((await publish({ Cookie: `trident_token=${key()}` })).status, 201, "one that holds");
      const wrong = [];
      const got = [];
      for (const [what, make] of Object.entries(TOKENS)) {
        for (const headers of [{ Cookie: `trident_token=${make()}` }, { Authorization: `Bearer ${make()}` }]) {
          const answers = [await publish(headers), await request(target.port, "/data?mode=poll&channel=secret", { from, headers }), await request(target.port, "/events?channel=secret", { from, headers, method: "HEAD" })];
          for (const { status } of answers) {
            got.push(status);
            if (status !== 401) wrong.push(`${what}, as ${Object.keys(headers)}: ${status}`);
          }
        }
        const error = await refused(target.base, { transports: ["websocket"], auth: { token: make() } }).catch((failure) => failure);
        if (/was accepted/.test(error.message)) wrong.push(`${what}: Socket.IO accepted it`);
      }
      assert.deepEqual(wrong, []);
      const { messages } = (await ask(`${target.base}/data?mode=poll&channel=public.replay&since=earliest`)).json();
      assert.equal(messages.length, 1, "only what the token that holds has published");
      assert.ok((await target.figure("trident_refusals_total", 'reason="bad_token"')) >= got.length, "counted");
      return `${tally(got)}; Socket.IO: none accepted`;
    });
  });
}
