// How long a publication is tried. Timers and `fetch` are replaced, so this has a process of its own: connections of `fetch` use timers, too.

import assert from "node:assert/strict";
import { test } from "node:test";
import { publish } from "../dist/index.js";

test("waits grow to 8 s, no attempt takes longer than 10 s, and it ends before the server forgets the key", async (t) => {
  const waits = [];
  let now = 0;
  // Time goes on as soon as somebody waits for it.
  const { fetch, setTimeout, clearTimeout } = globalThis;
  t.mock.method(Date, "now", () => now);
  t.after(() => Object.assign(globalThis, { fetch, setTimeout, clearTimeout }));
  Object.assign(globalThis, {
    setTimeout: (what, milliseconds) => {
      waits.push(milliseconds);
      return setImmediate(() => {
        now += milliseconds;
        what();
      });
    },
    clearTimeout: clearImmediate,
    fetch: (_, { signal }) => new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason))),
  });
  const hanging = publish({ channel: "c", data: 1 }, { url: "http://server/", attempts: 1_000 });
  await assert.rejects(hanging, (error) => error.why === "network" && /within 10 s/.test(error.cause.message));
  assert.ok(now > 200_000 && now <= 300_000, `${now} ms`);
  assert.ok(Math.max(...waits.filter((_, at) => at % 2 === 1)) <= 8_000);
});
