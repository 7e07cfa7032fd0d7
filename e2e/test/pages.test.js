// The pages in a real browser: what a person sees, at two sizes, by day and by night.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { SIZES, launch, picture, tab } from "../lib/browser.js";
import { publish } from "../lib/http.js";
import { GATEWAY, ONE_LOG, ROOT, STANDALONE, startService, startStack } from "../lib/stack.js";

/** What must hold of every page once it lives: nothing complained, nothing sticks out, everything has a name. */
async function sound(page, what) {
  assert.deepEqual(page.complaints, [], what);
  const [overflow, nameless, scripts] = await page.evaluate(() => [
    document.documentElement.scrollWidth - document.documentElement.clientWidth,
    [...document.querySelectorAll("button, input, a, [role=img], nav")]
      .filter((element) => element.checkVisibility?.() ?? true)
      .filter((element) => !(element.textContent.trim() || element.getAttribute("aria-label") || element.getAttribute("aria-labelledby") || element.labels?.length))
      .map((element) => element.outerHTML),
    [...document.querySelectorAll("script, link[rel=stylesheet], img")].map((element) => element.src || element.href).filter((url) => !url.startsWith(location.origin)),
  ]);
  assert.equal(overflow, 0, `${what} is wider than its window by ${overflow}`);
  assert.deepEqual(nameless, [], what);
  assert.deepEqual(scripts, [], what);
  assert.equal(await page.locator("h1").count(), 1, what);
}

/** Contrast (WCAG 2.2, 1.4.3) of every visible text against what lies behind it; gives those that are too faint. */
const faint = (page) =>
  page.evaluate(() => {
    const pen = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
    const rgba = (color, under = [0, 0, 0], opacity = 1) => {
      pen.globalAlpha = 1;
      pen.fillStyle = `rgb(${under.join(" ")})`;
      pen.fillRect(0, 0, 1, 1);
      pen.globalAlpha = opacity;
      pen.fillStyle = color;
      pen.fillRect(0, 0, 1, 1);
      return [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3);
    };
    const light = (color) => {
      const [r, g, b] = color.map((part) => (part / 255 <= 0.03928 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4));
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = (element) => {
      const layers = [];
      for (let at = element; at; at = at.parentElement) layers.unshift(getComputedStyle(at).backgroundColor);
      return layers.reduce((under, layer) => rgba(layer, under), [255, 255, 255]);
    };
    const opacity = (element) => (element ? Number(getComputedStyle(element).opacity) * opacity(element.parentElement) : 1);
    const found = new Set();
    const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) {
      const element = walk.currentNode.parentElement;
      const visible = element.checkVisibility() && element.getClientRects().length > 0 && !element.closest(":disabled, noscript, .skip");
      if (!walk.currentNode.data.trim() || !visible) continue;
      const ground = behind(element);
      const [a, b] = [light(rgba(getComputedStyle(element).color, ground, opacity(element))), light(ground)].toSorted((x, y) => y - x);
      const ratio = (a + 0.05) / (b + 0.05);
      if (ratio < 4.5) found.add(`${ratio.toFixed(2)} ${element.tagName}.${element.className}: ${walk.currentNode.data.trim().slice(0, 40)}`);
    }
    return [...found];
  });

const rows = (page, list) => page.locator(`${list} > li:not(.note)`);

/** Opens a page and waits until it lives. */
const LIVE = {
  comet: async (page) => {
    for (const lane of ["poll", "longpoll", "stream"]) await rows(page, `#lane-${lane} ol`).nth(1).waitFor({ timeout: 15_000 });
  },
  sse: async (page) => {
    await rows(page, "#log").nth(1).waitFor({ timeout: 15_000 });
    await page.locator('[data-step="1"][data-now]').waitFor();
  },
  chat: async (page) => {
    await page.locator('#state[data-state="live"]').waitFor({ timeout: 15_000 });
    await page.locator("#title", { hasText: "lobby" }).waitFor();
  },
  "": async (page) => {
    for (const name of ["comet", "chat", "sse"]) {
      await page.locator(`#${name} .state[data-phase="open"]`).waitFor({ timeout: 15_000 });
    }
    // Without a common bus the others know nothing of this one's channel.
    await page.locator("#comet .messages li").nth(1).waitFor();
    await page.locator('#talk-state[data-phase="open"]').waitFor();
  },
};

