// docs/CONFORMANCE.md names the tests that prove each line of it. Each of these names is looked up, so that a test that is renamed or
// removed is noticed.

import assert from "node:assert/strict";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { ROOT } from "../lib/stack.js";

const PAGE = "docs/CONFORMANCE.md";

/** The links of the form [`test`](file) of a line of Markdown. */
const links = (line) => [...line.matchAll(/\[`(.+?)`\]\(([^)]*)\)/g)].map(([, name, file]) => [name, file]);

/** Whether `source`, in the language of the suffix of `file`, has a test of this name. */
function has(file, source, name) {
  const lines = source.split("\n").map((line) => line.trim());
  switch (path.extname(file)) {
    case ".rs":
      // The attribute is one of those directly above: #[test], #[actix_web::test], also in `proptest!`.
      return lines.some((line, at) => {
        if (!line.replace(/^async /, "").startsWith(`fn ${name}(`)) return false;
        for (let above = at - 1; lines[above]?.startsWith("#["); above -= 1) if (lines[above].endsWith("test]")) return true;
        return false;
      });
    case ".js":
      return lines.some((line) => ["test(", "it("].some((call) => ['"', "`"].some((quote) => line.startsWith(`${call}${quote}${name}${quote}`))));
    case ".py":
      return lines.includes(`def ${name}(self):`);
    default:
      return false;
  }
}

test(`${PAGE}: every test that is named exists`, () => {
  const sources = new Map();
  const read = (file) => {
    if (!sources.has(file)) sources.set(file, existsSync(file) ? readFileSync(file, "utf8") : "");
    return sources.get(file);
  };
  const missing = [];
  let named = 0;
  for (const line of readFileSync(path.join(ROOT, PAGE), "utf8").split("\n")) {
    const tests = links(line);
    if (/^\| (?!what|---)/.test(line) && tests.length === 0) missing.push(`a line without a test: ${line}`);
    for (const [name, link] of tests) {
      const file = path.join(ROOT, "docs", link);
      named += 1;
      if (!has(file, read(file), name)) missing.push(`${path.relative(ROOT, file)}: ${name}`);
    }
  }
  assert.deepEqual(missing, []);
  assert.ok(named > 100, `${named} tests are named`);
});

test("names of tests are found only at tests", () => {
  const rust = "#[test]\nfn one() {}\n\n#[actix_web::test]\nasync fn two() {}\n\nfn helper() {}\n// fn three()\n";
  const js = 'test("four", async () => {});\nit(`five ${n}`, () => {});\n// six\n';
  const python = "class Test:\n    def test_seven(self):\n        pass\n";
  for (const [file, source, name, expected] of [
    ["a.rs", rust, "one", true],
    ["a.rs", rust, "two", true],
    ["a.rs", rust, "on", false],
    ["a.rs", rust, "helper", false],
    ["a.rs", rust, "three", false],
    ["a.js", js, "four", true],
    ["a.js", js, "five ${n}", true],
    ["a.js", js, "five", false],
    ["a.js", js, "six", false],
    ["a.py", python, "test_seven", true],
    ["a.py", python, "test_eight", false],
    ["a.txt", rust, "one", false],
  ]) {
    assert.equal(has(file, source, name), expected, `${file} ${name}`);
  }
  assert.deepEqual(links("| a | [`x y`](../b.js), [`z`](c.rs) |"), [["x y", "../b.js"], ["z", "c.rs"]]);
});

// Case 11.4: without TCP_NODELAY, the first event after the handshake waits for the client's delayed ACK, 40 ms or so.
test("case 11.4: every server in the examples and the documentation of the Socket.IO crates sends small events at once", () => {
  const folders = ["socketio/examples", "socketio-redis/examples"].flatMap((folder) => readdirSync(path.join(ROOT, folder)).map((file) => `${folder}/${file}`));
  const files = ["socketio/src/lib.rs", "socketio/src/server.rs", "socketio/src/engine_io.rs", "socketio-redis/src/lib.rs", ...folders.filter((file) => file.endsWith(".rs"))];
  const servers = files.flatMap((file) => readFileSync(path.join(ROOT, file), "utf8").split("HttpServer::new").slice(1).map((text) => [file, text.split(".run()")[0]]));
  assert.ok(servers.length >= 9, `${servers.length} servers`);
  assert.deepEqual(servers.filter(([, settings]) => !settings.includes(".tcp_nodelay(true)")).map(([file]) => file), []);
});
