// The playground in Chromium: its panes. What is published arrives once on each transport, whatever happens in between.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { SIZES, picture, tab } from "../lib/browser.js";
import { chance } from "../lib/random.js";
import { ONE_LOG, PINGS, STANDALONE, startService } from "../lib/stack.js";
import { token } from "../lib/token.js";
import { until } from "../lib/wait.js";
import { PANES, Playground } from "./playground.js";
import { publishAll } from "./writer.js";

for (const kind of [STANDALONE, ONE_LOG]) describe(`playground: ${kind}`, () => {
  const play = new Playground(kind);

  test("the demo channel ticks in all three panes", async () => {
    await play.visit(SIZES.desktop, "random");
    for (const pane of PANES) await play.shows(pane, ".messages .data", '{"code":');
    await play.page.waitForFunction(() => /\d+ ms.*\d+ ms.*\d+ ms/.test(document.getElementById("chart-summary").textContent));
    assert.ok(await play.page.locator("#chart canvas").isVisible());
    assert.deepEqual(play.page.complaints, []);
  });

  // The one that README.md shows: `make screenshot` puts it there.
  test("a screenshot of it in use", async () => {
    const writer = await play.visit({ viewport: { width: 1280, height: 900 } }, `public.prices-${play.slug}`);
    await play.page.locator("#token").fill(token({ trident: { publish: ["public.*", "orders.*"], subscribe: ["orders.*"] } }));
    const pick = chance();
    for (let part = 1; part <= 40; part += 1) {
      await writer.to(writer.ids.length + 1 + pick(9), 25 * pick(8));
      if (part === 12 || part === 18) await play.switch("chat").click();
    }
    await play.all(writer);
    await play.within("sse", "select").selectOption("longpoll");
    await play.shows("sse", ".note", "none lost");
    await play.page.getByLabel("Message to the chat").fill("Disconnected, and nothing is lost.");
    await play.page.getByLabel("Message to the chat").press("Enter");
    await play.page.locator("#talk-said li").waitFor();
    await play.page.waitForFunction(() => /\d+ ms.*\d+ ms.*\d+ ms/.test(document.getElementById("chart-summary").textContent));
    await play.page.evaluate(() => scrollTo(0, 0));
    await picture(play.page, `playground-${play.slug}`);
    assert.deepEqual(play.page.complaints, []);
  });

  test("a pane that was disconnected, or changed its transport, gets all missed messages", async () => {
    const writer = await play.visit();
    await writer.to(10);
    await play.all(writer);
    for (const pane of PANES) await play.switch(pane).click();
    for (const pane of PANES) await play.shows(pane, ".state", "disconnected");
    await play.axe("disconnected");
    await writer.to(30);
    // Old enough to count as missed.
    await play.page.waitForFunction(([time]) => Date.now() - time > 2_500, [Number(writer.ids.at(-1).split("-")[0])]);
    for (const pane of PANES) await play.switch(pane).click();
    await play.all(writer);
    for (const pane of PANES) await play.shows(pane, ".note", `Resumed after ${writer.ids[9]}`);
    for (const pane of PANES) await play.shows(pane, ".note", "20 missed messages delivered, none lost");
    for (const [at, transport] of ["longpoll", "sse", "stream", "ws", "websocket"].entries()) {
      for (const pane of PANES) await play.within(pane, "select").selectOption(transport);
      await writer.to(40 + 10 * at);
      await play.all(writer);
    }
    assert.deepEqual(play.page.complaints, []);
  });

  for (const [clock, skew] of [["ahead", 600_000], ["behind", -600_000]]) {
    test(`a device whose clock is ${clock} shows correct latencies and missed messages`, async () => {
      const shift = (skew) => {
        const { now } = Date;
        Date.now = () => now() + skew;
      };
      const writer = await play.visit(SIZES.desktop, undefined, (page) => page.addInitScript(shift, skew));
      for (const pane of PANES) await play.switch(pane).click();
      for (const pane of PANES) await play.shows(pane, ".state", "disconnected");
      await writer.to(20);
      // Before a message has arrived, the server's clock is known to the second.
      await new Promise((resolve) => setTimeout(resolve, 3_000));
      for (const pane of PANES) await play.switch(pane).click();
      for (const pane of PANES) await play.shows(pane, ".note", "20 missed messages delivered, none lost");
      await writer.to(25);
      await play.all(writer);
      for (const pane of PANES) {
        assert.match(await play.within(pane, ".note").textContent(), /: 20 missed messages delivered/);
        assert.match(await play.within(pane, "[data-show=latency]").textContent(), /^\d+ ms$/);
        const ages = await play.within(pane, ".messages .age").allTextContents();
        for (const [at, age] of ages.entries()) assert.match(age, at < 5 ? /^\d+ ms$/ : /^\+\d s$/);
      }
      assert.deepEqual(play.page.complaints, []);
    });
  }

  test("expired messages are reported as a gap", async () => {
    const writer = await play.visit();
    await writer.to(5);
    await play.all(writer);
    await play.switch("sse").click();
    await play.shows("sse", ".state", "disconnected");
    const lines = Array.from({ length: 500 }, (_, n) => ({ channel: writer.channel, data: n }));
    for (let n = 0; n < 3; n += 1) {
      writer.ids.push(...(await publishAll(play.stack.base, lines)));
      // The connected ones miss nothing, however slow this machine is: a channel stores twice as much.
      for (const pane of ["comet", "chat"]) await play.shows(pane, ".messages .id", writer.ids.at(-1));
    }
    await play.switch("sse").click();
    await play.shows("sse", "[data-show=gaps]", "1");
    await play.shows("sse", ".note", "Gaps: 1. Some messages expired");
    for (const pane of PANES) await play.shows(pane, ".messages .id", writer.ids.at(-1));
    await play.shows("comet", "[data-show=count]", "1505");
    // The five from before, and the thousand that are stored.
    await play.shows("sse", "[data-show=count]", "1005");
    assert.doesNotMatch(await play.within("sse", ".note").textContent(), /none lost/);
    await play.axe("gap");
    assert.deepEqual(play.page.complaints, []);
  });

  test("new connections and gaps are marked on the chart", async () => {
    // Vertical lines of a colour that cover so much of the chart's height. Neighbouring columns are one line.
    const lines = (name, share) => play.page.evaluate(([name, share]) => {
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
    const writer = await play.visit();
    // All three lie on one another.
    await drawn("sse", 0.25, 1);
    await play.switch("sse").click();
    // There is at most one line per second.
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    await play.switch("sse").click();
    await drawn("sse", 0.25, 2);
    assert.equal(await lines("bad", 0.5), 0);
    await play.switch("sse").click();
    await play.shows("sse", ".state", "disconnected");
    await writer.to(10);
    for (let n = 0; n < 3; n += 1) await publishAll(play.stack.base, Array.from({ length: 500 }, (_, n) => ({ channel: writer.channel, data: n })));
    await play.switch("sse").click();
    await drawn("bad", 0.5, 1);
    assert.deepEqual(play.page.complaints, []);
  });

  test("case 13.3: when the network fails the panes say that the server is unreachable, and resume where they were", async () => {
    const writer = await play.visit();
    await writer.to(5);
    await play.all(writer);
    play.proxy.cut();
    for (const pane of PANES) await play.shows(pane, ".state", "reconnecting");
    for (const pane of PANES) await play.within(pane, ".note").filter({ hasText: /^The server is unreachable\. Trying again\.$/ }).waitFor();
    await play.axe("waiting");
    await writer.to(30);
    await play.page.waitForFunction((time) => Date.now() - time > 2_500, Number(writer.ids.at(-1).split("-")[0]));
    play.proxy.mend();
    await play.all(writer);
    for (const pane of PANES) await play.shows(pane, ".note", `Resumed after ${writer.ids[4]}`);
    for (const pane of PANES) await play.shows(pane, ".note", "25 missed messages delivered, none lost");
  });

  test("a blocked WebSocket is named, and the next transport is offered", async () => {
    const writer = await play.visit();
    await writer.to(3);
    await play.all(writer);
    play.proxy.set("websocket", "refuse");
    await play.shows("chat", ".note", "WebSocket is blocked: a proxy or firewall between this page and the server rejects it.");
    await play.axe("blocked");
    await writer.to(8);
    await play.within("chat", "[data-do=offer]").filter({ hasText: "Use SSE instead" }).click();
    await play.shows("chat", ".state", "open");
    assert.equal(await play.within("chat", "select").inputValue(), "sse");
    await play.all(writer);
    await play.within("chat", "[data-do=offer]").waitFor({ state: "hidden" });
  });

  test("a stopped server is described in the same words in all panes, the chat and the form", async () => {
    const own = await startService("standalone", PINGS);
    try {
      play.page = await tab(play.browser, { locale: "en-GB" });
      await play.page.goto(`${own.base}/?channel=random#token=${token()}`);
      for (const pane of PANES) await play.shows(pane, ".messages .data", "code");
      await play.page.locator('#talk-state[data-phase="open"]').waitFor();
      await own.stop();
      const words = "The server is unreachable. Trying again.";
      for (const pane of PANES) await play.within(pane, ".note").filter({ hasText: new RegExp(`^${words}$`) }).waitFor({ timeout: 15_000 });
      await play.page.locator("#talk-typing.bad").filter({ hasText: words }).waitFor();
      await play.page.locator("#publish [type=submit]").click();
      await play.page.locator("#published.bad").filter({ hasText: /^The server is unreachable\. Try again\.$/ }).waitFor();
      // At one moment, and not one after the other.
      const notes = await play.page.locator(".note").allTextContents();
      assert.deepEqual(notes, [words, words, words]);
    } finally {
      await own.stop();
    }
  });
});
