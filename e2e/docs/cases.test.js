// docs/CASES.md and the tests agree: each case has a test that names it, and no test names a case that is not there.

import assert from "node:assert/strict";
import { test } from "node:test";
import { casesIn, casesWithoutTest, findTests, readCases, rustTests, scriptTests } from "../cases/scan.js";
import { ROOT } from "../lib/stack.js";

test("a marker names one case, several, or a range", () => {
  assert.deepEqual(casesIn("Case 4.1: text"), ["4.1"]);
  assert.deepEqual(casesIn("cases 9.5, 9.13 and 9.2: text"), ["9.5", "9.13", "9.2"]);
  assert.deepEqual(casesIn("Cases 2.1 to 2.4"), ["2.1", "2.2", "2.3", "2.4"]);
  assert.deepEqual(casesIn("in case 5 of 6"), []);
});

test("a marker counts only above a test function", () => {
  const source = "/// Case 1.1: this.\n#[tokio::test]\nasync fn one() {}\n\n/// Case 1.2: that.\nfn two() {}\n";
  assert.deepEqual(rustTests(ROOT, "shared/tests/memory.rs", source).map(({ name, cases }) => [name, cases]), [["one", ["1.1"]]]);
});

test("what becomes tests by a macro or by another function counts, too", () => {
  const source = "/// Case 1.1: this.\npub async fn one(route: Route) {}\n";
  const [{ name, target }] = rustTests(ROOT, "edge/src/testing/publishing/accepted.rs", source);
  assert.deepEqual([name, target], ["one", ["--test", "api"]]);
  const script = '    // Case 1.2.\n    attack("many at once", "what", async () => {});\n';
  assert.deepEqual(scriptTests("e2e/hostile/x.test.js", script).map(({ name, cases }) => [name, cases]), [["many at once", ["1.2"]]]);
});

test("every case has a test or is named as untested, and every test names a case that is listed", () => {
  const listed = readCases(ROOT).map(({ number }) => number);
  const named = new Set(findTests(ROOT).flatMap(({ cases }) => cases));
  assert.deepEqual(listed.filter((number) => !named.has(number)), casesWithoutTest(ROOT).toSorted((a, b) => listed.indexOf(a) - listed.indexOf(b)), "cases without a test");
  assert.deepEqual([...named].filter((number) => !listed.includes(number)), [], "tests of unknown cases");
});
