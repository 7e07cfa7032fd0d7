// The client library in Chromium, as pages load it: one file, minified, with the official Socket.IO client beside it.

import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import { chromium } from "playwright-core";
import { Stream } from "../../web/client/dist/index.js";
import { executable, FLAGS, launch, tab } from "../lib/browser.js";
import { ONE_LOG, STANDALONE, startGateway, startStack } from "../lib/stack.js";
import { token } from "../lib/token.js";
import { until } from "../lib/wait.js";
import { bufferedEvents, withoutUpgrades } from "./nginx.js";
import { Proxy } from "./proxy.js";
import { head, Writer } from "./writer.js";

let drawn = 0;

describe("client in Chromium", () => {
  let stack;
  let browser;
  let proxy;
  let page;
  before(async () => {
    stack = await startStack(ONE_LOG, { TRIDENT_HISTORY_COUNT: "5000", TRIDENT_KEEPALIVE: "1s" });
    // Pages are kept when they are left, as they are for people.
    browser = await chromium.launch({ executablePath: executable(), args: FLAGS, ignoreDefaultArgs: ["--disable-back-forward-cache"] });
  });
  after(async () => {
    await browser?.close();
    await stack?.stop();
  });
  beforeEach(async () => {
    proxy = await Proxy.start(stack.base);
    page = await tab(browser);
  });
  afterEach(async () => {
    await page.context().close();
    await proxy.close();
  });

  async function begin(query = {}) {
    const channel = `public.page-${process.pid}-${(drawn += 1)}`;
    const since = await head(stack.base, channel);
    await page.goto(`${proxy.base}/page/client.html?${new URLSearchParams({ channel, since, ...query })}`);
    const writer = new Writer(stack.base, channel);
    const count = () => page.evaluate(() => window.ids.length);
    return {
      writer,
      count,
      log: () => page.locator("#log li").allTextContents(),
      shows: (state) => page.waitForFunction((state) => document.getElementById("state").textContent === state, state, { timeout: 30_000 }),
      async all() {
        await writer.arrived(count, 60_000);
        assert.deepEqual(await page.evaluate(() => window.ids), writer.ids);
        assert.deepEqual(await page.evaluate(() => window.gaps), []);
      },
    };
  }

  test("WebSockets blocked, then event streams buffered, then everything cut for 20 s: 1,000 messages once and in order, and the page says what happened", { timeout: 180_000 }, async () => {
    const client = await begin();
    await client.shows("open websocket");
    const writing = client.writer.to(1_000, 350);
    await until("some by WebSocket", async () => (await client.count()) > 50);
    proxy.set("websocket", "refuse");
    await client.shows("open sse");
    const bySse = await client.count();
    await until("some by event stream", async () => (await client.count()) > bySse + 50);
    proxy.set("sse", "hold");
    await client.shows("open stream");
    const byStream = await client.count();
    await until("some by stream", async () => (await client.count()) > byStream + 50);
    proxy.cut();
    await new Promise((resolve) => setTimeout(resolve, 20_000));
    const during = await client.count();
    assert.ok(client.writer.ids.length > during, "and meanwhile others publish");
    proxy.mend();
    await writing;
    await client.all();
    const log = (await client.log()).join("\n");
    for (const said of [
      /open websocket/,
      /connecting sse \(websocket: /,
      /open sse/,
      /connecting stream \(sse: no data within 6 s: a proxy is buffering the connection\)/,
      /open stream/,
      /waiting stream, again in \d+ ms \(stream: /,
      /open \w+ [^\n]*$/,
    ]) assert.match(log, said);
  });

  test("no errors in the console, on each transport in turn", async () => {
    const client = await begin();
    await client.shows("open websocket");
    await client.writer.to(50);
    await client.all();
    assert.deepEqual(page.complaints, []);
    const plain = await begin({ plain: "" });
    await plain.shows("open sse");
    await plain.writer.to(50);
    await plain.all();
    assert.deepEqual(page.complaints, []);
  });

  test("a page that is hidden and shown again resumes where it was", async () => {
    const client = await begin();
    await client.shows("open websocket");
    await client.writer.to(20);
    await client.all();
    await page.evaluate(() => { window.mark = "the same page"; });
    await page.goto(`${proxy.base}/healthz`);
    await client.writer.to(40);
    await page.goBack({ waitUntil: "commit" });
    assert.equal(await page.evaluate(() => window.mark), "the same page", "it was kept, since it held no connection");
    await client.all();
    const log = (await client.log()).join("\n");
    assert.match(log, /hidden websocket \(the page is hidden\)\nconnecting websocket \(the page is shown again\)/);
  });

  test("a device that loses its network reconnects when the network is available", async () => {
    const client = await begin({ plain: "" });
    await client.shows("open sse");
    await client.writer.to(20);
    await client.all();
    await page.context().setOffline(true);
    proxy.cut();
    await client.shows("waiting sse");
    await client.writer.to(40);
    proxy.mend();
    const asked = proxy.count.sse;
    await page.context().setOffline(false);
    await client.all();
    assert.equal(proxy.count.sse, asked + 1);
    assert.match((await client.log()).join("\n"), /waiting sse, again in \d+ ms[^\n]*\nconnecting sse \(the network is available again\)/);
  });

  test("the end of a stream: an EventSource gets 204 and stops", async () => {
    const channel = `public.stream-${process.pid}-${(drawn += 1)}`;
    const stream = new Stream(channel, { url: stack.base, token: token() });
    await stream.create();
    await page.goto(`${proxy.base}/page/client.html?plain&channel=public.nothing`);
    await page.evaluate((channel) => {
      const source = new EventSource(`/events?channel=${channel}`);
      const seen = { opened: 0, ends: [] };
      source.onopen = () => (seen.opened += 1);
      source.addEventListener("end", ({ data }) => seen.ends.push(JSON.parse(data).reason));
      window.stopped = new Promise((resolve) => {
        source.onerror = () => source.readyState === EventSource.CLOSED && resolve(seen);
      });
      return new Promise((resolve) => source.addEventListener("open", resolve, { once: true }));
    }, channel);
    await stream.close();
    assert.deepEqual(await page.evaluate(() => window.stopped), { opened: 1, ends: ["closed"] });
    assert.deepEqual(page.complaints, []);
  });

  test("a page of another origin may read as well", async () => {
    const channel = `public.page-${process.pid}-${(drawn += 1)}`;
    const since = await head(stack.base, channel);
    const writer = new Writer(stack.base, channel);
    await writer.to(10);
    await page.goto(`${proxy.base}/page/client.html?channel=public.nothing`);
    for (const transport of ["websocket", "ws", "sse", "stream", "longpoll"]) {
      const { read, told } = await page.evaluate(async ({ url, channel, since, transport }) => {
        const { connect } = await import("/dist/trident-client.min.js");
        const { socketio } = await import("/dist/trident-client-socketio.min.js");
        const [read, told] = [[], []];
        const signal = AbortSignal.timeout(30_000);
        const connection = connect({ url, channels: [channel], since, transports: [transport], websocket: socketio(window.io), signal });
        connection.on("state", ({ phase, message }) => told.push(`${phase} ${message}`));
        for await (const { id } of connection) if (read.push(id) === 10) break;
        return { read, told };
      }, { url: stack.base, channel, since, transport });
      assert.deepEqual(read, writer.ids, `${transport}: ${told.join("; ")}`);
    }
    assert.deepEqual(page.complaints, []);
  });
});

// The same by nginx itself, as somebody changes its configuration under a page that is open, and then takes it away.
test("nginx that refuses WebSockets, then buffers event streams, then is gone for 20 s: 1,000 messages once and in order, and the page says what happened", { timeout: 180_000 }, async (t) => {
  const stack = await startStack(STANDALONE, { TRIDENT_HISTORY_COUNT: "5000", TRIDENT_KEEPALIVE: "1s" });
  t.after(() => stack.stop());
  const services = { comet: stack.port, chat: stack.port, sse: stack.port };
  let spoil = (text) => text;
  let gateway = await startGateway(services, (text) => spoil(text));
  t.after(() => gateway.stop());
  // It brings the page along, and changes nothing.
  const proxy = await Proxy.start(gateway.base);
  t.after(() => proxy.close());
  const browser = await launch();
  t.after(() => browser.close());
  const page = await tab(browser);
  const channel = `public.nginx-page-${process.pid}`;
  await page.goto(`${proxy.base}/page/client.html?${new URLSearchParams({ channel, since: await head(stack.base, channel) })}`);
  const count = () => page.evaluate(() => window.ids.length);
  const shows = (state) => page.waitForFunction((state) => document.getElementById("state").textContent === state, state, { timeout: 30_000 });
  const some = async (how) => {
    const from = await count();
    await until(`some by ${how}`, async () => (await count()) > from + 50);
  };
  const reload = async (change) => {
    spoil = change;
    await gateway.serve(services);
    proxy.breakAll();
  };
  await shows("open websocket");
  const writer = new Writer(stack.base, channel);
  const writing = writer.to(1_000, 350);
  await some("WebSocket");
  await reload(withoutUpgrades);
  await shows("open sse");
  await some("event stream");
  await reload((text) => bufferedEvents(withoutUpgrades(text)));
  await shows("open stream");
  await some("stream");
  await gateway.stop();
  const [before, published] = [await count(), writer.ids.length];
  await new Promise((resolve) => setTimeout(resolve, 20_000));
  assert.ok((await count()) <= before + 10 && writer.ids.length > published, "nothing comes, and meanwhile others publish");
  gateway = await startGateway(services, (text) => spoil(text));
  proxy.target = new URL(gateway.base);
  await writing;
  await writer.arrived(count, 60_000);
  assert.deepEqual(await page.evaluate(() => window.ids), writer.ids);
  assert.deepEqual(await page.evaluate(() => window.gaps), []);
  const log = (await page.locator("#log li").allTextContents()).join("\n");
  for (const said of [/connecting sse \(websocket: /, /connecting stream \(sse: no data within 6 s: a proxy is buffering the connection\)/, /waiting stream, again in \d+ ms \(stream: /]) assert.match(log, said);
});
