// Slow lorises: heads and bodies that come a byte at a time and never end, at every port and on routes that nobody guards.

import assert from "node:assert/strict";
import { until } from "../lib/wait.js";
import { Crowd, address, tally } from "./crowd.js";
import { attacksOn } from "./attack.js";
import { SETTINGS } from "./defences.js";
import { GATEWAY, KINDS, TLS, bearer } from "./target.js";

/** At each port, those of services behind the gateway too. */
const COUNT = 150;
/** Long after the times of all of them (2 s) and the sweep of those who had a request before. */
const SHED_WITHIN = 12_000;

const AUTHORIZATION = bearer({ sub: "slow" }).Authorization;
const HEADS = ["GET /data HTTP/1.1\r\nHost: a\r\nX-Slow: ", "GET /metrics HTTP/1.1\r\nHost: a\r\nX-", "POST /events?channel=public.slow HTTP/1.1\r\n", "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: a\r\n", "G"];
/** A record of TLS with 512 bytes of a first message, of which these are the first. */
const HELLO = "\x16\x03\x01\x02\x00\x01";
const BODIES = ["/events?channel=public.slow", "/data?channel=public.slow"].flatMap((path) => {
  const head = `POST ${path} HTTP/1.1\r\nHost: a\r\nAuthorization: ${AUTHORIZATION}\r\nContent-Type: text/plain\r\n`;
  return [`${head}Content-Length: 60000\r\n\r\nx`, `${head}Transfer-Encoding: chunked\r\n\r\nea60\r\nx`];
});

/** All these ports at once, a byte on each connection in 0.4 s unless it is to be `silent`; gives how those who were slow were answered. */
async function besiege(doors, sayings, { silent = false } = {}) {
  const crowds = doors.map(({ name, port }) => {
    const said = name === TLS ? [...sayings, HELLO] : sayings;
    return Crowd.call(port, COUNT, (n) => ({ from: address(n % 20), say: said[n % said.length] }));
  });
  const stops = silent ? [] : crowds.map((crowd) => crowd.trickle("x", 400));
  try {
    for (const crowd of crowds) await crowd.shed(SHED_WITHIN);
  } finally {
    stops.forEach((stop) => stop());
    crowds.forEach((crowd) => crowd.leave());
  }
  const first = crowds.flatMap(({ callers }) => callers.map(({ statuses }) => statuses[0] ?? "closed"));
  assert.deepEqual(first.filter((status) => status >= 200 && status < 300), [], "one of them was served");
  return `${crowds.length * COUNT} connections, all closed: ${tally(first)}`;
}

for (const kind of KINDS) {
  attacksOn(kind, (attack) => {
    attack("heads that never end", `${COUNT} connections at each port, a byte in 0.4 s, \`/metrics\` too`, (target) => besiege(target.doors, HEADS));
    attack("bodies that never end", `${COUNT} publishes at each service, a byte in 0.4 s, with a length and in chunks`, async (target) => {
      const got = await besiege(target.services, BODIES);
      const counted = async () => (await target.figure("trident_refusals_total", 'reason="slow_body"')) >= COUNT / 2;
      await until("slow bodies to be counted", counted, { every: 200 });
      return got;
    });
    if (kind === GATEWAY) {
      const most = Number(SETTINGS.TRIDENT_MAX_CONNECTIONS_PER_ADDRESS);
      attack("bodies of one address", `100 publications at nginx of one address that send only the first byte; ${most} are allowed`, async (target) => {
        const crowd = Crowd.call(target.port, 100, () => ({ from: address(460), say: BODIES[0] }));
        try {
          const refused = ({ statuses, back }) => statuses[0] === 429 && /retry-after: 2/i.test(back);
          await until("all but the first to be refused", () => crowd.count(refused) >= 100 - most, { within: 1_500 });
          await until("the others to be closed", () => crowd.closed() >= most, { within: SHED_WITHIN });
          assert.equal(crowd.count(refused), 100 - most);
          await until("the log to say it", () => target.logged("connections") >= 100 - most, { every: 200 });
          return tally(crowd.callers.map(({ statuses }) => statuses[0] ?? "closed"));
        } finally {
          crowd.leave();
        }
      });
      attack("bodies that stop", `${COUNT} publications at nginx that send only the first byte`, (target) => besiege([target], BODIES, { silent: true }));
    }
  });
}
