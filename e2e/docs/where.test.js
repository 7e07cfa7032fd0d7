// The table of docs/ARCHITECTURE.md that says where things are: each file exists and contains the name.

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { ROOT } from "../lib/stack.js";

const PAGE = "docs/ARCHITECTURE.md";

test(`${PAGE}: each question leads to a file that contains the name`, () => {
  const [, table] = readFileSync(path.join(ROOT, PAGE), "utf8").split("\n## Where is it?\n");
  const rows = [...table.split("\n## ")[0].matchAll(/^\| (Where[^|]*\?|Which[^|]*\?) \| \[`([^`]+)`\]\(([^)]+)\) \| `([^`]+)` \|$/gm)];
  assert.ok(rows.length >= 40, `${rows.length} rows`);
  const wrong = rows.flatMap(([, question, file, link, name]) => {
    if (path.join("docs", link) !== file) return [`${question} the link does not lead to ${file}`];
    if (!existsSync(path.join(ROOT, file))) return [`${question} ${file} does not exist`];
    const words = new RegExp(`(?<!\\w)${name.replaceAll(" ", "\\s+")}(?!\\w)`);
    return words.test(readFileSync(path.join(ROOT, file), "utf8")) ? [] : [`${question} ${file} does not contain ${name}`];
  });
  assert.deepEqual(wrong, []);
  const seen = new Set();
  const isSecond = (text) => seen.has(text) || !seen.add(text);
  assert.deepEqual(rows.flatMap(([, question, file, , name]) => [question, `${file}: ${name}`].filter(isSecond)), [], "twice");
  const unread = table.split("\n## ")[0].split("\n").filter((line) => line.startsWith("| ") && !/^\| (question|---|\*\*)/.test(line)).length - rows.length;
  assert.equal(unread, 0, "rows of another form");
});
