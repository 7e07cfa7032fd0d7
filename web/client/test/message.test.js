import assert from "node:assert/strict";
import { test } from "node:test";
import { isAfter, isSelected } from "../dist/message.js";

test("ids in their order, past what a number holds", () => {
  const ids = ["0-0", "0-1", "9-0", "9-9", "9-10", "10-0", "1763800000000-0", "1763800000000-9007199254740993", "1763800000000-9007199254740994", "18446744073709551615-18446744073709551615"];
  ids.forEach((a, i) => ids.forEach((b, j) => assert.equal(isAfter(a, b), i > j, `${a} after ${b}`)));
});

test("channels and patterns select channels as the server's do", () => {
  assert.ok(isSelected(["a", "chat.*"], "chat.x/y") && isSelected(["a", "chat.*"], "a") && isSelected(["*"], "b"));
  for (const channel of ["ab", "chat", "$chat.x"]) assert.ok(!isSelected(["a", "chat.*", "*ab"], channel), channel);
  assert.ok(!isSelected(["*"], "$events"));
});