for (const kind of [STANDALONE, GATEWAY]) {
  describe(`pages: ${kind}`, () => {
    let [stack, browser] = [];
    before(async () => {
      [stack, browser] = await Promise.all([startStack(kind), launch()]);
    });
    after(async () => {
      await browser?.close();
      await stack?.stop();
    });

    for (const [name, live] of Object.entries(LIVE)) {
      test(`/${name} works at both sizes, light and dark`, { timeout: 120_000 }, async () => {
        for (const [size, options] of Object.entries(SIZES)) {
          // The gateway serves the same files.
          for (const colorScheme of kind === STANDALONE ? ["light", "dark"] : [size === "phone" ? "dark" : "light"]) {
            const page = await tab(browser, { ...options, colorScheme });
            await page.goto(`${stack.base}/${name}`);
            await live(page);
            if (name === "chat") {
              await page.locator("#text").fill("How do I look?");
              await page.locator("#text").press("Enter");
              await page.locator(".said.mine.sent").waitFor();
            }
            const what = `${kind} ${name || "index"} ${size} ${colorScheme}`;
            await sound(page, what);
            assert.deepEqual(await faint(page), [], what);
            await picture(page, what.replaceAll(" ", "-"), { fullPage: true });
            await page.context().close();
          }
        }
      });
    }

    test("the bare fetch and the bare EventSource work from the pages", { timeout: 60_000 }, async () => {
      const page = await tab(browser);
      await page.goto(`${stack.base}/comet`);
      const code = await page.evaluate(() => fetch("data").then((response) => response.json()));
      assert.equal(typeof code.code, "number");
      await page.goto(`${stack.base}/sse`);
      const told = await page.evaluate((url) => new Promise((resolve, reject) => {
        const source = new EventSource(url);
        const states = [];
        source.onopen = () => states.push(source.readyState);
        source.onerror = reject;
        source.onmessage = (event) => {
          source.close();
          resolve({ data: event.data, id: event.lastEventId, states });
        };
      }), `${stack.base}/events`);
      assert.match(told.data, /^时间:\d{1,2}$/);
      assert.match(told.id, /^\d+-\d+$/);
      assert.deepEqual(told.states, [1]);
      assert.deepEqual(page.complaints, []);
      await page.context().close();
    });

    test("comet: a paused page catches up from its cursor", { timeout: 60_000 }, async () => {
      const page = await tab(browser);
      await page.goto(`${stack.base}/comet`);
      await LIVE.comet(page);
      await page.locator("#once").click();
      await page.locator("#once-out[data-done]").waitFor();
      assert.match(await page.locator("#once-out").textContent(), /^\{"code":[\d.]+\}$/);
      await page.locator("#pause-all").click();
      await page.locator("#lane-stream [data-part=state]", { hasText: "paused" }).waitFor();
      const cursor = await page.locator("#lane-stream [data-part=cursor]").textContent();
      // Another reader sees that messages come meanwhile.
      const other = await tab(browser);
      await other.goto(`${stack.base}/comet`);
      await rows(other, "#lane-stream ol").nth(2).waitFor({ timeout: 15_000 });
      const missed = await rows(other, "#lane-stream ol").nth(1).locator("code").textContent();
      await page.locator("#pause-all").click();
      for (const lane of ["poll", "longpoll", "stream"]) {
        await page.locator(`#lane-${lane} ol code`, { hasText: missed }).waitFor({ timeout: 10_000 });
        const ids = (await page.locator(`#lane-${lane} ol code`).allTextContents()).map((id) => id.split("-").map(Number));
        for (let at = 1; at < ids.length; at += 1) {
          const apart = ids[at - 1][0] - ids[at][0];
          assert.ok(apart > 0 && apart < 1_700, `${lane}: ${apart} ms between two messages of one a second`);
        }
        assert.equal(await page.locator(`#lane-${lane} .note`).count(), 0);
      }
      assert.ok(cursor);
      assert.deepEqual(page.complaints, []);
      await page.context().close();
      await other.context().close();
    });

    test("SSE: a reopened stream resumes after the last id", { timeout: 60_000 }, async () => {
      const page = await tab(browser);
      await page.goto(`${stack.base}/sse`);
      await LIVE.sse(page);
      await page.locator("#close").click();
      await page.locator("#state", { hasText: "Closed" }).waitFor();
      assert.deepEqual(await faint(page), [], "closed");
      const last = await page.locator("#last-id").textContent();
      const other = await tab(browser);
      await other.goto(`${stack.base}/sse`);
      await rows(other, "#log").nth(2).waitFor({ timeout: 15_000 });
      const missed = await rows(other, "#log").nth(1).locator("code").textContent();
      await page.locator("#resume").click();
      await page.locator("#log code", { hasText: missed }).waitFor();
      const ids = (await page.locator("#log code").allTextContents()).map((id) => Number(id.split("-")[0]));
      assert.ok(ids.includes(Number(last.split("-")[0])));
      for (let at = 1; at < ids.length; at += 1) assert.ok(ids[at - 1] - ids[at] < 1_700, `${ids[at - 1] - ids[at]} ms`);
      assert.deepEqual(page.complaints, []);
      await page.context().close();
      await other.context().close();
    });

    test("chat: two people, names, rooms, typing, ticks", { timeout: 90_000 }, async () => {
      const [mei, arun] = [await tab(browser), await tab(browser, SIZES.phone)];
      for (const [page, name] of [[mei, "Mei"], [arun, "Arun"]]) {
        await page.goto(`${stack.base}/chat`);
        await LIVE.chat(page);
        await page.locator("#name").fill(name);
        await page.locator("#name").press("Enter");
      }
      await mei.locator("#people li", { hasText: "Arun" }).waitFor();
      await mei.locator("#text").fill("你好 <b>there</b>");
      await mei.locator("#text").press("Enter");
      await mei.locator(".said.mine.sent", { hasText: "你好 <b>there</b>" }).waitFor();
      await arun.locator(".said", { hasText: "你好 <b>there</b>" }).waitFor();
      assert.equal(await arun.locator(".said .head b", { hasText: "Mei" }).count(), 1);
      assert.equal(await mei.locator(".said", { hasText: "你好" }).count(), 1, "one's own message shows once");
      await arun.locator("#text").pressSequentially("hm");
      await mei.locator("#typing", { hasText: "Arun is typing" }).waitFor();

      await arun.locator("#side-toggle").click();
      await arun.locator("#room").fill("tea");
      await arun.locator("#room").press("Enter");
      await arun.locator("#title", { hasText: "tea" }).waitFor();
      await mei.locator("#room").fill("tea");
      await mei.locator("#room").press("Enter");
      await mei.locator("#title", { hasText: "tea" }).waitFor();
      await mei.locator("#text").fill("Green or black?");
      await mei.locator("#text").press("Enter");
      await arun.locator(".said", { hasText: "Green or black?" }).waitFor();
      assert.equal(await arun.locator(".said", { hasText: "你好" }).count(), 0, "the lobby's talk stays in the lobby");
      await mei.locator("#rooms .go", { hasText: "lobby" }).click();
      await mei.locator(".said", { hasText: "你好" }).waitFor();

      // Who comes later finds what was said.
      const late = await tab(browser);
      await late.goto(`${stack.base}/chat`);
      await late.locator(".said", { hasText: "你好" }).waitFor();
      for (const page of [mei, arun, late]) {
        assert.deepEqual(page.complaints, []);
        await page.context().close();
      }
    });

    test("chat: after an outage missed messages arrive and written ones are sent", { timeout: 90_000 }, async () => {
      const [away, other] = [await tab(browser), await tab(browser)];
      for (const page of [away, other]) {
        await page.goto(`${stack.base}/chat`);
        await LIVE.chat(page);
      }
      await other.locator("#text").fill("before");
      await other.locator("#text").press("Enter");
      await away.locator(".said", { hasText: "before" }).waitFor();
      await away.context().setOffline(true);
      // The event by which a browser tells its pages; the client gives its WebSocket up then.
      await away.evaluate(() => globalThis.dispatchEvent(new Event("offline")));
      await away.locator('#state[data-state="down"]').waitFor();
      for (const text of ["one", "two"]) {
        await other.locator("#text").fill(`missed ${text}`);
        await other.locator("#text").press("Enter");
        await other.locator(".said.sent", { hasText: `missed ${text}` }).waitFor();
      }
      await away.locator("#text").fill("written in the dark");
      await away.locator("#text").press("Enter");
      await away.locator(".said.mine.waiting", { hasText: "written in the dark" }).waitFor();
      await away.context().setOffline(false);
      await away.locator('#state[data-state="live"]').waitFor({ timeout: 30_000 });
      await away.locator(".said.missed", { hasText: "missed one" }).waitFor();
      await away.locator(".said.missed", { hasText: "missed two" }).waitFor();
      assert.equal(await away.locator(".rule", { hasText: "While you were away" }).count(), 1);
      await away.locator(".said.mine.sent", { hasText: "written in the dark" }).waitFor();
      await other.locator(".said", { hasText: "written in the dark" }).waitFor();
      for (const text of ["before", "missed one", "missed two", "written in the dark"]) {
        assert.equal(await away.locator(".said .text", { hasText: text }).count(), 1, text);
      }
      assert.deepEqual(await away.locator(".said .text").allTextContents().then((all) => all.slice(-4)), ["before", "missed one", "missed two", "written in the dark"]);
      assert.deepEqual(other.complaints, []);
      for (const page of [away, other]) await page.context().close();
    });
  });
}

