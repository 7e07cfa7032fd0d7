// The playground in Chromium: what it looks like and says. Both languages, layout, labels, contrast, every button, the keyboard.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { describe, test } from "node:test";
import { SIZES, WINDOWS, picture } from "../lib/browser.js";
import { bands, clipped, english, isAboveFold, primaries } from "../lib/layout.js";
import { ROOT, STANDALONE } from "../lib/stack.js";
import { token } from "../lib/token.js";
import { PANES, Playground } from "./playground.js";

test("the page describes, in both languages, every refusal that docs/PROTOCOL.md lists", () => {
  const [protocol, words] = ["docs/PROTOCOL.md", "web/playground/src/text.ts"].map((file) => readFileSync(path.join(ROOT, file), "utf8"));
  const codes = [...protocol.matchAll(/^\| (?:401|403|429, 503) \|(.*)$/gm)].flatMap(([, row]) => row.match(/\b[a-z]+(?:_[a-z]+)+\b/g));
  assert.ok(codes.length >= 10, codes.join());
  for (const code of codes) assert.equal(words.split(`"code.${code}":`).length, 3, code);
});

// The look does not depend on what serves the page; its panes run behind the gateway, too.
describe("playground, look", () => {
  const play = new Playground(STANDALONE);

  test("publish and chat are visible without scrolling in a window of 1280 by 720, in both languages", async () => {
    await play.visit({ viewport: WINDOWS.laptop });
    for (const language of ["English", "中文"]) {
      if (language === "中文") await play.page.getByRole("button", { name: "中文" }).click();
      for (const part of ["#publish-card", "#publish [type=submit]", "#talk-card", "#talk-form button"]) {
        assert.ok(await isAboveFold(play.page, part), `${part} in ${language}`);
      }
    }
  });

  for (const [size, viewport] of Object.entries(WINDOWS)) {
    test(`labels fit, no band is empty, each card has one primary action: ${size}`, async () => {
      const writer = await play.visit({ viewport });
      await writer.to(5);
      await play.all(writer);
      // With notes of different lengths.
      await play.switch("comet").click();
      await play.within("sse", "select").selectOption("longpoll");
      for (const language of ["English", "中文"]) {
        if (language === "中文") await play.page.getByRole("button", { name: "中文" }).click();
        assert.deepEqual(await clipped(play.page), [], language);
        assert.deepEqual(await bands(play.page, ".pane, #publish, #publish-card, #talk-card, main"), [], language);
        assert.deepEqual(await primaries(play.page), [], language);
        await picture(play.page, `playground-${play.slug}-${size}-${language}`, { fullPage: size !== "laptop" });
      }
      assert.deepEqual(await english(play.page), []);
    });
  }

  test("the page works without storage", async () => {
    await play.visit(SIZES.desktop, undefined, (page) => page.addInitScript(() => {
      Object.defineProperty(window, "localStorage", { get: () => { throw new DOMException("denied", "SecurityError"); } });
    }));
    await play.page.getByRole("button", { name: "中文" }).click();
    for (const pane of PANES) await play.shows(pane, ".state", "已连接");
    assert.deepEqual(play.page.complaints, []);
  });

  test("errors are in the language of the page, also when that changes", async () => {
    const says = (pane, text) => play.within(pane, ".note").filter({ hasText: text }).waitFor({ timeout: 15_000 });
    await play.visit();
    await play.page.getByRole("button", { name: "中文" }).click();
    assert.match(await play.page.locator("#chart-summary").textContent(), /每秒 \d+ 条消息/, "at once");
    Object.assign(play.proxy.to, { websocket: "refuse", sse: "hold", stream: "refuse" });
    play.proxy.breakAll();
    await says("chat", "WebSocket 被拦截");
    await says("sse", "SSE：6 秒内没有收到数据");
    await says("comet", "HTTP 流：代理代替服务器返回了 403");
    await play.page.getByRole("button", { name: "English" }).click();
    await says("chat", "WebSocket is blocked");
    await says("sse", "SSE: no data for 6 s. A proxy is buffering the connection");
    await says("comet", "HTTP stream: a proxy answered 403 in place of the server");
    await play.page.getByRole("button", { name: "中文" }).click();
    play.proxy.cut();
    // The third was refused, and is closed.
    await says("sse", "无法连接服务器");
    assert.equal(await play.within("comet", ".state").textContent(), "已关闭");
    play.proxy.mend();
    for (const transport of Object.keys(play.proxy.to)) play.proxy.to[transport] = "pass";
    await play.page.locator("#channel").fill("secret.play");
    await play.page.locator("#channel").press("Enter");
    for (const [pane, way] of [["comet", "HTTP 流"], ["chat", "WebSocket"], ["sse", "SSE"]]) await says(pane, `${way}：这个频道需要令牌。`);
    await play.page.getByRole("button", { name: "发布" }).click();
    await play.page.locator("#published.bad").filter({ hasText: "这个频道需要令牌。" }).waitFor();
    await play.page.getByLabel("令牌").fill(token({ trident: { publish: ["other"], subscribe: ["other"] } }));
    await play.page.locator("#to").fill("secret.play");
    await play.page.getByRole("button", { name: "发布" }).click();
    await play.page.locator("#published.bad").filter({ hasText: "令牌不允许" }).waitFor();
    await play.page.getByRole("button", { name: "收听" }).click();
    for (const pane of PANES) await says(pane, "令牌不允许");
    await play.page.locator('#talk-state[data-phase="open"]').waitFor({ timeout: 15_000 });
    await play.page.locator("#talk-room").fill("not a room");
    await play.page.getByRole("button", { name: "进入" }).click();
    await play.page.locator("#talk-typing.bad").filter({ hasText: "房间名须为" }).waitFor();
    // Nothing is left in English.
    const told = await play.page.locator(".note, .state, #published, #talk-typing, #talk-people, #chart-summary").allTextContents();
    for (const text of told) assert.doesNotMatch(text, /[a-z]{2,} [a-z]{2,}/, text);
    await play.page.getByRole("button", { name: "English" }).click();
    await play.page.locator("#published.bad").filter({ hasText: "The token does not allow this" }).waitFor();
    await play.page.locator("#talk-typing.bad").filter({ hasText: "A room's name is" }).waitFor();
    for (const pane of PANES) await says(pane, "does not allow this");
  });

  // By touch on a phone. Each new button of the page has to be added here.
  for (const [size, options] of Object.entries(SIZES)) {
    for (const [language, words] of Object.entries({
      English: { open: "open", cut: "disconnected", published: /^Published as \d+-\d+\.$/, back: "none lost", of: "1 here" },
      中文: { open: "已连接", cut: "已断开", published: /^已发布，id 为 \d+-\d+。$/, back: "无一丢失", of: "1 人在线" },
    })) {
      test(`every button: ${size}, ${language}`, async () => {
        const writer = await play.visit(options);
        const press = (place) => (options.hasTouch ? place.tap() : place.click());
        const button = (of) => play.page.locator(of);
        const done = new Set();
        const pressed = async (of) => {
          await press(button(of));
          done.add(of);
        };
        await pressed("#language");
        if (language === "English") {
          await play.shows("comet", ".state", "已连接");
          await press(button("#language"));
        }
        for (const pane of PANES) await play.shows(pane, ".state", words.open);

        for (const pane of PANES) {
          await pressed(`#${pane} [data-do=cut]`);
          await play.shows(pane, ".state", words.cut);
        }
        await writer.to(3);
        for (const pane of PANES) {
          await press(button(`#${pane} [data-do=cut]`));
          await play.shows(pane, ".state", words.open);
          await play.shows(pane, ".note", words.back);
        }
        await play.all(writer);
        for (const pane of PANES) {
          await play.within(pane, "select").selectOption("longpoll");
          await play.shows(pane, ".state", words.open);
        }

        await play.page.locator("#token").fill(token());
        await pressed("#publish [type=submit]");
        await play.page.locator("#published").filter({ hasText: words.published }).waitFor();
        for (const pane of PANES) await play.shows(pane, ".messages .data", '{"code":42}');

        await play.page.locator("#data").fill("{bad");
        await press(button("#publish [type=submit]"));
        await pressed("#as-text");
        for (const pane of PANES) await play.shows(pane, ".messages .data", "{bad");
        await press(play.within("comet", ".messages li").first());
        await pressed("#message-copy");
        await pressed("#message-close");
        await press(play.page.locator("summary"));
        await pressed("#copy-curl");
        await play.page.locator("#to").fill(`${writer.channel}-other`);
        await press(button("#publish [type=submit]"));
        await pressed("#follow");
        for (const pane of PANES) await play.shows(pane, ".messages .data", "{bad");

        await play.page.locator("#channel").fill("time");
        await pressed("#choose button");
        for (const pane of PANES) await play.shows(pane, ".messages .data", "时间:");

        const room = play.name("buttons");
        await play.page.locator("#talk-name").fill("Mei");
        await pressed("#talk-name-form button");
        await play.page.locator("#talk-room").fill(room);
        await pressed("#talk-room-form button");
        await play.page.locator("#talk-people", { hasText: `${room} · ${words.of} · Mei` }).waitFor();
        await play.page.locator("#talk-text").fill("喝茶吗");
        await pressed("#talk-form button");
        await play.page.locator("#talk-said li", { hasText: "Mei喝茶吗" }).waitFor();
        assert.equal(await play.page.locator("#talk-text").inputValue(), "");

        // The button that offers another transport is pressed where one is blocked.
        const all = play.page.locator("button:not([data-do=offer])");
        assert.equal(await all.count(), done.size, `pressed: ${[...done].join(", ")}`);
        for (const found of await all.filter({ visible: true }).all()) assert.match(await found.textContent(), language === "English" ? /^([A-Z][a-z ]+|中文)$/ : /^(\p{Script=Han}+|English)$/u);
        assert.deepEqual(play.page.complaints, []);
      });
    }
  }

  test("Tab reaches every control in the order of the page, and focus is visible", async () => {
    await play.visit();
    const reached = [];
    for (;;) {
      await play.page.keyboard.press("Tab");
      const found = await play.page.evaluate(() => {
        const { activeElement: element } = document;
        if (element === document.body) return undefined;
        element.dataset.reached = "";
        const { outlineStyle, outlineWidth } = getComputedStyle(element);
        const place = element.id || `${element.closest("[id]")?.id} ${element.localName}`;
        return { place, isMarked: outlineStyle !== "none" && parseFloat(outlineWidth) >= 2 };
      });
      if (!found || reached.length > 60) break;
      reached.push(found);
    }
    assert.deepEqual(reached.filter(({ isMarked }) => !isMarked).map(({ place }) => place), []);
    const left = await play.page.locator(":is(a[href], button, input, select, textarea, [tabindex='0']):not([data-reached])").evaluateAll((all) => all.filter((one) => one.checkVisibility()).map((one) => one.id || one.outerHTML));
    assert.deepEqual(left, [], reached.map(({ place }) => place).join(", "));
    const inPlace = await play.page.locator("[data-reached]").evaluateAll((all) => all.map((one) => one.id || `${one.closest("[id]")?.id} ${one.localName}`));
    assert.deepEqual(reached.map(({ place }) => place), inPlace);
  });

  for (const [size, options] of Object.entries(SIZES)) {
    for (const colorScheme of ["light", "dark"]) {
      test(`labels and contrast, in both languages: ${size}, ${colorScheme}`, async () => {
        const writer = await play.visit({ ...options, colorScheme });
        await writer.to(5);
        await play.all(writer);
        await play.axe("English");
        await play.page.getByRole("button", { name: "中文" }).click();
        await play.shows("comet", ".state", "已连接");
        assert.equal(await play.page.locator("html").getAttribute("lang"), "zh-CN");
        assert.equal(await play.page.title(), "Trident 演练场");
        await play.axe("中文");
        const [width, wide] = await play.page.evaluate(() => [document.documentElement.clientWidth, document.documentElement.scrollWidth]);
        assert.equal(wide, width, "nothing overflows");
        await picture(play.page, `playground-${play.slug}-${size}-${colorScheme}`, { fullPage: true });
        await play.page.reload();
        await play.shows("sse", ".state", "已连接");
        assert.deepEqual(play.page.complaints, []);
      });
    }
  }
});
