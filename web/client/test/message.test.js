import assert from "node:assert/strict";
import { test } from "node:test";
import { isAfter } from "../dist/index.js";

test("ids in their order, past what a number holds", () => {
  const ids = ["0-0", "0-1", "9-0", "9-9", "9-10", "10-0", "1763800000000-0", "1763800000000-9007199254740993", "1763800000000-9007199254740994", "18446744073709551615-18446744073709551615"];
  ids.forEach((a, i) => ids.forEach((b, j) => assert.equal(isAfter(a, b), i > j, `${a} after ${b}`)));
});
