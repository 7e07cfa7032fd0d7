// The playground of a stack in Chromium, behind a proxy that tests can spoil: what its tests share.

import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach } from "node:test";
import { violationsOn } from "../lib/axe.js";
import { launch, SIZES, tab } from "../lib/browser.js";
import { PINGS, startStack } from "../lib/stack.js";
import { Proxy } from "./proxy.js";
import { Writer } from "./writer.js";

export const PANES = ["comet", "chat", "sse"];

/** Call it in a `describe`: there is a stack for all of its tests, and a proxy for each. */
export class Playground {
  slug;
  stack;
  browser;
  proxy;
  page;
  #visits = 0;

  constructor(kind) {
    this.slug = kind.split(" ")[0];
    before(async () => {
      this.stack = await startStack(kind, PINGS);
      this.browser = await launch();
    });
    after(async () => {
      await this.browser?.close();
      await this.stack?.stop();
    });
    beforeEach(async () => {
      this.proxy = await Proxy.start(this.stack.base);
    });
    afterEach(async () => {
      await this.page?.context().close();
      await this.proxy.close();
    });
  }

  /** A name that no other test uses. */
  name(prefix) {
    return `${prefix}-${process.pid}-${this.slug}-${(this.#visits += 1)}`;
  }

  /** Opens the page on a channel of its own, waits until it is connected, and gives who publishes there. */
  async visit(options = SIZES.desktop, channel = this.name("public.play"), prepare = undefined) {
    this.page = await tab(this.browser, { locale: "en-GB", ...options });
    await prepare?.(this.page);
    await this.page.goto(`${this.proxy.base}/?channel=${channel}`);
    for (const pane of PANES) await this.shows(pane, ".state", "open");
    return new Writer(this.stack.base, channel);
  }

  within(pane, selector) {
    return this.page.locator(`#${pane} ${selector}`);
  }

  /** The button that connects and disconnects a pane. */
  switch(pane) {
    return this.within(pane, "[data-do=cut]");
  }

  shows(pane, selector, text) {
    return this.within(pane, selector).filter({ hasText: text }).first().waitFor({ timeout: 15_000 });
  }

  ids(pane) {
    return this.within(pane, ".messages .id").allTextContents();
  }

  /** Every pane has shown all messages of the writer, once and in order. */
  async all(writer) {
    for (const pane of PANES) {
      await this.page.waitForFunction(([pane, count]) => document.querySelector(`#${pane} [data-show=count]`).textContent === count, [pane, String(writer.ids.length)]);
      assert.deepEqual(await this.ids(pane), writer.ids.toReversed().slice(0, 40), pane);
    }
  }

  async axe(what) {
    assert.deepEqual(await violationsOn(this.page), [], what);
  }
}
