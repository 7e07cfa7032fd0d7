// The redis-server that the other files stand on does what its words say.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { startRedis } from "../lib/redis.js";

describe("a redis-server of a test's own", { timeout: 60_000 }, () => {
  let redis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis?.close());

  test("keeps its data over a stop and over kill -9", async () => {
    assert.match(await redis.ask("XADD", "kept", "5-0", "field", "Wert 🌊"), /^\$3$/);
    await redis.stop();
    assert.equal(redis.alive(), false);
    await assert.rejects(redis.ask("PING"));
    await redis.start();
    assert.equal(await redis.ask("XLEN", "kept"), ":1");
    await redis.ask("XADD", "kept", "6-0", "field", "value");
    await redis.kill();
    await redis.start();
    assert.equal(await redis.ask("XLEN", "kept"), ":2");
  });

  test("does not answer while it is frozen, and answers everything afterwards", async () => {
    redis.freeze();
    const late = redis.ask("XLEN", "kept");
    assert.equal(await Promise.race([late, new Promise((resolve) => setTimeout(resolve, 300, "nothing"))]), "nothing");
    redis.thaw();
    assert.equal(await late, ":2");
  });

  test("deletes its data on request, and refuses to while it runs", async () => {
    assert.throws(() => redis.forget(), /runs/);
    await redis.kill();
    redis.forget();
    await redis.start();
    assert.equal(await redis.ask("EXISTS", "kept"), ":0");
  });
});
