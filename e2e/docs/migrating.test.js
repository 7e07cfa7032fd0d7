// Code of docs/MIGRATING.md that pages copy.

import assert from "node:assert/strict";
import { test } from "node:test";
import { blocksOf } from "./blocks.js";

test("case 13.12: pages that reload after a gap do so at different times", () => {
  const blocks = blocksOf("docs/MIGRATING.md").filter(({ text }) => text.includes("location.reload"));
  assert.ok(blocks.length > 0);
  for (const { text, line } of blocks) {
    const delays = [];
    for (let page = 0; page < 300; page += 1) {
      const listeners = {};
      const EventSource = class {
        addEventListener(name, listener) {
          listeners[name] = listener;
        }
      };
      const timers = [];
      const reload = () => assert.fail(`line ${line}: it reloads at once`);
      new Function("EventSource", "location", "setTimeout", "show", text)(EventSource, { reload }, (_, delay) => timers.push(delay), () => {});
      listeners.gap({ data: "{}" });
      assert.equal(timers.length, 1, `line ${line}`);
      delays.push(timers[0]);
    }
    // A thousand pages are at most about 100 a second.
    assert.ok(Math.min(...delays) >= 0 && Math.max(...delays) > 9_000 && new Set(delays).size > 290, `line ${line}: ${Math.max(...delays)}`);
  }
});
