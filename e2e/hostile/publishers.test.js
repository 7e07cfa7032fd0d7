// Publishers that flood: ten times what one token or address may publish.

import assert from "node:assert/strict";
import { ask } from "../lib/http.js";
import { address, Caller, tally } from "./crowd.js";
import { attacksOn } from "./attack.js";
import { KINDS, bearer } from "./target.js";
import { SETTINGS } from "./defences.js";
import { until } from "../lib/wait.js";

const RATE = Number(SETTINGS.TRIDENT_PUBLISH_RATE);
const SECONDS = 2;
/** Messages of a request, and the requests on each of so many connections. */
const [BATCH, CONNECTIONS] = [20, 10];
const REQUESTS = (10 * RATE * SECONDS) / BATCH / CONNECTIONS;

/** Requests one after another; each waits for the answer to the last. */
async function flood(port, n, head, body) {
  const caller = new Caller(port, { from: address(n) });
  for (let sent = 1; sent <= REQUESTS; sent += 1) {
    caller.say(`${head}Content-Length: ${body.length}\r\n\r\n${body}`);
    await until("an answer", () => caller.closed || caller.statuses.length >= sent, { within: 10_000, every: 5 });
  }
  caller.leave();
  return caller;
}

for (const kind of KINDS) {
  attacksOn(kind, (attack) => {
    attack("publishing at ten times the limit", `${REQUESTS * CONNECTIONS * BATCH} messages as fast as they are answered, one token, ${CONNECTIONS} connections, batches of ${BATCH}; ${RATE} a second are allowed`, async (target) => {
      const head = `POST /data HTTP/1.1\r\nHost: a\r\n${`Authorization: ${bearer({ sub: "flood" }).Authorization}`}\r\nContent-Type: application/x-ndjson\r\n`;
      const body = Array.from({ length: BATCH }, (_, n) => JSON.stringify({ channel: "public.flood", data: n })).join("\n");
      const began = performance.now();
      const callers = await Promise.all(Array.from({ length: CONNECTIONS }, (_, n) => flood(target.port, n, head, body)));
      const seconds = (performance.now() - began) / 1_000;
      const statuses = callers.flatMap((caller) => caller.statuses);
      assert.equal(statuses.length, REQUESTS * CONNECTIONS, "each request has one answer");
      assert.deepEqual(statuses.filter((status) => ![201, 429].includes(status)), []);
      const refused = statuses.filter((status) => status === 429).length;
      const waits = callers.flatMap(({ back }) => [...back.matchAll(/retry-after: (\d+)/gi)].map(([, wait]) => Number(wait)));
      assert.ok(refused > 0, "somebody was refused");
      assert.equal(waits.length, refused, "each refusal says when to come again");
      assert.ok(waits.every((wait) => wait >= 1 && wait <= 60), tally(waits));
      // A second's worth may come at once.
      const accepted = (statuses.length - refused) * BATCH;
      assert.ok(accepted <= RATE * (seconds + 1) + BATCH, `${accepted} messages in ${seconds.toFixed(1)} s`);
      assert.ok((await target.figure("trident_refusals_total", 'reason="publish_rate"')) >= refused, "counted");
      const { messages } = (await ask(`${target.base}/data?mode=poll&channel=public.flood&since=earliest&limit=1000`)).json();
      assert.equal(messages.length, Math.min(accepted, 1_000), "what was accepted, and no more, is in the log");
      return `${accepted} messages accepted in ${seconds.toFixed(1)} s; ${refused} of ${statuses.length} requests 429 with Retry-After`;
    });
  });
}
