// The page for administration in Chromium: what it shows and does, that text stays text, and that nobody frames it.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, afterEach, before, describe, test } from "node:test";
import { io } from "socket.io-client";
import { violationsOn } from "../lib/axe.js";
import { SIZES, TAKES_PICTURES, launch, picture, tab } from "../lib/browser.js";
import { ask, publish } from "../lib/http.js";
import { clipped, english, primaries } from "../lib/layout.js";
import { freePort } from "../lib/process.js";
import { startService } from "../lib/stack.js";
import { token } from "../lib/token.js";
import { until } from "../lib/wait.js";

const MARKUP = `<img src=x onerror="document.title='run'"><script>document.title='run'</script>`;
const key = (right) => token({ trident: { api: [right] } });

describe("admin page", () => {
  let [server, browser, page] = [];
  const sockets = [];
  before(async () => {
    // An application that never answers well.
    const port = await freePort();
    const hooks = { TRIDENT_EVENTS: "all", TRIDENT_HOOK_URL: `http://127.0.0.1:${port}/`, TRIDENT_HOOK_SECRET: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" };
    [server, browser] = await Promise.all([startService("standalone", { TRIDENT_DEMO: "off", ...hooks }), launch()]);
  });
  afterEach(async () => {
    await page?.context().close();
    for (const socket of sockets.splice(0)) socket.disconnect();
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  /** Opens the page at a section, and signs in. */
  async function visit(hash = "", { right = "write", ...options } = SIZES.desktop) {
    page = await tab(browser, { locale: "en-GB", ...options });
    await page.goto(`${server.base}/admin${hash}`);
    await page.getByLabel("Token", { exact: true }).fill(key(right));
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.locator("#sign-out").waitFor();
  }
  const shows = (selector, text) => page.locator(selector).filter({ hasText: text }).first().waitFor({ timeout: 15_000 });
  const go = (name) => page.locator("#sections").getByRole("link", { name }).click();

  /** A Socket.IO client of `sub` that reads `channel`. */
  async function reader(sub, channel) {
    const socket = io(server.base, { forceNew: true, transports: ["websocket"], auth: { token: token({ sub }) }, reconnection: false });
    sockets.push(socket);
    await new Promise((resolve, reject) => socket.once("connect", resolve).once("connect_error", reject));
    assert.equal((await socket.emitWithAck("subscribe", { channels: [channel] })).ok, true);
    return socket;
  }

  test("a token is needed, and only one for the API; it is not in the address, and ends with the tab", async () => {
    page = await tab(browser, { locale: "en-GB", ...SIZES.desktop });
    await page.goto(`${server.base}/admin#channels`);
    for (const [given, problem] of [["x", "The token is invalid"], [token(), "needs the claim trident.api"]]) {
      await page.getByLabel("Token", { exact: true }).fill(given);
      await page.getByRole("button", { name: "Sign in" }).click();
      await shows("#problem", problem);
      assert.ok(await page.locator("#sections").isHidden());
    }
    page.complaints.splice(0);
    await page.getByLabel("Token", { exact: true }).fill(key("read"));
    await page.getByLabel("Token", { exact: true }).press("Enter");
    await page.locator("#channels-search").waitFor();
    assert.ok(!page.url().includes("eyJ"));
    assert.equal(await page.evaluate(() => localStorage.length), 0);
    await go("Users");
    await page.getByText("This token may only read").waitFor();
    assert.ok(await page.locator("#revoke [type=submit]").isHidden(), "with the right to read only");
    await page.reload();
    await page.locator("#users-title").waitFor();
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByLabel("Token", { exact: true }).waitFor();
    assert.equal(await page.evaluate(() => sessionStorage.length), 0);
    assert.deepEqual(page.complaints, []);
  });

  test("processes, refusals and failing webhooks are shown", async () => {
    await visit();
    await shows("#processes", "standalone");
    await shows("#processes .pill", "ready");
    assert.equal((await ask(`${server.base}/events?channel=private`, { headers: { Authorization: "Bearer x" } })).status, 401);
    await shows("#refusals tr", "bad_token");
    // An event to be delivered.
    await reader("eve", "public.hooks");
    await shows("#hooks .pill", "failing");
    await shows("#hooks", "connect");
    assert.match(await page.locator("#memory-summary").textContent(), /\d MiB/);
    assert.ok(await page.locator("#rates canvas").isVisible());
    assert.deepEqual(page.complaints, []);
  });

  test("a channel is found, followed, read in both directions, published to, and purged", async () => {
    const ids = [];
    for (let n = 0; n < 230; n += 1) ids.push(await publish(server.base, "public.long/1", n));
    await visit("#channels");
    await publish(server.base, "public.other", 1);
    await page.getByLabel("Name begins with").fill("public.long");
    await page.getByLabel("Name begins with").press("Enter");
    await page.waitForFunction(() => document.querySelectorAll("#channels-table tbody tr").length === 1);
    await page.getByRole("link", { name: "public.long/1" }).click();
    const lines = () => page.locator("#messages .id").allTextContents();
    const holds = (count) => page.waitForFunction((count) => document.querySelectorAll("#messages li").length === count, count);
    await holds(100);
    await shows("#tail-state", "live");
    assert.deepEqual(await lines(), ids.slice(-100).reverse());
    ids.push(await publish(server.base, "public.long/1", { deep: { tea: "茶" } }));
    await holds(101);
    await page.getByRole("button", { name: "Older" }).click();
    await holds(201);
    await page.getByRole("button", { name: "Older" }).click();
    await shows("#messages-note", "the oldest stored message");
    assert.deepEqual(await lines(), ids.toReversed());
    await page.getByRole("button", { name: "Oldest" }).click();
    await holds(100);
    await shows("#tail-state", "history");
    for (const count of [200, 231]) {
      await page.getByRole("button", { name: "Newer" }).click();
      await holds(count);
    }
    assert.deepEqual(await lines(), ids.toReversed());
    await page.locator("#messages").focus();
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("Enter");
    assert.match(await page.locator("#message-json").textContent(), /"deep": \{\s+"tea": "茶"/);
    await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
    await page.getByRole("button", { name: "Copy" }).click();
    await shows("#message-copy", "Copied");
    assert.equal(JSON.parse(await page.evaluate(() => navigator.clipboard.readText())).id, ids.at(-1));
    await page.keyboard.press("Escape");
    await page.getByRole("button", { name: "Live" }).click();
    await shows("#tail-state", "live");
    await page.getByLabel("Data, as JSON").fill("{bad");
    await page.getByRole("button", { name: "Publish" }).click();
    await shows("#published.bad", "not valid JSON");
    // As it was typed: JavaScript would write the number in another way.
    const typed = '{"from":"the page", "at": 1.0}';
    await page.getByLabel("Data, as JSON").fill(typed);
    const posted = page.waitForRequest((request) => request.method() === "POST");
    await page.getByRole("button", { name: "Publish" }).click();
    assert.equal((await posted).postData(), typed);
    await shows("#published", "Published as");
    await shows("#messages .data", '{"from":"the page","at":1}');
    await page.getByRole("button", { name: "Purge" }).click();
    await page.getByRole("button", { name: "Cancel" }).click();
    assert.notEqual((await lines()).length, 0);
    await page.getByRole("button", { name: "Purge" }).click();
    await page.getByRole("button", { name: "Continue" }).click();
    await shows("#purged", "are removed");
    await holds(0);
    assert.deepEqual(page.complaints, []);
  });

  test("a token that may only read is offered nothing that writes", async () => {
    await reader("rita", "public.readonly");
    await visit("#channel/public.readonly", { ...SIZES.desktop, right: "read" });
    await shows("#present tr", "rita");
    for (const name of ["Publish", "Purge"]) assert.equal(await page.getByRole("button", { name }).count(), 0, name);
    await go("Connections");
    await shows("#connections-table td", "rita");
    assert.equal(await page.getByRole("button", { name: "Disconnect" }).count(), 0);
    assert.equal(await page.getByRole("columnheader", { name: "Action" }).count(), 0);
    assert.deepEqual(page.complaints, []);
  });

  test("a question is closed when something else is shown, and what it is about stays", async () => {
    for (const name of ["public.first", "public.second"]) await publish(server.base, name, name);
    await visit("#channel/public.first");
    await shows("#messages .data", "public.first");
    await page.evaluate(() => { location.hash = "#channel/public.second"; });
    await shows("#messages .data", "public.second");
    await page.getByRole("button", { name: "Purge" }).click();
    await shows("#confirm-text", "public.second");
    await page.goBack();
    await shows("#messages .data", "public.first");
    await page.locator("#confirm").waitFor({ state: "hidden" });
    const stored = async (name) => (await ask(`${server.base}/v1/channels/${name}`, { headers: { Authorization: `Bearer ${key("read")}` } })).json().messages;
    for (const name of ["public.first", "public.second"]) assert.equal(await stored(name), 1, name);
    // The next question is about what is shown now.
    await page.getByRole("button", { name: "Purge" }).click();
    await page.getByRole("button", { name: "Continue" }).click();
    await until("the purge", async () => (await stored("public.first")) === 0);
    assert.equal(await stored("public.second"), 1);
    assert.deepEqual(page.complaints, []);
  });

  test("a channel without a valid name shows nothing of the one before", async () => {
    await reader("vera", "public.valid");
    await publish(server.base, "public.valid", 1);
    await visit("#channel/public.valid");
    await shows("#present-count", "Users: 1");
    await page.evaluate(() => { location.hash = "#channel/a b"; });
    await shows("#problem", "A channel's name is");
    await shows("#tail-state", "closed");
    for (const place of ["#channel-facts", "#present-count", "#messages"]) assert.equal(await page.locator(place).textContent(), "", place);
    await page.locator("#present tbody tr").first().waitFor({ state: "detached" });
  });

  test("the page counts itself as a reader as soon as it follows the channel", async () => {
    await visit();
    // Without the refresh that happens every five seconds.
    await page.addInitScript(() => {
      const { setTimeout } = window;
      window.setTimeout = (act, ms, ...rest) => (ms === 5_000 ? 0 : setTimeout(act, ms, ...rest));
    });
    await page.goto(`${server.base}/admin#channel/public.alone`);
    await page.reload();
    await shows("#channel-facts div", "Readersstream 1");
    await shows("#present-count", /(Users: 1|without a user: 1)\b/);
  });

  test("users and connections are shown, disconnected and revoked", async () => {
    const gone = (socket) => new Promise((resolve) => socket.once("disconnect", resolve));
    const [ann, bob, cat] = [await reader("ann", "public.room"), await reader("bob", "public.room"), await reader("cat", "public.room")];
    await visit("#channel/public.room");
    for (const user of ["ann", "bob", "cat"]) await shows("#present tr", user);
    await page.locator("#present").getByRole("link", { name: "ann" }).click();
    await page.waitForFunction(() => document.querySelectorAll("#connections-table tbody tr").length === 1);
    await shows("#connections-table tr", ann.id);
    const ended = gone(ann);
    await page.getByRole("button", { name: `Disconnect ${ann.id}` }).click();
    await page.getByRole("button", { name: "Continue" }).click();
    await shows("#connections-outcome", "Connections ended: 1");
    assert.equal(await ended, "io server disconnect");
    await go("Users");
    for (const [form, field, user, socket] of [["#end", "#end-user", "bob", bob], ["#revoke", "#revoke-value", "cat", cat]]) {
      const ended = gone(socket);
      await page.locator(field).fill(user);
      await page.locator(`${form} [type=submit]`).click();
      await page.getByRole("button", { name: "Continue" }).click();
      await shows(`${form} output`, "Connections ended: 1");
      await ended;
    }
    assert.deepEqual(page.complaints, []);
  });

  /** Answers requests for `path` as `answer` says, and refreshes what is shown. */
  const fake = (path, answer) => page.route(`**/v1/${path}`, async (route) => answer(route, () => route.fetch().then((response) => response.json())));
  const refresh = () => page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));

  test("refusals of a process that was silent for a while are counted once", async () => {
    await visit();
    let isSilent = false;
    let refusals = { bad_token: 5 };
    await fake("stats", async (route, real) => {
      const stats = await real();
      await route.fulfill({ json: isSilent ? { processes: [], incomplete: ["standalone"] } : { processes: stats.processes.map((one) => ({ ...one, refusals })) } });
    });
    await page.reload();
    const counts = () => page.locator("#refusals tbody td").allTextContents();
    await until("the counts", async () => (await counts()).join() === "bad_token,0,5");
    isSilent = true;
    await refresh();
    await shows("#overview-incomplete", "standalone");
    [isSilent, refusals] = [false, { bad_token: 7, body: 1 }];
    await refresh();
    await until("the counts", async () => (await counts()).join() === "bad_token,2,7,body,1,1");
  });

  test("a name that would change the path is not sent", async () => {
    await visit("#users");
    const sent = [];
    page.on("request", (request) => request.method() === "DELETE" && sent.push(request.url()));
    for (const user of [".", ".."]) {
      await page.locator("#end-user").fill(user);
      await page.locator("#end [type=submit]").click();
      await page.getByRole("button", { name: "Continue" }).click();
      await shows("#end output", "cannot be part of an address");
    }
    assert.deepEqual(sent, []);
  });

  test("a refresh during the request for the next page does not remove that page", async () => {
    const rows = (from) => Array.from({ length: 100 }, (_, n) => ({ id: `c${from + n}`, transport: "sse", channels: ["a"], since: Date.now(), address: "127.0.0.1" }));
    await visit();
    const held = [];
    await fake("connections*", async (route) => {
      const url = new URL(route.request().url());
      if (held.isHolding) await new Promise((resolve) => held.push({ resolve, isNext: url.searchParams.has("after") }));
      await route.fulfill({ json: url.searchParams.has("after") ? { connections: rows(100) } : { connections: rows(0), next: "c99" } });
    });
    await page.evaluate(() => { location.hash = "#connections"; });
    const count = () => page.locator("#connections-table tbody tr").count();
    await until("the first page", async () => (await count()) === 100);
    held.isHolding = true;
    await page.getByRole("button", { name: "More" }).click();
    await until("the request", () => held.some(({ isNext }) => isNext));
    await refresh();
    held.isHolding = false;
    held.find(({ isNext }) => isNext).resolve();
    await until("both pages", async () => (await count()) === 200);
    for (const { resolve } of held) resolve();
    await page.evaluate(() => new Promise((resolve) => { setTimeout(resolve, 100); }));
    assert.equal(await count(), 200);
  });

  test("a new message during the request for older ones leaves no hole", async () => {
    const ids = [];
    for (let n = 0; n < 7; n += 1) {
      const lines = Array.from({ length: 100 }, (_, m) => JSON.stringify({ channel: "public.hole", data: n * 100 + m })).join("\n");
      const headers = { Authorization: `Bearer ${token({ trident: { publish: ["*"] } })}`, "Content-Type": "application/x-ndjson" };
      ids.push(...(await ask(`${server.base}/events`, { method: "POST", headers, body: lines })).json().ids);
    }
    await visit("#channel/public.hole");
    const lines = () => page.locator("#messages .id").allTextContents();
    for (const count of [100, 200, 300, 400, 500]) {
      await until("the page", async () => (await lines()).length === count);
      if (count < 500) await page.getByRole("button", { name: "Older" }).click();
    }
    await shows("#tail-state", "live");
    let release;
    await page.route("**/messages?*before*", async (route) => {
      if (!release) await new Promise((resolve) => { release = resolve; });
      await route.continue();
    });
    await page.getByRole("button", { name: "Older" }).click();
    await until("the request", () => release);
    ids.push(await publish(server.base, "public.hole", "new"));
    await until("the new message", async () => (await lines())[0] === ids.at(-1));
    release();
    await shows("#tail-state", "history");
    const shown = (await lines()).toReversed();
    assert.deepEqual(shown, ids.slice(ids.indexOf(shown[0])).slice(0, shown.length));
  });

  test("a question is closed when the token is not accepted any more", async () => {
    await visit("#users");
    await page.locator("#end-user").fill("dan");
    await page.locator("#end [type=submit]").click();
    await page.locator("#confirm[open]").waitFor();
    await fake("**", (route) => route.fulfill({ status: 401, json: { error: { code: "bad_token", message: "revoked" } } }));
    await page.evaluate(() => { location.hash = "#channels"; });
    await shows("#problem", "The token is invalid");
    assert.equal(await page.locator("dialog[open]").count(), 0);
  });

  test("markup in users, events and data is text", async () => {
    await reader(MARKUP, "public.markup");
    await publish(server.base, "public.markup", MARKUP, { event: MARKUP });
    await visit("#channel/public.markup");
    await shows("#messages .data", MARKUP);
    await shows("#present tr", MARKUP);
    await page.locator("#messages li").click();
    await shows("#message-json", "onerror");
    await page.keyboard.press("Escape");
    await page.getByRole("link", { name: "<img" }).click();
    await page.waitForFunction(() => document.querySelectorAll("#connections-table tbody tr").length === 1);
    await page.getByRole("button", { name: /^Disconnect / }).click();
    await shows("#confirm-text", MARKUP);
    // A name cannot reorder the question.
    await shows("#confirm-text bdi", MARKUP);
    await page.goto(`${server.base}/admin#channel/${encodeURIComponent(MARKUP)}`);
    await shows("#channel-title", MARKUP);
    assert.equal(await page.locator("main img, dialog img, main script, dialog script").count(), 0);
    assert.equal(await page.title(), "Trident admin");
    // The channel of the address has no valid name.
    assert.deepEqual(page.complaints.filter((one) => !one.includes("400")), []);
  });

  test("a page of another site cannot frame it", async () => {
    const site = createServer((_, response) => response.setHeader("Content-Type", "text/html").end(`<iframe src="${server.base}/admin"></iframe>`));
    await new Promise((resolve) => site.listen(0, "127.0.0.1", resolve));
    page = await tab(browser);
    await page.goto(`http://127.0.0.1:${site.address().port}/`);
    await page.locator("iframe").waitFor();
    assert.equal(await page.frameLocator("iframe").locator("#sign-in").count(), 0);
    assert.match(page.complaints.join(), /frame-ancestors 'none'/);
    await new Promise((resolve) => site.close(resolve));
  });

  test("labels, contrast and layout: both sizes, light and dark, both languages", async () => {
    await reader("dora", "public.look");
    for (let n = 0; n < 5; n += 1) await publish(server.base, "public.look", { price: n });
    for (const [size, options] of Object.entries(SIZES)) {
      // The colours are the same at both sizes.
      for (const colorScheme of TAKES_PICTURES || size === "desktop" ? ["light", "dark"] : ["dark"]) {
        await visit("", { ...options, colorScheme });
        for (const [hash, ready] of [["#overview", "#processes .pill"], ["#channels", "#channels-table a"], ["#channel/public.look", "#present a"], ["#connections", "#connections-table button"], ["#users", "#revoke"]]) {
          await page.evaluate((hash) => { location.hash = hash; }, hash);
          await page.locator(ready).first().waitFor();
          for (const language of ["English", "中文"]) {
            const what = `${hash} ${size} ${colorScheme} ${language}`;
            const below = await page.locator("[role=search] label").evaluateAll((labels) =>
              labels.filter((label) => label.checkVisibility() && label.getBoundingClientRect().bottom <= label.control.getBoundingClientRect().top).map(({ textContent }) => textContent));
            if (language === "中文") await page.locator("#language").click();
            // The other language has the same elements and colours.
            if (language === "English") assert.deepEqual(await violationsOn(page), [], what);
            assert.deepEqual(below, [], `${what}: a label is beside its field`);
            assert.deepEqual(await clipped(page), [], what);
            assert.deepEqual(await primaries(page), [], what);
            const [width, wide] = await page.evaluate(() => [document.documentElement.clientWidth, document.documentElement.scrollWidth]);
            assert.equal(wide, width, `${what}: nothing overflows`);
            if (language === "中文") assert.deepEqual(await english(page, "code, td, .refusal"), [], what);
            await picture(page, `admin-${hash.split("/")[0].slice(1)}-${size}-${colorScheme}-${language}`, { fullPage: true });
          }
          await page.locator("#language").click();
        }
        assert.deepEqual(page.complaints, []);
        await page.context().close();
      }
    }
  });

  test("Tab reaches every control of a section in the order of the page", async () => {
    await publish(server.base, "public.keys", 1);
    await visit("#channel/public.keys");
    // From the top of the page; the token is still there.
    await page.reload();
    await page.locator("#messages li").waitFor();
    await page.locator("#present caption").waitFor();
    const reached = [];
    for (let n = 0; n < 60; n += 1) {
      await page.keyboard.press("Tab");
      const place = await page.evaluate(() => {
        const { activeElement: element } = document;
        if (element === document.body || element.dataset.reached !== undefined) return undefined;
        element.dataset.reached = "";
        const { outlineStyle } = getComputedStyle(element);
        return outlineStyle === "none" ? `no focus is visible: ${element.outerHTML}` : "";
      });
      if (place === undefined) break;
      reached.push(place);
    }
    assert.deepEqual(reached.filter(Boolean), []);
    const left = await page.locator(":is(a[href], button, input, select, textarea, [tabindex='0']):not([data-reached], :disabled)").evaluateAll((all) => all.filter((one) => one.checkVisibility()).map((one) => one.id || one.outerHTML));
    assert.deepEqual(left, []);
  });
});
