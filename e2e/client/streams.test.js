// Streams of the client library behind a proxy that spoils everything: what is appended is read once and in order, to the end.

import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import { Stream } from "../../web/client/dist/index.js";
import { startService } from "../lib/stack.js";
import { token } from "../lib/token.js";
import { sleep, until } from "../lib/wait.js";
import { Proxy } from "./proxy.js";

/** Seconds instead of minutes. */
const TIMING = { open: 1_000, silence: 2_500, backoff: 50, backoffMost: 500, avoid: 3_600_000 };
let drawn = 0;

describe("streams behind a bad proxy", () => {
  let server;
  let proxy;
  let stop;
  before(async () => {
    server = await startService("standalone", { TRIDENT_DEMO: "off", TRIDENT_KEEPALIVE: "500ms" });
  });
  after(() => server?.stop());
  beforeEach(async () => {
    proxy = await Proxy.start(server.base);
    stop = new AbortController();
  });
  afterEach(async () => {
    stop.abort();
    await proxy.close();
  });

  /** A new stream that is read, and what was. */
  async function begin(options = {}) {
    const name = `runs/${process.pid}-${(drawn += 1)}`;
    const open = (base) => new Stream(name, { url: base, token: token(), timing: TIMING, signal: stop.signal, ...options });
    const [writer, direct] = [open(proxy.base), open(server.base)];
    await direct.create();
    const read = [];
    const reading = (async () => {
      for await (const { items } of open(proxy.base).read()) read.push(...items);
    })();
    reading.catch(() => {});
    return { name, open, writer, direct, read, reading };
  }

  const count = (n) => Array.from({ length: n }, (_, at) => at);
  /** Appends the numbers below `n`, some every few milliseconds. */
  async function write(stream, n) {
    for (const at of count(n)) {
      await stream.append(at);
      if (at % 10 === 9) await sleep(10);
    }
  }

  test("everything is cut again and again, and answers are lost: 2,000 messages once and in order", async () => {
    const { writer, read, reading, direct } = await begin({ timing: { ...TIMING, avoid: 100 } });
    const writing = write(writer, 2_000).then(() => writer.close());
    for (let round = 0; round < 12; round += 1) {
      await sleep(120);
      if (round % 3 === 2) {
        proxy.losesAnswers = true;
        await sleep(60);
        proxy.losesAnswers = false;
      } else if (round % 3 === 1) proxy.breakAll();
      else {
        proxy.cut();
        await sleep(60);
        proxy.mend();
      }
    }
    const end = await writing;
    await reading;
    assert.deepEqual(read, count(2_000));
    const { offset, isClosed } = await direct.head();
    assert.deepEqual([offset, isClosed], [end, true]);
    assert.ok(proxy.count.live > 1, `${proxy.count.live} event streams`);
  });

  for (const spoil of ["refuse", "hold", "holdBody"]) {
    test(`event streams that a proxy spoils (${spoil}): long polls take their place`, async () => {
      proxy.to.live = spoil;
      const { writer, read, reading } = await begin();
      await until("the event stream was tried", () => proxy.count.live > 0);
      await write(writer, 300);
      await writer.close();
      await reading;
      assert.deepEqual(read, count(300));
      assert.equal(proxy.count.live, 1);
    });
  }

  test("a hanging request is aborted and repeated", async () => {
    const { writer, direct, read, reading } = await begin();
    await write(writer, 20);
    await until("read", () => read.length === 20);
    proxy.isFrozen = true;
    await write(direct, 20);
    await direct.flush();
    await until("silence is noticed", () => proxy.count.live > 1, { within: 15_000 });
    proxy.mend();
    proxy.breakAll();
    await direct.close();
    await reading;
    assert.deepEqual(read, [...count(20), ...count(20)]);
  });

  test("a text is read as it was appended, from any offset", async () => {
    const { writer, open, read, reading } = await begin({ contentType: "text/plain; charset=utf-8" });
    const text = Array.from({ length: 200 }, (_, n) => `${n} 你好\r\n😀\r`).join("");
    // Each time one half of a pair: what a tokenizer may give.
    for (const unit of text.split("")) await writer.append(unit);
    proxy.breakAll();
    await writer.close();
    await reading;
    assert.equal(read.join(""), text);
    const offsets = [];
    for await (const { offset } of open(server.base).read({ live: false })) offsets.push(offset);
    for await (const { items } of open(server.base).read({ offset: offsets.at(-1) })) assert.fail(`${items}`);
  });

  test("late readers get everything in one request, and end with the others; deletion is an error", async () => {
    const { writer, direct, open, read, reading } = await begin();
    await write(writer, 1_000);
    await writer.flush();
    await until("read", () => read.length === 1_000);
    const late = open(proxy.base).read();
    assert.equal((await late.next()).value.items.length, 1_000);
    const next = late.next();
    await direct.append("tail");
    await direct.flush();
    assert.deepEqual((await next).value.items, ["tail"]);
    const deleted = late.next();
    assert.equal(await direct.delete(), true);
    await assert.rejects(deleted, { code: "stream_not_found" });
    await assert.rejects(reading, { code: "stream_not_found" });
  });

  test("a new worker fences off the previous one", async () => {
    const { open, reading, read } = await begin();
    const worker = (epoch) => new Stream(new URL(open(server.base).url).pathname.slice("/streams/".length), { url: server.base, token: token(), producer: { id: "worker", epoch } });
    const [old, successor, careless] = [worker(1), worker(2), worker(2)];
    await old.append("old");
    await old.flush();
    await successor.append("new");
    await successor.flush();
    await old.append("late");
    await assert.rejects(old.flush(), { code: "stale_epoch" });
    await careless.append("lost");
    await assert.rejects(careless.flush(), { code: "epoch_reused" });
    await successor.close();
    await reading;
    assert.deepEqual(read, ["old", "new"]);
  });

  test("the server's rejections have their codes", async () => {
    const { name, direct, reading } = await begin();
    const as = (claims, more = {}) => new Stream(name, { url: server.base, token: token(claims), ...more });
    const reader = as({ trident: { subscribe: ["*"] } });
    await reader.append(1);
    await assert.rejects(reader.flush(), { why: "refused", code: "insufficient_scope" });
    await assert.rejects(as({ trident: { publish: ["*"] } }).read().next(), { why: "refused", code: "insufficient_scope" });
    await assert.rejects(as({}, { contentType: "text/plain" }).create(), { code: "stream_exists", status: 409 });
    const text = as({}, { contentType: "text/plain" });
    await text.append("x");
    await assert.rejects(text.flush(), { code: "stream_content_type" });
    await direct.close();
    await reading;
    const late = as({});
    await late.append(1);
    await assert.rejects(late.flush(), { code: "stream_closed" });
    await assert.rejects(as({}).read({ offset: "tomorrow" }).next(), { code: "bad_offset" });
  });
});
