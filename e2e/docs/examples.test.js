// Code of the docs in situations that their readers meet later, with a server that the test makes.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { describe, test } from "node:test";
import { ROOT } from "../lib/stack.js";
import { until } from "../lib/wait.js";

/** The block of a page that has `mark` in it. */
function block(page, mark) {
  const blocks = readFileSync(path.join(ROOT, page), "utf8").matchAll(/```(?:js|html)\n([^]*?)```/g);
  return [...blocks].map(([, code]) => code).find((code) => code.includes(mark));
}

describe("docs/MIGRATING.md: a client that subscribes", () => {
  function begin(answers) {
    const listeners = {};
    const asked = [];
    const waits = [];
    const socket = {
      connected: true,
      recovered: false,
      on: (event, listener) => { listeners[event] = listener; },
      emit: (_event, { since }, ack) => {
        asked.push(since);
        ack(answers.shift());
      },
    };
    const logged = [];
    const code = block("docs/MIGRATING.md", 'emit("subscribe"');
    new Function("io", "token", "show", "reload", "setTimeout", "console", code)(() => socket, "t", () => {}, () => {}, (what) => waits.push(what), { error: (error) => logged.push(error.code) });
    return { asked, logged, waits, happens: (event, ...args) => listeners[event](...args) };
  }

  test("resumes from the start of its subscription if no message had arrived", () => {
    const { asked, happens } = begin([{ ok: true, cursor: "5-0" }, { ok: true, cursor: "9-0" }, { ok: true, cursor: "9-0" }]);
    happens("connect");
    happens("connect");
    happens("changed", {}, { id: "7-0" });
    happens("connect");
    assert.deepEqual(asked, [undefined, "5-0", "7-0"]);
  });

  test("resumes after a gap, not before it", () => {
    const { asked, happens } = begin([{ ok: true, cursor: "5-0" }, { ok: true, cursor: "20-0" }]);
    happens("connect");
    happens("gap", { requested: "5-0", resumed: "12-0" });
    happens("connect");
    assert.deepEqual(asked, [undefined, "12-0"]);
  });

  test("repeats a subscription after a temporary failure, and reports a rejected one", () => {
    const refused = (code) => ({ ok: false, error: { code, message: code } });
    const { asked, waits, logged, happens } = begin([refused("bus_unavailable"), refused("insufficient_scope")]);
    happens("connect");
    assert.equal(waits.length, 1);
    waits[0]();
    assert.deepEqual([asked.length, waits.length, logged], [2, 1, ["insufficient_scope"]]);
  });
});

test("docs/TUTORIAL.md: the long poll pauses after an answer that is not JSON, and aborts one that does not arrive", async () => {
  const [poll] = /async function poll\(\) \{[^]*?\n  \}/.exec(block("docs/TUTORIAL.md", "async function poll"));
  const waits = [];
  const signals = [];
  const fetch = async (_, { signal } = {}) => {
    signals.push(signal);
    if (signals.length > 2) return new Promise(() => {});
    return new Response("<h1>captive portal</h1>", { status: 200 });
  };
  const pause = (what, milliseconds) => {
    waits.push(milliseconds);
    setImmediate(what);
  };
  new Function("fetch", "setTimeout", "server", "show", `${poll}\npoll();`)(fetch, pause, "http://server", () => {});
  await until("the third request", () => signals.length === 3);
  assert.ok(waits.length === 2 && waits.every((wait) => wait >= 1_000), waits.join(" "));
  assert.ok(signals.every((signal) => signal instanceof AbortSignal));
});
