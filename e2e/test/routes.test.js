// Every route, by itself and behind the gateway.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { checkRoutes } from "../checks/routes.js";
import { ask, openEvents } from "../lib/http.js";
import { GATEWAY, STANDALONE, startStack } from "../lib/stack.js";

for (const kind of [STANDALONE, GATEWAY]) {
  describe(`routes: ${kind}`, () => {
    let stack;
    before(async () => {
      stack = await startStack(kind);
    });
    after(() => stack?.stop());
    const get = (path, headers = {}) => ask(stack.base + path, { headers });

    checkRoutes(() => stack);

    test("case 13.1: an EventSource of / gets the clock, a browser the page", async () => {
      const stream = await openEvents(`${stack.base}/`);
      assert.equal(stream.headers["content-type"], "text/event-stream;charset=utf-8");
      assert.match((await stream.next((item) => item.data)).data, /^时间:\d{1,2}$/);
      await stream.close();
      assert.match((await get("/", { Accept: "text/html,*/*;q=0.8" })).headers["content-type"], /^text\/html/);
    });

    if (kind === GATEWAY) {
      test("the gateway has a /healthz of its own and keeps /metrics and /readyz to itself", async () => {
        assert.equal((await get("/healthz")).status, 200);
        for (const path of ["/metrics", "/readyz", "/data/metrics", "/errors/for-readers"]) assert.equal((await get(path)).status, 404, path);
        for (const service of Object.values(stack.services)) {
          assert.equal((await ask(`${service.base}/readyz`)).status, 200, service.name);
          assert.match((await ask(`${service.base}/metrics`)).body, /^# (HELP|TYPE)/m, service.name);
        }
      });

      test("each service serves its page at /", async () => {
        for (const [name, page] of [["comet-svc", "/comet"], ["chat-svc", "/chat"], ["sse-svc", "/sse"]]) {
          const { base } = stack.services[name];
          assert.equal((await ask(`${base}/`)).body, (await ask(base + page)).body, name);
        }
      });
    } else {
      test("health, readiness and metrics", async () => {
        assert.equal((await get("/healthz")).status, 200);
        assert.equal((await get("/readyz")).status, 200);
        assert.match((await get("/metrics")).body, /^# (HELP|TYPE)/m);
      });
    }
  });
}
