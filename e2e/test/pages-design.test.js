// What all pages share: one header with links between them, both languages, labels that fit, one primary action a card, the same words
// for a stopped server, and a page where there is nothing.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Proxy } from "../client/proxy.js";
import { SIZES, TAKES_PICTURES, WINDOWS, launch, picture, tab } from "../lib/browser.js";
import { ask } from "../lib/http.js";
import { bands, clipped, english, primaries } from "../lib/layout.js";
import { GATEWAY, STANDALONE, startService, startStack } from "../lib/stack.js";

/** What shows that a page is complete. */
const PAGES = {
  "": "#comet .messages li",
  comet: "#lane-stream ol > li",
  chat: '#state[data-state="live"]',
  sse: "#log code",
  api: "article.operation",
  docs: "#text h2",
  "nothing/here": "h1",
};
const UNREACHABLE = "The server is unreachable. Trying again.";

for (const kind of [STANDALONE, GATEWAY]) describe(`design of the pages: ${kind}`, () => {
  let [stack, browser] = [];
  before(async () => {
    [stack, browser] = await Promise.all([startStack(kind), launch()]);
  });
  after(async () => {
    await browser?.close();
    await stack?.stop();
  });

  async function open(page, name) {
    await page.goto(`${stack.base}/${name}`);
    await page.locator(PAGES[name]).first().waitFor({ timeout: 15_000 });
  }

  test("every page has the same header, whose links lead to all of them", async () => {
    const page = await tab(browser, { locale: "en-GB" });
    const headers = {};
    for (const name of Object.keys(PAGES)) {
      await open(page, name);
      headers[name] = await page.locator(".top a").evaluateAll((all) => all.map(({ href, textContent }) => `${textContent.trim()} ${href}`));
      const current = await page.locator(".top [aria-current]").evaluateAll((all) => all.map(({ href }) => href));
      assert.deepEqual(current, name === "nothing/here" ? [] : [`${stack.base}/${name}`], name);
    }
    for (const [name, header] of Object.entries(headers)) assert.deepEqual(header, headers[""], name);
    assert.deepEqual(headers[""].map((link) => link.split(" ")[0]), ["Trident", "Playground", "Comet", "Socket.IO", "SSE", "API", "Docs"]);
    for (const link of headers[""]) assert.equal((await ask(link.split(" ").at(-1), { headers: { Accept: "text/html" } })).status, 200, link);
    await page.context().close();
  });

  test("a chosen language applies to all pages", async () => {
    const page = await tab(browser, { locale: "en-GB" });
    await open(page, "comet");
    await page.getByRole("button", { name: "中文" }).click();
    for (const name of Object.keys(PAGES)) {
      await open(page, name);
      assert.equal(await page.locator("html").getAttribute("lang"), "zh-CN", name);
      assert.match(await page.title(), /\p{Script=Han}/u, name);
      // The description of the API and the documentation are in English, and the pages say so.
      assert.deepEqual(await english(page, name === "api" ? "code, pre, main :not(h1, h2, h3)" : "code, pre"), [], name);
      if (name === "api" || name === "docs") await page.getByText("英文").first().waitFor();
      await page.getByRole("button", { name: "English" }).click();
      assert.equal(await page.locator("html").getAttribute("lang"), "en", name);
      await page.getByRole("button", { name: "中文" }).click();
    }
    await page.context().close();
  });

  test("an address without a page: a browser gets a page with its links, a program gets the error as JSON", async () => {
    const page = await tab(browser, { locale: "en-GB" });
    for (const name of ["nothing", "nothing/", "a/b/nothing?x=/y"]) {
      const answer = await page.goto(`${stack.base}/${name}`);
      assert.equal(answer.status(), 404, name);
      assert.match(answer.headers()["content-security-policy"], /default-src 'self'/, name);
      await page.getByRole("heading", { name: "There is no page at this address" }).waitFor();
      await page.locator("#language", { hasText: "中文" }).waitFor();
      assert.deepEqual(page.complaints.filter((one) => !/404 \(Not Found\)/.test(one)), [], name);
      await page.getByRole("link", { name: "To the start page" }).click();
      assert.equal(page.url(), `${stack.base}/`);
    }
    await page.context().close();
    for (const headers of [{}, { Accept: "*/*" }, { Accept: "application/json" }]) {
      const answer = await ask(`${stack.base}/nothing`, { headers });
      assert.deepEqual([answer.status, answer.json().error.code], [404, "not_found"]);
    }
  });

  if (kind === GATEWAY) return;

  for (const [size, viewport] of Object.entries(WINDOWS)) {
    test(`labels fit, no band is empty, each card has one primary action: ${size}`, { timeout: 120_000 }, async () => {
      for (const locale of ["en-GB", "zh-CN"]) {
        for (const colorScheme of TAKES_PICTURES ? ["light", "dark"] : ["light"]) {
          const page = await tab(browser, { viewport, locale, colorScheme });
          for (const name of Object.keys(PAGES)) {
            await open(page, name);
            const what = `${name || "playground"} ${locale} ${size}`;
            // Colours change no box.
            if (colorScheme === "light") {
              assert.deepEqual(await clipped(page), [], what);
              assert.deepEqual(await bands(page, ".lane, .lane .body, .board > .card, .operation, main.page > div"), [], what);
              assert.deepEqual(await primaries(page), [], what);
              assert.equal(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth), 0, what);
            }
            await picture(page, `design-${name.split("/")[0] || "playground"}-${size}-${locale}-${colorScheme}`);
          }
          await page.context().close();
        }
      }
    });
  }

  test("lists without messages say what to do", async () => {
    const quiet = await startService("standalone", { TRIDENT_DEMO: "off" });
    const page = await tab(browser, { locale: "en-GB" });
    try {
      for (const [name, texts] of [
        ["comet", ["TRIDENT_DEMO=off", "TRIDENT_DEMO=off", "TRIDENT_DEMO=off"]],
        ["sse", ["TRIDENT_DEMO=off"]],
        ["chat", ["Write the first one below"]],
        ["", ["Write the first one below", "TRIDENT_DEMO=off", "TRIDENT_DEMO=off", "TRIDENT_DEMO=off"]],
      ]) {
        await page.goto(`${quiet.base}/${name}`);
        for (const [at, text] of texts.entries()) await page.locator(".empty").nth(at).filter({ hasText: text, visible: true }).waitFor();
      }
    } finally {
      await page.context().close();
      await quiet.stop();
    }
  });

  test("a stopped server is described in the same words on all pages", { timeout: 90_000 }, async () => {
    const own = await startService("standalone");
    const pages = {};
    try {
      for (const [name, lives] of [["comet", PAGES.comet], ["sse", PAGES.sse], ["chat", PAGES.chat], ["", PAGES[""]]]) {
        pages[name] = await tab(browser, { locale: "en-GB" });
        await pages[name].goto(`${own.base}/${name}`);
        await pages[name].locator(lives).first().waitFor();
      }
      await own.stop();
      for (const [name, places] of [["comet", ".error"], ["sse", "#state"], ["chat", "#trouble"], ["", ".note"]]) {
        const count = await pages[name].locator(places).count();
        for (let at = 0; at < count; at += 1) await pages[name].locator(places).nth(at).filter({ hasText: UNREACHABLE }).waitFor({ timeout: 20_000 });
      }
    } finally {
      for (const page of Object.values(pages)) await page.context().close();
      await own.stop();
    }
  });

  test("the chat page says that WebSocket is blocked, and works by long polling", async () => {
    const proxy = await Proxy.start(stack.base);
    proxy.to.websocket = "refuse";
    const page = await tab(browser, { locale: "en-GB", ...SIZES.desktop });
    try {
      await page.goto(`${proxy.base}/chat`);
      await page.locator("#blocked", { hasText: "WebSocket is blocked between this page and the server. The chat uses long polling instead." }).waitFor();
      await page.locator("#via", { hasText: "over long polling" }).waitFor();
      await page.locator("#text").fill("by long polling");
      await page.locator("#text").press("Enter");
      await page.locator(".said.mine.sent", { hasText: "by long polling" }).waitFor();
      proxy.to.websocket = "pass";
      proxy.breakAll();
      await page.locator("#via", { hasText: "over WebSocket" }).waitFor({ timeout: 30_000 });
      assert.equal(await page.locator("#blocked").textContent(), "");
    } finally {
      await page.context().close();
      await proxy.close();
    }
  });
});
