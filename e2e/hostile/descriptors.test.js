// More connections than a process may hold, from many addresses, so that no limit of an address stops them: standalone's descriptors,
// and nginx's connections, of which a stream takes two.

import assert from "node:assert/strict";
import { ask } from "../lib/http.js";
import { sleep, until } from "../lib/wait.js";
import { Caller, Crowd, address } from "./crowd.js";
import { attacksOn } from "./attack.js";
import { GATEWAY, STANDALONE, computedBy } from "./target.js";

const [DESCRIPTORS, CONNECTIONS, ADDRESSES] = [512, 700, 70];
/** How long the process is without descriptors. */
const HELD = 2_000;
/** The threads that accept. A loop over failing accepts would take all of a core. */
const ACCEPTS = "actix-rt|system";

attacksOn(STANDALONE, (attack) => {
  attack("more connections than descriptors", `${CONNECTIONS} event streams from ${ADDRESSES} addresses at a process with \`ulimit -n ${DESCRIPTORS}\``, async (target) => {
    const [{ pid }] = target.services;
    const before = new Caller(target.port, { say: "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n" });
    await until("somebody to be served before", () => before.statuses.length === 1);
    // Sockets that are idle for a second are closed first, so this one is not.
    const asks = setInterval(() => before.say("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"), 300);
    const crowd = Crowd.call(target.port, CONNECTIONS, (n) => ({ from: address(n % ADDRESSES), say: "GET /events?channel=public.crowd HTTP/1.1\r\nHost: a\r\n\r\n" }));
    try {
      await until("the log to say it", () => /cannot accept connections, they stay in the backlog: .*(os error 24)/.test(target.said()));
      const began = [performance.now(), computedBy(pid, ACCEPTS)];
      await sleep(HELD);
      const busy = (computedBy(pid, ACCEPTS) - began[1]) / (performance.now() - began[0]);
      assert.ok(busy < 0.25, `accepting took ${Math.round(100 * busy)} % of a core`);
      const complaints = target.said().match(/cannot accept connections/g).length;
      assert.ok(complaints < 20, `${complaints} lines in the log`);
      const served = crowd.count(({ statuses }) => statuses[0] === 200);
      assert.ok(served > 0 && served < DESCRIPTORS, `${served} are served`);
      // Whoever was connected before still is, and is told by the figures.
      before.say("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
      await until("the figures", () => /process_max_fds \d+/.test(before.back));
      const figure = (name) => Number(new RegExp(`^${name} (\\d+)$`, "m").exec(before.back)?.[1]);
      assert.equal(figure("process_max_fds"), DESCRIPTORS);
      assert.ok(figure("process_open_fds") > DESCRIPTORS - 10, `${figure("process_open_fds")} descriptors are open`);
      crowd.leave();
      const left = performance.now();
      await until("somebody new to be served", async () => (await ask(`${target.base}/healthz`, { within: 1_000 }).catch(() => ({}))).status === 200);
      return `${served} streams, then ${complaints} lines in the log, \`process_open_fds\` ${figure("process_open_fds")}; ${Math.round(100 * busy)} % of a core to accept; accepts again ${Math.round(performance.now() - left)} ms after they closed`;
    } finally {
      clearInterval(asks);
      before.leave();
      crowd.leave();
    }
    // Who needs a new connection has to wait for one.
  }, { lets: ["SSE", "stream", "WebSocket"] });
}, { descriptors: DESCRIPTORS });

attacksOn(GATEWAY, (attack) => {
  attack("more connections than descriptors", `${CONNECTIONS} event streams from ${ADDRESSES} addresses at an nginx with \`worker_connections ${DESCRIPTORS}\``, async (target) => {
    const crowd = Crowd.call(target.port, CONNECTIONS, (n) => ({ from: address(n % ADDRESSES), say: "GET /events?channel=public.crowd HTTP/1.1\r\nHost: a\r\n\r\n" }));
    try {
      await until("the log to say it", () => target.told().includes("worker_connections are not enough"));
      await sleep(HELD);
      const served = crowd.count(({ statuses, closed, back }) => statuses[0] === 200 && !closed && back.includes("connected"));
      assert.ok(served > 0 && served < DESCRIPTORS / 2, `${served} are served`);
      assert.ok(crowd.closed() > 0, "nobody was turned away");
      crowd.leave();
      const left = performance.now();
      await until("somebody new to be served", async () => (await ask(`${target.base}/data?mode=poll&channel=public.crowd`, { within: 1_000 }).catch(() => ({}))).status === 200);
      return `${served} streams, the others closed; accepts again ${Math.round(performance.now() - left)} ms after they closed`;
    } finally {
      crowd.leave();
    }
  }, { lets: ["SSE", "stream", "WebSocket"] });
}, { descriptors: DESCRIPTORS, publishTo: "comet-svc" });
