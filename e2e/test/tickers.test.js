// The demo channels with several replicas: one ticks, whoever it is, and another one takes over when that is killed.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { openEvents } from "../lib/http.js";
import { startRedis } from "../lib/redis.js";
import { startService } from "../lib/stack.js";
import { until } from "../lib/wait.js";

for (const [channel, service] of [["random", "comet-svc"], ["time", "sse-svc"]]) {
  describe(`${channel}, ticked by one of three ${service}`, () => {
    const running = [];
    let redis;
    const start = async (name, settings = {}) => {
      const one = await startService(name, { TRIDENT_BUS: redis.url, ...settings });
      running.push(one);
      return one;
    };
    before(async () => {
      redis = await startRedis();
    });
    after(async () => {
      for (const one of running) await one.stop();
      await redis?.close();
    });

    test("one replica ticks at a time, and another takes over within three seconds", { timeout: 60_000 }, async () => {
      const reader = await start("standalone", { TRIDENT_DEMO: "off" });
      const stream = await openEvents(`${reader.base}/events?channel=${channel}`);
      const ticks = () => stream.items.filter((item) => item.id && item.data).map((item) => Number(item.id.split("-")[0]));
      const more = (count) => {
        const goal = ticks().length + count;
        return until(`${count} ticks of ${channel}`, () => ticks().length >= goal, { within: 20_000 });
      };
      /** Who has the lease to tick. */
      const holder = () => until("somebody to have the lease", () => redis.whole("EVAL", "return redis.call('GET', KEYS[1]) or ''", "1", `{trident:log}:lease:${channel}`));
      // Alone, it is the one who ticks; those who come later wait for their turn.
      const first = await start(service);
      await more(2);
      const alone = await holder();
      const others = await Promise.all([start(service), start(service)]);
      await more(4);
      // Without processor time for half a second, it has lost the lease to one of the others.
      const before = await holder();
      await Promise.all((before === alone ? [first] : others).map((one) => one.stop("SIGKILL")));
      await more(5);
      assert.notEqual(await holder(), before, "another one ticks");
      await stream.close();

      const apart = ticks().slice(1).map((at, index) => at - ticks()[index]);
      assert.ok(Math.min(...apart) > 700, `two in one second: ${apart.join(", ")}`);
      assert.ok(Math.max(...apart) <= 3_000, `too long without: ${apart.join(", ")}`);
    });
  });
}
