// The playground in Chromium: every button, both languages, a phone; what is published comes once on each of the three ways.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import { promisify } from "node:util";
import { launch, SIZES, tab } from "../lib/browser.js";
import { chance } from "../lib/random.js";
import { ONE_LOG, OUT, PINGS, ROOT, STANDALONE, startStack } from "../lib/stack.js";
import { token } from "../lib/token.js";
import { until } from "../lib/wait.js";
import { Proxy } from "./proxy.js";
import { Writer, publishAll } from "./writer.js";

const PANES = ["comet", "chat", "sse"];
const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
let drawn = 0;

test("the page has words, in both languages, for every refusal that docs/PROTOCOL.md says it may meet", () => {
  const [protocol, words] = ["docs/PROTOCOL.md", "web/playground/src/text.ts"].map((file) => readFileSync(path.join(ROOT, file), "utf8"));
  const codes = [...protocol.matchAll(/^\| (?:401|403|429, 503) \|(.*)$/gm)].flatMap(([, row]) => row.match(/\b[a-z]+(?:_[a-z]+)+\b/g));
  assert.ok(codes.length >= 10, codes.join());
  for (const code of codes) assert.equal(words.split(`"code.${code}":`).length, 3, code);
});

for (const kind of [STANDALONE, ONE_LOG]) describe(`playground: ${kind}`, () => {
  const slug = kind.split(" ")[0];
  let stack;
  let browser;
  let proxy;
  let page;
  before(async () => {
    stack = await startStack(kind, PINGS);
    browser = await launch();
  });
  after(async () => {
    await browser?.close();
    await stack?.stop();
  });
  beforeEach(async () => {
    proxy = await Proxy.start(stack.base);
  });
  afterEach(async () => {
    await page?.context().close();
    await proxy.close();
  });

  async function visit(options = SIZES.desktop, channel = `public.play-${process.pid}-${(drawn += 1)}`, prepare = undefined) {
    page = await tab(browser, { locale: "en-GB", ...options });
    await prepare?.();
    await page.goto(`${proxy.base}/?channel=${channel}`);
    for (const pane of PANES) await shows(pane, ".state", "open");
    return new Writer(stack.base, channel);
  }

  const within = (pane, selector) => page.locator(`#${pane} ${selector}`);
  const shows = (pane, selector, text) => within(pane, selector).filter({ hasText: text }).first().waitFor({ timeout: 15_000 });
  const ids = (pane) => within(pane, ".messages .id").allTextContents();
  const all = async (writer) => {
    for (const pane of PANES) {
      await page.waitForFunction(([pane, count]) => document.querySelector(`#${pane} [data-show=count]`).textContent === count, [pane, String(writer.ids.length)]);
      assert.deepEqual(await ids(pane), writer.ids.toReversed().slice(0, 40), pane);
    }
  };
  const axe = async (what) => {
    await page.evaluate(AXE);
    const { violations } = await page.evaluate(() => window.axe.run());
    assert.deepEqual(violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target).join(", ")}`), [], what);
  };

  test("the demo channel ticks in all three panes", async () => {
    await visit(SIZES.desktop, "random");
    for (const pane of PANES) await shows(pane, ".messages .data", '{"code":');
    await page.waitForFunction(() => /\d+ ms.*\d+ ms.*\d+ ms/.test(document.getElementById("chart-summary").textContent));
    assert.ok(await page.locator("#chart canvas").isVisible());
    assert.deepEqual(page.complaints, []);
  });

  // The one that README.md shows: `make screenshot` puts it there.
  test("a picture of it at work", async () => {
    const writer = await visit(SIZES.desktop, `public.prices-${slug}`);
    const pick = chance();
    for (let part = 1; part <= 40; part += 1) {
      await writer.to(writer.ids.length + 1 + pick(9), 25 * pick(8));
      if (part === 12 || part === 18) await within("chat", "button").click();
    }
    await all(writer);
    await within("sse", "select").selectOption("longpoll");
    await shows("sse", ".note", "none lost");
    await page.getByLabel("Message to the chat").fill("Cut, and back with all of it.");
    await page.getByLabel("Message to the chat").press("Enter");
    await page.locator("#talk-said li").waitFor();
    await page.waitForFunction(() => /\d+ ms.*\d+ ms.*\d+ ms/.test(document.getElementById("chart-summary").textContent));
    await page.evaluate(() => scrollTo(0, 0));
    await page.screenshot({ path: path.join(OUT, `playground-${slug}.png`) });
    assert.deepEqual(page.complaints, []);
  });

  test("a cut pane and one on another transport catch up, and nothing is lost", async () => {
    const writer = await visit();
    await writer.to(10);
    await all(writer);
    for (const pane of PANES) await within(pane, "button").click();
    for (const pane of PANES) await shows(pane, ".state", "cut");
    await axe("cut");
    await writer.to(30);
    // Old enough to count as caught up with.
    await page.waitForFunction(([time]) => Date.now() - time > 2_500, [Number(writer.ids.at(-1).split("-")[0])]);
    for (const pane of PANES) await within(pane, "button").click();
    await all(writer);
    for (const pane of PANES) await shows(pane, ".note", `Gone on after ${writer.ids[9]}`);
    for (const pane of PANES) await shows(pane, ".note", "20 messages caught up with, none lost");
    for (const [at, transport] of ["longpoll", "sse", "stream", "websocket"].entries()) {
      for (const pane of PANES) await within(pane, "select").selectOption(transport);
      await writer.to(40 + 10 * at);
      await all(writer);
    }
    assert.deepEqual(page.complaints, []);
  });

  for (const [clock, skew] of [["ahead", 600_000], ["behind", -600_000]]) {
    test(`a device whose clock is ${clock}: latencies, and an end to what was missed`, async () => {
      const shift = (skew) => {
        const { now } = Date;
        Date.now = () => now() + skew;
      };
      const writer = await visit(SIZES.desktop, undefined, () => page.addInitScript(shift, skew));
      for (const pane of PANES) await within(pane, "button").click();
      for (const pane of PANES) await shows(pane, ".state", "cut");
      await writer.to(20);
      // The server's clock is known to the second before a message has come.
      await new Promise((resolve) => setTimeout(resolve, 3_000));
      for (const pane of PANES) await within(pane, "button").click();
      for (const pane of PANES) await shows(pane, ".note", "20 messages caught up with, none lost");
      await writer.to(25);
      await all(writer);
      for (const pane of PANES) {
        assert.match(await within(pane, ".note").textContent(), /: 20 messages caught up with/);
        assert.match(await within(pane, "[data-show=latency]").textContent(), /^\d+ ms$/);
        const ages = await within(pane, ".messages .age").allTextContents();
        for (const [at, age] of ages.entries()) assert.match(age, at < 5 ? /^\d+ ms$/ : /^\+\d s$/);
      }
      assert.deepEqual(page.complaints, []);
    });
  }

  test("where nothing may be kept, the page works all the same", async () => {
    await visit(SIZES.desktop, undefined, () => page.addInitScript(() => {
      Object.defineProperty(window, "localStorage", { get: () => { throw new DOMException("denied", "SecurityError"); } });
    }));
    await page.getByRole("button", { name: "中文" }).click();
    for (const pane of PANES) await shows(pane, ".state", "已连接");
    assert.deepEqual(page.complaints, []);
  });

  test("the longest name and the longest room are taken, and no longer ones", async () => {
    await visit(SIZES.phone);
    await page.locator('#talk-state[data-phase="open"]').waitFor();
    const room = `${process.pid}-${drawn}-${slug}`.padEnd(123, "r");
    await page.getByLabel("Your name").pressSequentially("n".repeat(41));
    await page.getByLabel("Your name").press("Enter");
    await page.getByLabel("Room").fill("");
    await page.getByLabel("Room").pressSequentially(`${room}r`);
    await page.getByLabel("Room").press("Enter");
    await page.locator("#talk-people").filter({ hasText: `${room} · 1 here · ${"n".repeat(40)}` }).waitFor();
    const [width, wide] = await page.evaluate(() => [document.documentElement.clientWidth, document.documentElement.scrollWidth]);
    assert.equal(wide, width, "nothing sticks out");
  });

  test("publishing by the form, with the command that does the same", async () => {
    await visit();
    await page.getByLabel("Token").fill(token());
    await page.locator("#event").fill("greeting");
    await page.getByLabel("Data").fill("it's 时间");
    const command = await page.locator("#curl").textContent();
    assert.match(command, /^printf 'Token: '; read -rs TOKEN && curl 'http:\/\/127\.0\.0\.1:\d+\/events\?channel=public\.play-[^']+&event=greeting'/);
    assert.ok(command.includes(`-d '"it'\\''s 时间"'`), command);
    assert.ok(!command.includes(token()), "no token is shown");
    await page.getByRole("button", { name: "Publish" }).click();
    for (const pane of PANES) await shows(pane, ".messages .data", "it's 时间");
    const [id] = await ids("sse");
    assert.equal(await page.locator("#published").textContent(), `Published as ${id}.`);
    // The command as it is pasted, and the token as it is typed after it.
    const { TOKEN, ...env } = process.env;
    const shell = promisify(execFile)("bash", ["-s"], { env });
    shell.child.stdin.end(`${command}\n${token()}\n`);
    const { id: other } = JSON.parse((await shell).stdout.replace("Token: ", ""));
    for (const pane of PANES) await shows(pane, ".messages .id", other);
    assert.deepEqual(await within("sse", ".messages .data").allTextContents(), ["it's 时间", "it's 时间"]);
    await page.getByLabel("Token").fill("");
    assert.match(await page.locator("#curl").textContent(), /^curl '/);
    await page.getByRole("button", { name: "Publish" }).click();
    await page.locator("#published.bad").filter({ hasText: "A token is needed" }).waitFor();
    await axe("refused");
  });

  test("what is no longer held is told as a gap", async () => {
    const writer = await visit();
    await writer.to(5);
    await all(writer);
    await within("sse", "button").click();
    await shows("sse", ".state", "cut");
    const lines = Array.from({ length: 500 }, (_, n) => ({ channel: writer.channel, data: n }));
    for (let n = 0; n < 3; n += 1) writer.ids.push(...(await publishAll(stack.base, lines)));
    await within("sse", "button").click();
    await shows("sse", "[data-show=gaps]", "1");
    await shows("sse", ".note", "Gaps: 1. What lay between is no longer held");
    for (const pane of PANES) await shows(pane, ".messages .id", writer.ids.at(-1));
    await shows("comet", "[data-show=count]", "1505");
    // The five of before, and the thousand that are held.
    await shows("sse", "[data-show=count]", "1005");
    assert.doesNotMatch(await within("sse", ".note").textContent(), /none lost/);
    await axe("gap");
    assert.deepEqual(page.complaints, []);
  });

  test("new connections and gaps are marked on the chart", async () => {
    // Upright lines of a colour, of which so much of the chart's height is drawn. Neighbouring columns are one line.
    const lines = (name, share) => page.evaluate(([name, share]) => {
      const canvas = document.querySelector("#chart canvas");
      const { width, height } = canvas;
      const probe = Object.assign(document.createElement("canvas"), { width, height }).getContext("2d", { willReadFrequently: true });
      probe.fillStyle = getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
      probe.fillRect(0, 0, 1, 1);
      const wanted = probe.getImageData(0, 0, 1, 1).data;
      probe.clearRect(0, 0, 1, 1);
      probe.drawImage(canvas, 0, 0);
      const { data } = probe.getImageData(0, 0, width, height);
      const isWanted = (x, y) => {
        const at = 4 * (y * width + x);
        return data[at + 3] > 60 && [0, 1, 2].every((part) => Math.abs(data[at + part] - wanted[part]) < 8);
      };
      const columns = Array.from({ length: width }, (_, x) => Array.from({ length: height }, (_, y) => y).filter((y) => isWanted(x, y)).length > share * height);
      return columns.filter((is, x) => is && !columns[x - 1]).length;
    }, [name, share]);
    const drawn = (name, share, count) => until(`${count} lines of ${name}`, async () => (await lines(name, share)) === count, { every: 250 });
    const writer = await visit();
    // All three of them lie on one another.
    await drawn("sse", 0.25, 1);
    await within("sse", "button").click();
    // Lines are drawn by the second.
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    await within("sse", "button").click();
    await drawn("sse", 0.25, 2);
    assert.equal(await lines("bad", 0.5), 0);
    await within("sse", "button").click();
    await shows("sse", ".state", "cut");
    await writer.to(10);
    for (let n = 0; n < 3; n += 1) await publishAll(stack.base, Array.from({ length: 500 }, (_, n) => ({ channel: writer.channel, data: n })));
    await within("sse", "button").click();
    await drawn("bad", 0.5, 1);
    assert.deepEqual(page.complaints, []);
  });

  test("case 13.3: when everything is cut the panes say that the server is unreachable, and continue where they were", async () => {
    const writer = await visit();
    await writer.to(5);
    await all(writer);
    proxy.cut();
    for (const pane of PANES) await shows(pane, ".state", "waiting");
    for (const pane of PANES) await within(pane, ".note").filter({ hasText: /^The server is unreachable/ }).waitFor();
    await axe("waiting");
    await writer.to(30);
    await page.waitForFunction((time) => Date.now() - time > 2_500, Number(writer.ids.at(-1).split("-")[0]));
    proxy.mend();
    await all(writer);
    for (const pane of PANES) await shows(pane, ".note", `Gone on after ${writer.ids[4]}`);
    for (const pane of PANES) await shows(pane, ".note", "25 messages caught up with, none lost");
  });

  test("a link brings a token along, which opens what is not public and is seen nowhere", async () => {
    page = await tab(browser, { locale: "en-GB", ...SIZES.desktop });
    await page.goto(`${proxy.base}/?channel=secret.play`);
    for (const pane of PANES) await shows(pane, ".state", "closed");
    for (const pane of PANES) await shows(pane, ".note", /token/i);
    // Refused requests are told on the console by the browser itself.
    page.complaints.length = 0;
    const address = `${proxy.base}/?channel=secret.play`;
    await page.goto("about:blank");
    await page.goto(`${address}#token=${token()}`);
    for (const pane of PANES) await shows(pane, ".state", "open");
    assert.equal(page.url(), address);
    await page.getByRole("button", { name: "Publish" }).click();
    for (const pane of PANES) await shows(pane, ".messages .data", '{"code":42}');
    assert.deepEqual(page.complaints, []);
  });

  test("what went wrong is said in the language of the page, and again when that changes", async () => {
    const says = (pane, text) => within(pane, ".note").filter({ hasText: text }).waitFor({ timeout: 15_000 });
    await visit();
    await page.getByRole("button", { name: "中文" }).click();
    assert.match(await page.locator("#chart-summary").textContent(), /每秒 \d+ 条消息/, "at once");
    Object.assign(proxy.to, { websocket: "refuse", sse: "hold", stream: "refuse" });
    proxy.breakAll();
    await says("chat", "WebSocket：被中间的设备或其他服务器拒绝");
    await says("sse", "事件流：6 秒内没有收到任何数据");
    await says("comet", "行流：得到 403 应答，但不是来自本服务器");
    await page.getByRole("button", { name: "English" }).click();
    await says("chat", "WebSocket: something between");
    await says("sse", "event stream: nothing came within 6 s");
    await says("comet", "stream of lines: answered 403, and not by the server");
    await page.getByRole("button", { name: "中文" }).click();
    proxy.cut();
    // The third was refused from the beginning, and is over.
    await says("sse", "无法连接服务器");
    assert.equal(await within("comet", ".state").textContent(), "已关闭");
    proxy.mend();
    for (const transport of Object.keys(proxy.to)) proxy.to[transport] = "pass";
    await page.locator("#channel").fill("secret.play");
    await page.locator("#channel").press("Enter");
    for (const [pane, way] of [["comet", "行流"], ["chat", "WebSocket"], ["sse", "事件流"]]) await says(pane, `${way}：这个频道需要令牌。`);
    await page.getByRole("button", { name: "发布" }).click();
    await page.locator("#published.bad").filter({ hasText: "这个频道需要令牌。" }).waitFor();
    await page.getByLabel("令牌").fill(token({ trident: { publish: ["other"], subscribe: ["other"] } }));
    await page.getByRole("button", { name: "发布" }).click();
    await page.locator("#published.bad").filter({ hasText: "令牌不允许" }).waitFor();
    await page.getByRole("button", { name: "收听" }).click();
    for (const pane of PANES) await says(pane, "令牌不允许");
    await page.locator('#talk-state[data-phase="open"]').waitFor({ timeout: 15_000 });
    await page.locator("#talk-room").fill("not a room");
    await page.getByRole("button", { name: "进入" }).click();
    await page.locator("#talk-typing.bad").filter({ hasText: "房间名无效" }).waitFor();
    // Nothing of what is said is left in English.
    const told = await page.locator(".note, .state, #published, #talk-typing, #talk-people, #chart-summary").allTextContents();
    for (const text of told) assert.doesNotMatch(text, /[a-z]{2,} [a-z]{2,}/, text);
    await page.getByRole("button", { name: "English" }).click();
    await page.locator("#published.bad").filter({ hasText: "The token does not allow this" }).waitFor();
    await page.locator("#talk-typing.bad").filter({ hasText: "That is no room" }).waitFor();
    for (const pane of PANES) await says(pane, "does not allow this");
  });

  test("wrong input is told where it is made, and what was refused or never came can be asked for again", async () => {
    await visit();
    await page.locator("#channel").fill("no channel");
    await page.locator("#channel").press("Enter");
    await page.locator("#channel:invalid").waitFor();
    for (const pane of PANES) assert.equal(await within(pane, ".state").textContent(), "open");
    await page.getByLabel("Token").fill("令牌");
    await page.getByRole("button", { name: "Publish" }).click();
    await page.locator("#token:invalid").waitFor();
    assert.equal(await page.locator("#published").textContent(), "");
    await page.getByLabel("Token").fill(` ${token()} `);
    await page.locator("#event").fill("gap");
    await page.getByRole("button", { name: "Publish" }).click();
    await page.locator("#published.bad").filter({ hasText: "That is no event" }).waitFor();
    await page.getByLabel("Token").fill("");
    await page.locator("#channel").fill("secret.play");
    await page.locator("#channel").press("Enter");
    for (const pane of PANES) await shows(pane, ".state", "closed");
    await page.getByLabel("Token").fill(token());
    for (const pane of PANES) await page.locator(`#${pane}`).getByRole("button", { name: "Connect again" }).click();
    for (const pane of PANES) await shows(pane, ".state", "open");
    proxy.cut();
    await page.locator("#channel").fill("public.later");
    await page.locator("#channel").press("Enter");
    for (const pane of PANES) await shows(pane, ".state", "waiting");
    for (const pane of PANES) await within(pane, "button").click();
    for (const pane of PANES) await shows(pane, ".note", "Cut before anything came.");
    proxy.mend();
    for (const pane of PANES) await within(pane, "button").click();
    for (const pane of PANES) await shows(pane, ".state", "open");
  });

  test("two people chat, with names, rooms and typing, over a cut", async () => {
    await visit();
    const other = await tab(browser, { locale: "en-GB", ...SIZES.phone });
    await other.goto(`${proxy.base}/`);
    const room = `play-${process.pid}-${drawn}-${slug}`;
    for (const [who, name] of [[page, "Mei"], [other, "Arun"]]) {
      await who.locator('#talk-state[data-phase="open"]').waitFor();
      await who.getByLabel("Your name").fill(name);
      await who.getByRole("button", { name: "Take it" }).click();
      await who.getByLabel("Room").fill(room);
      await who.getByLabel("Room").press("Enter");
      await who.locator("#talk-people", { hasText: room }).filter({ hasText: name }).waitFor();
    }
    await page.locator("#talk-people", { hasText: "2 here" }).filter({ hasText: "Arun" }).waitFor();
    await other.getByLabel("Message to the chat").pressSequentially("hel");
    await page.locator("#talk-typing", { hasText: "typing: Arun" }).waitFor();
    await other.getByLabel("Message to the chat").fill("hello");
    await other.getByLabel("Message to the chat").press("Enter");
    const said = (who) => who.locator("#talk-said li").allTextContents();
    for (const who of [page, other]) await who.locator("#talk-said li", { hasText: "hello" }).waitFor();
    await page.locator("#talk-typing", { hasText: /^$/ }).waitFor({ state: "attached" });
    proxy.cut();
    for (const who of [page, other]) await who.locator('#talk-state[data-phase="waiting"]').waitFor();
    await publishAll(stack.base, ["one", "two"].map((data) => ({ channel: `chat.${room}`, event: "chat message", data })));
    proxy.mend();
    for (const who of [page, other]) {
      await who.locator("#talk-said li", { hasText: "two" }).waitFor({ timeout: 15_000 });
      assert.deepEqual(await said(who), ["Arunhello", "one", "two"]);
    }
    await page.getByLabel("Room").fill("not a room");
    await page.getByRole("button", { name: "Enter" }).click();
    await page.locator("#talk-typing.bad").filter({ hasText: /\w/ }).waitFor();
    await other.context().close();
  });

  test("another channel, by the keyboard alone", async () => {
    const writer = await visit();
    await writer.to(3);
    await all(writer);
    await page.getByLabel("Channel").first().focus();
    await page.keyboard.press("ControlOrMeta+A");
    await page.keyboard.type("time");
    await page.keyboard.press("Enter");
    for (const pane of PANES) await shows(pane, ".messages .data", "时间:");
    assert.match(page.url(), /\?channel=time$/);
    await page.locator("#comet button").focus();
    await page.keyboard.press("Enter");
    await shows("comet", ".state", "cut");
    await page.keyboard.press("Enter");
    await shows("comet", ".state", "open");
    assert.deepEqual(page.complaints, []);
  });

  // By finger on a phone. Whichever button comes to the page has to be added here.
  for (const [size, options] of Object.entries(SIZES)) {
    for (const [language, words] of Object.entries({
      English: { open: "open", cut: "cut", published: /^Published as \d+-\d+\.$/, back: "none lost", of: "1 here" },
      中文: { open: "已连接", cut: "已断开", published: /^已发布，id 为 \d+-\d+。$/, back: "无一丢失", of: "1 人在线" },
    })) {
      test(`every button: ${size}, ${language}`, async () => {
        const writer = await visit(options);
        const press = (place) => (options.hasTouch ? place.tap() : place.click());
        const button = (of) => page.locator(of);
        const done = new Set();
        const pressed = async (of) => {
          await press(button(of));
          done.add(of);
        };
        await pressed("#language");
        if (language === "English") {
          await shows("comet", ".state", "已连接");
          await press(button("#language"));
        }
        for (const pane of PANES) await shows(pane, ".state", words.open);

        for (const pane of PANES) {
          await pressed(`#${pane} button`);
          await shows(pane, ".state", words.cut);
        }
        await writer.to(3);
        for (const pane of PANES) {
          await press(button(`#${pane} button`));
          await shows(pane, ".state", words.open);
          await shows(pane, ".note", words.back);
        }
        await all(writer);
        for (const pane of PANES) {
          await within(pane, "select").selectOption("longpoll");
          await shows(pane, ".state", words.open);
        }

        await page.locator("#token").fill(token());
        await pressed("#publish button");
        await page.locator("#published").filter({ hasText: words.published }).waitFor();
        for (const pane of PANES) await shows(pane, ".messages .data", '{"code":42}');

        await page.locator("#channel").fill("time");
        await pressed("#choose button");
        for (const pane of PANES) await shows(pane, ".messages .data", "时间:");

        const room = `buttons-${process.pid}-${drawn}-${slug}`;
        await page.locator("#talk-name").fill("Mei");
        await pressed("#talk-name-form button");
        await page.locator("#talk-room").fill(room);
        await pressed("#talk-room-form button");
        await page.locator("#talk-people", { hasText: `${room} · ${words.of} · Mei` }).waitFor();
        await page.locator("#talk-text").fill("喝茶吗");
        await pressed("#talk-form button");
        await page.locator("#talk-said li", { hasText: "Mei喝茶吗" }).waitFor();
        assert.equal(await page.locator("#talk-text").inputValue(), "");

        assert.equal(await page.locator("button").count(), done.size, `pressed: ${[...done].join(", ")}`);
        for (const found of await page.locator("button").all()) assert.match(await found.textContent(), language === "English" ? /^([A-Z][a-z ]+|中文)$/ : /^(\p{Script=Han}+|English)$/u);
        assert.deepEqual(page.complaints, []);
      });
    }
  }

  test("everything that can be done is reached by Tab, in the order in which it stands, and what is reached is marked", async () => {
    await visit();
    const reached = [];
    for (;;) {
      await page.keyboard.press("Tab");
      const found = await page.evaluate(() => {
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
    const left = await page.locator(":is(a[href], button, input, select, textarea, [tabindex='0']):not([data-reached])").evaluateAll((all) => all.map((one) => one.id || one.outerHTML));
    assert.deepEqual(left, [], reached.map(({ place }) => place).join(", "));
    const inPlace = await page.locator("[data-reached]").evaluateAll((all) => all.map((one) => one.id || `${one.closest("[id]")?.id} ${one.localName}`));
    assert.deepEqual(reached.map(({ place }) => place), inPlace);
  });

  for (const [size, options] of Object.entries(SIZES)) {
    for (const colorScheme of ["light", "dark"]) {
      test(`labels and contrast, in both languages: ${size}, ${colorScheme}`, async () => {
        const writer = await visit({ ...options, colorScheme });
        await writer.to(5);
        await all(writer);
        await axe("English");
        await page.getByRole("button", { name: "中文" }).click();
        await shows("comet", ".state", "已连接");
        assert.equal(await page.locator("html").getAttribute("lang"), "zh-CN");
        assert.equal(await page.title(), "Trident 演练场");
        await axe("中文");
        const [width, wide] = await page.evaluate(() => [document.documentElement.clientWidth, document.documentElement.scrollWidth]);
        assert.equal(wide, width, "nothing sticks out");
        await page.screenshot({ path: path.join(OUT, `playground-${slug}-${size}-${colorScheme}.png`), fullPage: true });
        await page.reload();
        await shows("sse", ".state", "已连接");
        assert.deepEqual(page.complaints, []);
      });
    }
  }
});
