// The playground in Chromium: its forms. Publishing, tokens, messages in full, the chat, and wrong input.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { describe, test } from "node:test";
import { promisify } from "node:util";
import { io } from "socket.io-client";
import { SIZES, tab } from "../lib/browser.js";
import { ONE_LOG, STANDALONE } from "../lib/stack.js";
import { token } from "../lib/token.js";
import { PANES, Playground } from "./playground.js";
import { publishAll } from "./writer.js";

for (const kind of [STANDALONE, ONE_LOG]) describe(`playground, input: ${kind}`, () => {
  const play = new Playground(kind);

  test("publishing by the form, with the command that does the same", async () => {
    await play.visit();
    await play.page.getByLabel("Token").fill(token());
    await play.page.locator("#event").fill("greeting");
    await play.page.locator("#data").fill("it's 时间");
    await play.page.locator("#format").selectOption("text");
    const command = await play.page.locator("#curl").textContent();
    assert.match(command, /^printf 'Token: '; read -rs TOKEN && curl 'http:\/\/127\.0\.0\.1:\d+\/events\?channel=public\.play-[^']+&event=greeting'/);
    assert.ok(command.includes(`-d '"it'\\''s 时间"'`), command);
    assert.ok(!command.includes(token()), "no token is shown");
    await play.page.getByRole("button", { name: "Publish" }).click();
    for (const pane of PANES) await play.shows(pane, ".messages .data", "it's 时间");
    const [id] = await play.ids("sse");
    assert.equal(await play.page.locator("#published").textContent(), `Published as ${id}.`);
    // The command as it is pasted, and the token as it is typed after it.
    const { TOKEN, ...env } = process.env;
    const shell = promisify(execFile)("bash", ["-s"], { env });
    shell.child.stdin.end(`${command}\n${token()}\n`);
    const { id: other } = JSON.parse((await shell).stdout.replace("Token: ", ""));
    for (const pane of PANES) await play.shows(pane, ".messages .id", other);
    assert.deepEqual(await play.within("sse", ".messages .data").allTextContents(), ["it's 时间", "it's 时间"]);
    await play.page.getByLabel("Token").fill("");
    assert.match(await play.page.locator("#curl").textContent(), /^curl '/);
    await play.page.getByRole("button", { name: "Publish" }).click();
    await play.page.locator("#published.bad").filter({ hasText: "This channel needs a token" }).waitFor();
    await play.axe("refused");
  });

  test("the name of a channel may have segments", async () => {
    await play.visit();
    for (const id of ["to", "channel"]) {
      const input = play.page.locator(`#${id}`);
      for (const [name, isValid] of [["orders/17", true], ["a b", false]]) {
        await input.fill(name);
        assert.equal(await input.evaluate((element) => element.checkValidity()), isValid, name);
      }
    }
  });

  test("bad JSON is not published, and may be sent as text", async () => {
    await play.visit();
    await play.page.locator("#token").fill(token());
    await play.page.locator("#data").fill("{bad");
    await play.page.getByRole("button", { name: "Publish" }).click();
    const error = play.page.locator("#data-error");
    await error.filter({ hasText: "This is not valid JSON" }).waitFor();
    assert.equal(await play.page.locator("#data").getAttribute("aria-invalid"), "true");
    assert.equal(await play.page.evaluate(() => document.activeElement.id), "data");
    assert.match(await play.page.locator("#curl").textContent(), /not valid JSON/);
    await play.axe("bad JSON");
    await play.page.getByRole("button", { name: "中文" }).click();
    await error.filter({ hasText: "这不是有效的 JSON" }).waitFor();
    await play.page.getByRole("button", { name: "English" }).click();
    // What was typed is sent: JavaScript, as the panes show it, rounds the number.
    const typed = '{"good": 12345678901234567890}';
    const shown = JSON.stringify(JSON.parse(typed));
    await play.page.locator("#data").fill(typed);
    await error.waitFor({ state: "hidden" });
    const command = await play.page.locator("#curl").textContent();
    assert.ok(command.includes(`-d '${typed}'`), command);
    const posted = play.page.waitForRequest((request) => request.method() === "POST");
    await play.page.getByRole("button", { name: "Publish" }).click();
    assert.equal((await posted).postData(), typed);
    await play.shows("sse", ".messages .data", shown);
    await play.page.locator("#data").fill("{bad");
    await play.page.getByRole("button", { name: "Publish" }).click();
    await play.page.getByRole("button", { name: "Send as text" }).click();
    for (const pane of PANES) await play.shows(pane, ".messages .data", "{bad");
    // Neither of the refused ones was published.
    for (const pane of PANES) assert.deepEqual(await play.within(pane, ".messages .data").allTextContents(), ["{bad", shown], pane);
    assert.deepEqual(play.page.complaints, []);
  });

  test("the form says what the token allows, where to get one, and picks a channel that may be published to", async () => {
    await play.visit(SIZES.desktop, "random");
    const state = play.page.locator("#token-state");
    await state.filter({ hasText: "“standalone token --help” shows how. A standalone that starts without TRIDENT_SECRET prints a link" }).waitFor();
    await play.page.locator("#token").fill(token({ trident: { publish: ["orders", "news.*"], subscribe: ["jobs"] } }));
    assert.equal(await play.page.locator("#to").inputValue(), "orders");
    await state.filter({ hasText: /^Publish: orders, news\.\*\. Receive: jobs, and public channels\. Valid until .+\.$/ }).waitFor();
    await play.page.locator("#to").fill("random");
    await state.and(play.page.locator(".bad")).filter({ hasText: "This token does not allow publishing to random. It allows: orders, news.*." }).waitFor();
    await play.page.locator("#token").fill(token({ trident: { publish: ["public.*"], subscribe: [] } }));
    assert.equal(await play.page.locator("#to").inputValue(), "public.hello");
    await state.filter({ hasText: "Receive: public channels. Valid" }).waitFor();
    await play.page.getByRole("button", { name: "Publish" }).click();
    await play.page.locator("#published").filter({ hasText: "to public.hello. The panes below listen to another channel." }).waitFor();
    await play.page.getByRole("button", { name: "Listen to public.hello" }).click();
    for (const pane of PANES) await play.shows(pane, ".messages .data", '{"code":42}');
    await play.page.locator("#token").fill(token({ exp: 1 }));
    await state.filter({ hasText: "This token expired at" }).waitFor();
    await play.page.locator("#token").fill("abc");
    await state.filter({ hasText: "This is not a token" }).waitFor();
    assert.deepEqual(play.page.complaints, []);
  });

  test("a link with a token and no channel opens one that may be published to", async () => {
    play.page = await tab(play.browser, { locale: "en-GB", ...SIZES.desktop });
    await play.page.goto(`${play.proxy.base}/#token=${token({ trident: { publish: ["public.*"], subscribe: [] } })}`);
    for (const pane of PANES) await play.shows(pane, ".state", "open");
    assert.deepEqual(await play.page.locator("#to, #channel").evaluateAll((all) => all.map(({ value }) => value)), ["public.hello", "public.hello"]);
    await play.page.locator("#data").fill(JSON.stringify(play.name("first")));
    await play.page.getByRole("button", { name: "Publish" }).click();
    for (const pane of PANES) await play.shows(pane, ".messages .data", "first");
    assert.deepEqual(play.page.complaints, []);
  });

  test("a message opens in full, by mouse and by keyboard, and can be copied", async () => {
    const writer = await play.visit();
    await play.page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
    for (const pane of PANES) await play.shows(pane, ".empty", `No messages yet. Publish to ${writer.channel} with the form above`);
    const data = { list: Array.from({ length: 200 }, (_, n) => `entry ${n}`), last: "the end" };
    const [id] = await publishAll(play.stack.base, [{ channel: writer.channel, data }]);
    for (const pane of PANES) await play.shows(pane, ".messages .id", id);
    await play.within("comet", ".messages li").click();
    const json = play.page.locator("#message-json");
    const shown = JSON.parse(await json.textContent());
    assert.deepEqual([shown.id, shown.channel, shown.data], [id, writer.channel, data]);
    await play.axe("a message");
    await play.page.getByRole("button", { name: "Copy" }).filter({ visible: true }).click();
    await play.page.locator("#message-copy", { hasText: "Copied" }).waitFor();
    assert.equal(await play.page.evaluate(() => navigator.clipboard.readText()), await json.textContent());
    await play.page.keyboard.press("Escape");
    await play.page.locator("#message").waitFor({ state: "hidden" });
    await play.within("sse", ".messages ol").focus();
    for (const key of ["ArrowDown", "Enter"]) await play.page.keyboard.press(key);
    assert.equal(JSON.parse(await json.textContent()).id, id);
    await play.page.keyboard.press("Escape");
    assert.equal(await play.page.evaluate(() => document.activeElement.closest(".pane").id), "sse", "focus returns to the list");
    assert.deepEqual(play.page.complaints, []);
  });

  test("a link brings a token, which opens private channels and does not stay in the address", async () => {
    play.page = await tab(play.browser, { locale: "en-GB", ...SIZES.desktop });
    await play.page.goto(`${play.proxy.base}/?channel=secret.play`);
    for (const pane of PANES) await play.shows(pane, ".state", "closed");
    for (const pane of PANES) await play.shows(pane, ".note", /token/i);
    // The browser itself reports refused requests on the console.
    play.page.complaints.length = 0;
    const address = `${play.proxy.base}/?channel=secret.play`;
    await play.page.goto("about:blank");
    await play.page.goto(`${address}#token=${token()}`);
    for (const pane of PANES) await play.shows(pane, ".state", "open");
    assert.equal(play.page.url(), address);
    await play.page.getByRole("button", { name: "Publish" }).click();
    for (const pane of PANES) await play.shows(pane, ".messages .data", '{"code":42}');
    assert.deepEqual(play.page.complaints, []);
  });

  test("wrong input is reported at its field, and a refused or failed connection can be tried again", async () => {
    await play.visit();
    await play.page.locator("#channel").fill("no channel");
    await play.page.locator("#channel").press("Enter");
    await play.page.locator("#channel:invalid").waitFor();
    for (const pane of PANES) assert.equal(await play.within(pane, ".state").textContent(), "open");
    await play.page.getByLabel("Token").fill("令牌");
    await play.page.getByRole("button", { name: "Publish" }).click();
    await play.page.locator("#token:invalid").waitFor();
    assert.equal(await play.page.locator("#published").textContent(), "");
    await play.page.getByLabel("Token").fill(` ${token()} `);
    await play.page.locator("#event").fill("gap");
    await play.page.getByRole("button", { name: "Publish" }).click();
    await play.page.locator("#published.bad").filter({ hasText: "An event's name is" }).waitFor();
    await play.page.getByLabel("Token").fill("");
    await play.page.locator("#channel").fill("secret.play");
    await play.page.locator("#channel").press("Enter");
    for (const pane of PANES) await play.shows(pane, ".state", "closed");
    await play.page.getByLabel("Token").fill(token());
    for (const pane of PANES) await play.page.locator(`#${pane}`).getByRole("button", { name: "Connect" }).click();
    for (const pane of PANES) await play.shows(pane, ".state", "open");
    play.proxy.cut();
    await play.page.locator("#channel").fill("public.later");
    await play.page.locator("#channel").press("Enter");
    for (const pane of PANES) await play.shows(pane, ".state", "reconnecting");
    for (const pane of PANES) await play.switch(pane).click();
    for (const pane of PANES) await play.shows(pane, ".note", "Disconnected before the first message.");
    play.proxy.mend();
    for (const pane of PANES) await play.switch(pane).click();
    for (const pane of PANES) await play.shows(pane, ".state", "open");
  });

  test("two people chat, with names, rooms and typing, over an interruption", async () => {
    await play.visit();
    const other = await tab(play.browser, { locale: "en-GB", ...SIZES.phone });
    await other.goto(`${play.proxy.base}/`);
    const room = play.name("play");
    for (const [who, name] of [[play.page, "Mei"], [other, "Arun"]]) {
      await who.locator('#talk-state[data-phase="open"]').waitFor();
      await who.getByLabel("Your name").fill(name);
      await who.getByRole("button", { name: "Set" }).click();
      await who.getByLabel("Room").fill(room);
      await who.getByLabel("Room").press("Enter");
      await who.locator("#talk-people", { hasText: room }).filter({ hasText: name }).waitFor();
    }
    await play.page.locator("#talk-people", { hasText: "2 here" }).filter({ hasText: "Arun" }).waitFor();
    await other.getByLabel("Message to the chat").pressSequentially("hel");
    await play.page.locator("#talk-typing", { hasText: "typing: Arun" }).waitFor();
    await other.getByLabel("Message to the chat").fill("hello");
    await other.getByLabel("Message to the chat").press("Enter");
    const said = (who) => who.locator("#talk-said li").allTextContents();
    for (const who of [play.page, other]) await who.locator("#talk-said li", { hasText: "hello" }).waitFor();
    await play.page.locator("#talk-typing", { hasText: /^$/ }).waitFor({ state: "attached" });
    play.proxy.cut();
    for (const who of [play.page, other]) await who.locator('#talk-state[data-phase="waiting"]').waitFor();
    await publishAll(play.stack.base, ["one", "two"].map((data) => ({ channel: `chat.${room}`, event: "chat message", data })));
    play.proxy.mend();
    for (const who of [play.page, other]) {
      await who.locator("#talk-said li", { hasText: "two" }).waitFor({ timeout: 15_000 });
      assert.deepEqual(await said(who), ["Arunhello", "one", "two"]);
    }
    await play.page.getByLabel("Room").fill("not a room");
    await play.page.getByRole("button", { name: "Enter" }).click();
    await play.page.locator("#talk-typing.bad").filter({ hasText: "_ - . ~ and / between segments." }).waitFor();
    await other.context().close();
  });

  test("right-to-left names do not reorder the text around them", async () => {
    await play.visit();
    const room = play.name("bidi");
    const names = ["אבג", "דהו"];
    const others = [];
    for (const name of names) {
      const socket = io(play.stack.base, { forceNew: true, transports: ["websocket"] });
      others.push(socket);
      assert.equal((await socket.emitWithAck("name", name)).ok, true);
      assert.equal((await socket.emitWithAck("join", room)).ok, true);
    }
    await play.page.locator('#talk-state[data-phase="open"]').waitFor();
    await play.page.getByLabel("Room").fill(room);
    await play.page.getByLabel("Room").press("Enter");
    for (const name of names) await play.page.locator("#talk-people", { hasText: name }).waitFor();
    for (const socket of others) await socket.emitWithAck("typing", true);
    for (const name of names) await play.page.locator("#talk-typing", { hasText: name }).waitFor();
    for (const place of ["#talk-people", "#talk-typing"]) {
      // Where each name begins on the screen, in the order of the text.
      const lefts = await play.page.locator(place).evaluate((element, names) => {
        const texts = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
        const found = [];
        for (let text = texts.nextNode(); text; text = texts.nextNode()) {
          for (const name of names) {
            const at = text.data.indexOf(name);
            if (at < 0) continue;
            const range = document.createRange();
            range.setStart(text, at);
            range.setEnd(text, at + name.length);
            found.push([element.textContent.indexOf(name), range.getBoundingClientRect().left]);
          }
        }
        return found.toSorted(([a], [b]) => a - b).map(([, left]) => left);
      }, names);
      assert.equal(lefts.length, 2, place);
      assert.ok(lefts[0] < lefts[1], `${place}: ${lefts}`);
    }
    for (const socket of others) socket.disconnect();
  });

  test("another channel is opened by the keyboard alone", async () => {
    const writer = await play.visit();
    await writer.to(3);
    await play.all(writer);
    await play.page.locator("#channel").focus();
    await play.page.keyboard.press("ControlOrMeta+A");
    await play.page.keyboard.type("time");
    await play.page.keyboard.press("Enter");
    for (const pane of PANES) await play.shows(pane, ".messages .data", "时间:");
    assert.match(play.page.url(), /\?channel=time$/);
    await play.page.locator("#comet [data-do=cut]").focus();
    await play.page.keyboard.press("Enter");
    await play.shows("comet", ".state", "disconnected");
    await play.page.keyboard.press("Enter");
    await play.shows("comet", ".state", "open");
    assert.deepEqual(play.page.complaints, []);
  });

  test("names and rooms of the maximum length are accepted, and longer ones are not", async () => {
    await play.visit(SIZES.phone);
    await play.page.locator('#talk-state[data-phase="open"]').waitFor();
    const room = play.name("long").padEnd(123, "r");
    await play.page.getByLabel("Your name").pressSequentially("n".repeat(41));
    await play.page.getByLabel("Your name").press("Enter");
    await play.page.getByLabel("Room").fill("");
    await play.page.getByLabel("Room").pressSequentially(`${room}r`);
    await play.page.getByLabel("Room").press("Enter");
    await play.page.locator("#talk-people").filter({ hasText: `${room} · 1 here · ${"n".repeat(40)}` }).waitFor();
    const [width, wide] = await play.page.evaluate(() => [document.documentElement.clientWidth, document.documentElement.scrollWidth]);
    assert.equal(wide, width, "nothing overflows");
  });
});
