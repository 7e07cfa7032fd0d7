// The site is complete: it has each page of the documentation, and each of its links leads somewhere in it.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { build } from "./build.js";

let folder;
let files;
const read = (name) => readFileSync(path.join(folder, name), "utf8");
before(() => {
  folder = mkdtempSync(path.join(tmpdir(), "trident-site-"));
  files = build(folder);
});
after(() => rmSync(folder, { recursive: true }));

test("each page of docs/ and of the top level is in it", () => {
  const pages = execFileSync("git", ["ls-files", "--full-name", ":/*.md"], { encoding: "utf8" }).split("\n")
    .filter((page) => /^(docs\/.*|[^/]+)\.md$/.test(page));
  assert.ok(pages.length > 20, `${pages.length} pages`);
  const missing = pages.filter((page) => !files.includes(page === "README.md" ? "index.html" : page.replace(/\.md$/, ".html")));
  assert.deepEqual(missing, []);
});

test("each link leads to a file of the site, and to a heading that is there", () => {
  const broken = [];
  for (const page of files.filter((file) => file.endsWith(".html"))) {
    for (const [, target] of read(page).matchAll(/(?:href|src)="([^"]+)"/g)) {
      if (/^[a-z]+:/.test(target)) continue;
      const [name, place] = target.split("#");
      const file = name === "" ? page : path.join(path.dirname(page), name);
      const isThere = files.includes(file) && (!place || read(file).includes(` id="${decodeURIComponent(place)}"`));
      if (!isThere) broken.push(`${page}: ${target}`);
    }
  }
  assert.deepEqual(broken, []);
});

test("the two languages of the first page lead to each other", () => {
  assert.match(read("index.html"), /<html lang="en">[^]*<article[^]*href="README\.zh-CN\.html"/);
  assert.match(read("README.zh-CN.html"), /<html lang="zh-CN">[^]*<article[^]*href="index\.html"/);
});
