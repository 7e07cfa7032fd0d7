// examples/run in Chromium: whatever happens to the pages and to the network, each shows the run, word for word.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { Proxy } from "../client/proxy.js";
import { launch, SIZES, tab } from "../lib/browser.js";
import { freePort, start } from "../lib/process.js";
import { ROOT, startService } from "../lib/stack.js";
import { SECRET } from "../lib/token.js";
import { sleep, until } from "../lib/wait.js";

const EXAMPLE = path.join(ROOT, "examples/run");
const TEXT = readFileSync(path.join(EXAMPLE, "words.txt"), "utf8");

describe("a run", () => {
  let [server, proxy, application, browser, base] = [];
  before(async () => {
    const port = await freePort();
    base = `http://localhost:${port}`;
    server = await startService("standalone", { TRIDENT_DEMO: "off", TRIDENT_STREAMS: "runs/*", TRIDENT_ORIGINS: base });
    // Between Trident and everybody, the worker included.
    proxy = await Proxy.start(server.base);
    const env = { ...process.env, TRIDENT_URL: proxy.base, TRIDENT_SECRET: SECRET, PORT: String(port), PAUSE: "80" };
    application = start(process.execPath, [path.join(EXAMPLE, "server.mjs")], env);
    await until("the application", () => application.said().includes(base));
    browser = await launch();
  });
  after(async () => {
    await browser?.close();
    await application?.stop();
    await proxy?.close();
    await server?.stop();
  });

  /** A device of its own that opens `url`, and the requests for streams that it makes. */
  async function device(url, size = "desktop") {
    const page = await tab(browser, SIZES[size]);
    const requests = [];
    page.on("request", (request) => request.method() === "GET" && request.url().includes("/streams/") && requests.push(request));
    await page.goto(url);
    const text = () => page.locator("#text").textContent();
    return {
      page,
      requests,
      text,
      words: (count) => until(`${count} words`, async () => (await text()).split(/\s+/).length > count),
      ended: (how) => until(how, async () => (await page.locator("#state").textContent()) === how, { within: 30_000 }),
      close: () => page.context().close(),
    };
  }

  async function begin() {
    const first = await device(base);
    await first.page.click("#start");
    await first.words(3);
    return first;
  }

  test("is shown completely after a reload, on a second device, and through a network failure", async () => {
    const first = await begin();
    await first.page.reload();
    await first.words(10);
    const second = await device(first.page.url(), "phone");
    await second.words(15);
    const [caughtUp] = second.requests;
    const so_far = (await (await caughtUp.response()).json()).map(({ word }) => word).join("");
    assert.ok(so_far.length > 0 && TEXT.startsWith(so_far), "everything so far is in one answer");
    assert.match((await until("the next request", () => second.requests[1])).url(), /live=sse/);
    await second.page.context().setOffline(true);
    proxy.cut();
    await sleep(400);
    proxy.mend();
    await first.words(40);
    await second.page.context().setOffline(false);
    await second.words(45);
    for (let n = 0; n < 5; n += 1) {
      proxy.breakAll();
      await sleep(150);
    }
    proxy.losesAnswers = true;
    await sleep(150);
    proxy.losesAnswers = false;
    await Promise.all([first.ended("finished"), second.ended("finished")]);
    assert.deepEqual([await first.text(), await second.text()], [TEXT, TEXT]);
    const late = await device(first.page.url());
    await late.ended("finished");
    assert.equal(await late.text(), TEXT);
    assert.equal(late.requests.length, 1, "one request for all of it");
    assert.deepEqual(late.page.complaints, []);
    for (const one of [first, second, late]) await one.close();
  });

  test("is stopped from another device, and both show the same part", async () => {
    const first = await begin();
    const second = await device(first.page.url(), "phone");
    await second.words(3);
    await second.page.click("#stop");
    await Promise.all([first.ended("stopped"), second.ended("stopped")]);
    const text = await first.text();
    assert.ok(text.length < TEXT.length && TEXT.startsWith(text), text);
    assert.equal(await second.text(), text);
    assert.deepEqual([...first.page.complaints, ...second.page.complaints], []);
    for (const one of [first, second]) await one.close();
  });

  test("a page may read and stop its run, and nothing else", async () => {
    const first = await begin();
    const run = new URL(first.page.url()).hash.slice(1);
    const { token, stream, stop } = await (await fetch(`${base}/runs/${run}`)).json();
    const ask = async (method, where) => (await fetch(`${server.base}${where}`, { method, headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" }, body: method === "POST" ? "1" : undefined })).status;
    assert.equal(await ask("GET", `/streams/${stream}`), 200);
    assert.equal(await ask("GET", "/streams/runs/another"), 403);
    assert.equal(await ask("POST", `/streams/${stream}`), 403);
    assert.equal(await ask("DELETE", `/streams/${stream}`), 403);
    assert.equal(await ask("POST", `/events?channel=${stream}`), 403);
    assert.equal(await ask("POST", `/events?channel=${stop}`), 201);
    await first.ended("stopped");
    await first.close();
  });
});
