// What a build takes: with plain cargo commands Rust and a C compiler, nothing else.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
/** Crates whose build scripts run make or cmake, or look for a library of the system. */
const MORE_THAN_CC = ["tikv-jemalloc-sys", "autotools", "cmake", "bindgen", "pkg-config", "vcpkg"];

const crates = (...features) => {
  const tree = execFileSync("cargo", ["tree", "--workspace", "--locked", "--prefix", "none", "--format", "{p}", ...features], { cwd: ROOT, encoding: "utf8" });
  return new Set(tree.split("\n").map((line) => line.split(" ")[0]));
};

test("plain cargo commands need Rust and a C compiler alone", () => {
  const all = crates();
  assert.ok(all.has("ring"), "the list is complete");
  assert.deepEqual(MORE_THAN_CC.filter((name) => all.has(name)), []);
});

test("the feature jemalloc brings the allocator of the images", { skip: process.platform !== "linux" }, () => {
  assert.ok(crates("--features", "jemalloc").has("tikv-jemalloc-sys"));
});

test("what the code includes is part of the images' build", () => {
  const rules = readFileSync(path.join(ROOT, ".dockerignore"), "utf8").split("\n").filter((line) => line && !line.startsWith("#"));
  const files = execFileSync("git", ["grep", "--extended-regexp", "--only-matching", "include_(str|bytes)!\\(\"[^\"]+", "--", "*/src/*.rs", ":(exclude)*tests*"], { cwd: ROOT, encoding: "utf8" });
  const included = files.trim().split("\n").map((line) => {
    const [, source, name] = /^([^:]+):.*"(.*)$/.exec(line);
    return path.normalize(path.join(path.dirname(source), name));
  });
  assert.ok(included.includes("docs/PROTOCOL.md"), "the list is complete");
  const patternOf = (rule) => new RegExp(`^${rule.replace("!", "").replaceAll(".", "\\.").replace("**/", "(.*/)?").replaceAll(/(?<!\.)\*/g, "[^/]*")}(/|$)`);
  // The last rule that matches decides.
  const isIgnored = (file) => rules.findLast((rule) => patternOf(rule).test(file))?.startsWith("!") === false;
  assert.deepEqual(included.filter(isIgnored), []);
});