describe("pages: one log", () => {
  let [stack, browser] = [];
  before(async () => {
    [stack, browser] = await Promise.all([startStack(ONE_LOG), launch()]);
  });
  after(async () => {
    await browser?.close();
    await stack?.stop();
  });

  test("a message published by HTTP appears in the chat and in the playground", { timeout: 60_000 }, async () => {
    const [chat, start] = [await tab(browser), await tab(browser)];
    await chat.goto(`${stack.base}/chat`);
    await LIVE.chat(chat);
    await start.goto(`${stack.base}/?channel=chat.lobby`);
    for (const name of ["comet", "chat", "sse"]) await start.locator(`#${name} .state[data-phase="open"]`).waitFor();
    await start.locator('#talk-state[data-phase="open"]').waitFor();
    const id = await publish(stack.base, "chat.lobby", "from a terminal", { event: "chat message" });
    await chat.locator(".said", { hasText: "from a terminal" }).waitFor();
    for (const name of ["comet", "chat", "sse"]) await start.locator(`#${name} .messages .id`, { hasText: id }).waitFor();
    await start.locator("#talk-said li", { hasText: "from a terminal" }).waitFor();
    for (const page of [chat, start]) {
      assert.deepEqual(page.complaints, []);
      await page.context().close();
    }
  });

  test("SSE and comet reconnect automatically after the server was unavailable, and lose nothing silently", { timeout: 90_000 }, async () => {
    const [sse, comet] = [await tab(browser), await tab(browser)];
    await sse.goto(`${stack.base}/sse`);
    await comet.goto(`${stack.base}/comet`);
    await LIVE.sse(sse);
    await LIVE.comet(comet);
    const { standalone } = stack.services;
    await standalone.stop();
    await sse.locator('[data-step="0"][data-now]').waitFor();
    await comet.locator("#lane-stream [data-state=down]").waitFor({ timeout: 15_000 });
    const back = await startService("standalone", {}, standalone.port);
    try {
      await sse.locator('[data-step="1"][data-now]').waitFor({ timeout: 20_000 });
      // The new process began a new log: the cursors are of another one, and that is told.
      for (const lane of ["poll", "longpoll", "stream"]) {
        await comet.locator(`#lane-${lane} [data-state=live]`).waitFor({ timeout: 40_000 });
      }
    } finally {
      await sse.context().close();
      await comet.context().close();
      await back.stop();
    }
  });
});
