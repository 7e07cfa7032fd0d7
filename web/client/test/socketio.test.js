import assert from "node:assert/strict";
import { test } from "node:test";
import { socketio } from "../dist/transports/socketio.js";

const wanted = { base: new URL("http://server/"), channels: ["c"], credentials: "same-origin", silence: 1_000, room: 10 };

for (const [code, why, status] of [
  ["disconnected", "refused", 403],
  ["refused", "refused", 403],
  ["insufficient_scope", "refused", 403],
  ["bad_token", "refused", 401],
  ["token_needed", "refused", 401],
  ["auth_too_large", "refused", 400],
  ["bad_channel", "refused", 400],
  ["too_many_channels", "busy", undefined],
  ["bus_unavailable", "busy", undefined],
  ["backend_unavailable", "busy", undefined],
]) {
  test(`${code}: ${status ? `for good, as ${status}` : "for now"}`, async () => {
    const io = () => ({
      io: { on() {} },
      on: (event, listener) => event === "connect_error" && queueMicrotask(() => listener({ message: "told in words", data: { code } })),
      disconnect() {},
    });
    const end = await socketio(io)(wanted, { heard() {} }, new AbortController().signal);
    assert.deepEqual(end, { why, status, code, message: "told in words" });
  });
}
