// Pages that are left, shown again, opened often, and that outlive a restart of the server; and what a screen reader finds in them.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import http from "node:http";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { chromium } from "playwright-core";
import { violationsOn } from "../lib/axe.js";
import { FLAGS, executable, tab } from "../lib/browser.js";
import { ask, publish } from "../lib/http.js";
import { ROOT, startService } from "../lib/stack.js";
import { bearer } from "../lib/token.js";
import { until } from "../lib/wait.js";

/** How it shows that a page lives. */
const LIVE = {
  comet: "#lane-stream ol > li:nth-child(2)",
  sse: "#log code",
  chat: '#state[data-state="live"]',
  "": '#sse .state[data-phase="open"]',
  api: "article.operation",
  docs: "#text h2",
  nothing: "h1",
};

describe("pages in one browser", () => {
  let server;
  let browser;
  before(async () => {
    server = await startService("standalone");
    // Pages are kept when they are left, as they are for people.
    browser = await chromium.launch({ executablePath: executable(), args: FLAGS, ignoreDefaultArgs: ["--disable-back-forward-cache"] });
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  async function axe(page, what) {
    assert.deepEqual(await violationsOn(page), [], what);
  }

  for (const [name, lives] of Object.entries(LIVE)) {
    test(`case 13.9: axe finds nothing on /${name}`, async () => {
      for (const locale of ["en-GB", "zh-CN"]) {
        const page = await tab(browser, { locale, bypassCSP: true, colorScheme: locale === "zh-CN" ? "dark" : "light" });
        await page.goto(`${server.base}/${name}`);
        await page.locator(lives).first().waitFor();
        if (name === "") await page.locator("h1", { hasText: locale === "zh-CN" ? "演练场" : "playground" }).waitFor();
        if (name === "chat") await talk(page);
        await axe(page, `${name} in ${locale}`);
        if (name === "sse") {
          await page.locator("#close").click();
          await axe(page, `${name} in ${locale}, closed`);
        }
        await page.context().close();
      }
    });
  }

  /** A message, a second room, and an unread one in the first. */
  async function talk(page) {
    await page.locator("#text").fill("Hello");
    await page.locator("#text").press("Enter");
    await page.locator(".said.mine.sent").first().waitFor();
    await page.locator("#room").fill("tea");
    await page.locator("#room").press("Enter");
    await page.locator("#title", { hasText: "tea" }).waitFor();
    await publish(server.base, "chat.lobby", "from elsewhere", { event: "chat message" });
    await page.locator("#rooms b", { hasText: /^\d+ (unread|条未读)$/ }).waitFor();
  }

  for (const name of ["comet", "sse", "chat", ""]) {
    test(`case 13.5: /${name} resumes from the back/forward cache`, async () => {
      const page = await tab(browser);
      await page.goto(`${server.base}/${name}`);
      await page.locator(LIVE[name]).first().waitFor();
      await page.evaluate(() => {
        window.mark = "the same page";
        addEventListener("pageshow", ({ persisted }) => { window.isPersisted = persisted; });
      });
      await page.goto(`${server.base}/api`);
      await page.goBack({ waitUntil: "commit" });
      assert.deepEqual(await page.evaluate(() => [window.mark, window.isPersisted]), ["the same page", true]);
      await page.locator(LIVE[name]).first().waitFor();
      const count = { comet: "#lane-stream dl div:nth-child(2) dd", sse: "#count-events", "": '#sse [data-show="count"]' }[name];
      if (count) {
        const before = Number(await page.locator(count).first().textContent());
        await until("more", async () => Number(await page.locator(count).first().textContent()) > before);
      } else {
        await publish(server.base, "chat.lobby", "after the way back", { event: "chat message" });
        await page.locator(".said", { hasText: "after the way back" }).waitFor();
      }
      await page.context().close();
    });
  }

  for (const [name, count, shown] of [["", 4, '#sse [data-show="count"]'], ["sse", 7, "#count-events"]]) {
    test(`case 13.4: ${count} tabs of /${name} all receive messages, and leave connections for the page's requests`, async () => {
      const first = await tab(browser);
      const pages = [first];
      while (pages.length < count) pages.push(await first.context().newPage());
      for (const page of pages) await page.goto(`${server.base}/${name}`);
      const lives = (page) => until(`/${name} lives`, async () => Number(await page.locator(shown).textContent()) >= 2, { within: 20_000 });
      for (const page of pages) await lives(page);
      // Two of six connections at most are held: a request of a page is answered while all tabs are open.
      const statuses = await Promise.all(pages.map((page) => page.evaluate(() => fetch("healthz").then(({ status }) => status))));
      assert.deepEqual(statuses, Array(count).fill(200));
      // The one that is connected goes; another takes over.
      while (pages.length > 1) {
        await pages.shift().close();
        const [next] = pages;
        const before = Number(await next.locator(shown).textContent());
        await until("more", async () => Number(await next.locator(shown).textContent()) > before, { within: 20_000 });
        if (pages.length < count - 1) break;
      }
      await pages[0].context().close();
    });
  }

  test("case 13.5: /sse closes its connection while it is hidden, and misses nothing", async () => {
    const page = await tab(browser);
    await page.goto(`${server.base}/sse`);
    await page.locator(LIVE.sse).first().waitFor();
    const hide = (isHidden) => page.evaluate((isHidden) => {
      Object.defineProperty(document, "hidden", { configurable: true, get: () => isHidden });
      document.dispatchEvent(new Event("visibilitychange"));
    }, isHidden);
    await hide(true);
    await page.locator("#state", { hasText: "Closed" }).waitFor();
    const last = Number((await page.locator("#last-id").textContent()).split("-")[0]);
    await until("the clock ticks", async () => Date.now() > last + 2_500);
    await hide(false);
    await page.locator('[data-step="1"][data-now]').waitFor();
    const times = async () => (await page.locator("#log code").allTextContents()).map((id) => Number(id.split("-")[0]));
    await until("caught up", async () => (await times())[0] > last + 2_000);
    const all = await times();
    for (let at = 1; at < all.length; at += 1) assert.ok(all[at - 1] - all[at] < 1_700, `${all[at - 1] - all[at]} ms between two ticks`);
    await page.context().close();
  });

  test("case 13.4: /sse closes its connection after a fatal error, and reconnects if the server was unreachable", async () => {
    const context = await browser.newContext({ locale: "en-GB" });
    let status = 502;
    await context.route(/\/events/, (route) => (status ? route.fulfill({ status, body: "" }) : route.continue()));
    const [page, other] = [await context.newPage(), await context.newPage()];
    for (const one of [page, other]) await one.goto(`${server.base}/sse`);
    await page.locator("#state", { hasText: "The server is unreachable. Trying again." }).waitFor();
    status = 401;
    await page.locator("#state", { hasText: "Closed" }).waitFor();
    await other.locator("#state", { hasText: "Closed" }).waitFor();
    status = 0;
    // Neither has the lock: either can connect.
    for (const one of [page, other]) {
      await one.locator("#fresh:enabled").click();
      await one.locator(LIVE.sse).first().waitFor();
    }
    await context.close();
  });

  test("/comet shows the answer of a single request, and obeys Retry-After once", async () => {
    const page = await tab(browser, { locale: "en-GB" });
    // Long waits end at once, and are written down.
    await page.addInitScript(() => {
      const { setTimeout } = window;
      window.waits = [];
      window.setTimeout = (what, milliseconds) => {
        if (milliseconds < 50_000) return setTimeout(what, milliseconds);
        window.waits.push(milliseconds);
        return setTimeout(what, 0);
      };
    });
    const answers = [{ status: 204, headers: { "Retry-After": "50" } }];
    await page.route(/\/data$/, (route) => {
      const answer = answers.shift();
      return answer ? route.fulfill(answer) : route.continue();
    });
    await page.goto(`${server.base}/comet`);
    await page.locator("#lane-longpoll ol > li").first().waitFor();
    assert.equal((await page.evaluate(() => window.waits)).length, 1);
    await page.locator("#pause-all").click();
    const refused = (status, code, message) => ({ status, contentType: "application/json", body: JSON.stringify({ error: { code, message } }) });
    for (const [answer, text] of [
      [{ status: 204 }, "204: no message"],
      [refused(401, "token_needed", "a token is required"), "The server answered 401: a token is required"],
      [refused(503, "service_unavailable", "no answer"), "The server is unreachable. Try again."],
    ]) {
      answers.push(answer);
      await page.locator("#once:enabled").click();
      await page.locator("#once-out", { hasText: text }).waitFor();
    }
    await page.context().close();
  });

  test("/chat keeps the focus in the list of rooms, and lays messages out once per frame", async () => {
    const page = await tab(browser, { locale: "en-GB" });
    await page.addInitScript(() => {
      const { set, get } = Object.getOwnPropertyDescriptor(Element.prototype, "scrollTop");
      window.scrolls = 0;
      Object.defineProperty(Element.prototype, "scrollTop", {
        get,
        set(value) {
          window.scrolls += 1;
          set.call(this, value);
        },
      });
    });
    await page.goto(`${server.base}/chat`);
    await page.locator(LIVE.chat).waitFor();
    await page.locator("#room").fill("focus");
    await page.locator("#room").press("Enter");
    await page.locator("#title", { hasText: "focus" }).waitFor();
    const lobby = page.locator("#rooms .go", { hasText: "lobby" });
    await lobby.focus();
    const before = await page.evaluate(() => window.scrolls);
    const batch = Array.from({ length: 200 }, (_, n) => JSON.stringify({ channel: "chat.focus", event: "chat message", data: `${n}` }));
    await ask(`${server.base}/events`, { method: "POST", headers: { "Content-Type": "application/x-ndjson", ...bearer() }, body: batch.join("\n") });
    await page.locator(".said", { hasText: "199" }).waitFor();
    await publish(server.base, "chat.lobby", "elsewhere", { event: "chat message" });
    await page.locator("#rooms .go b", { hasText: "1" }).waitFor();
    assert.ok(await lobby.evaluate((button) => button === document.activeElement), "the focus is where it was");
    const scrolls = (await page.evaluate(() => window.scrolls)) - before;
    assert.ok(scrolls < 100, `${scrolls} layouts for 200 messages`);
    await page.context().close();
  });

  test("case 13.6: the page of docs/TUTORIAL.md continues after a restart of the server", async (t) => {
    const own = await startService("standalone");
    let again;
    t.after(async () => {
      await own.stop();
      await again?.stop();
    });
    const [, html] = /```html\n([^]*?)```/.exec(readFileSync(path.join(ROOT, "docs/TUTORIAL.md"), "utf8"));
    const files = http.createServer((_, response) => {
      response.writeHead(200, { "Content-Type": "text/html; charset=utf-8" }).end(html.replaceAll("http://localhost:8080", own.base));
    });
    await new Promise((resolve) => files.listen(0, "127.0.0.1", resolve));
    t.after(() => files.close().closeAllConnections?.());
    const page = await tab(browser);
    await page.goto(`http://127.0.0.1:${files.address().port}/`);
    const number = page.locator("#number");
    await number.filter({ hasText: /^\d/ }).waitFor();
    await own.stop();
    again = await startService("standalone", {}, own.port);
    const before = await number.textContent();
    await until("a new number", async () => (await number.textContent()) !== before, { within: 20_000 });
    await page.context().close();
  });
});
