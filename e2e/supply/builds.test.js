// What a build takes: with plain cargo commands Rust and a C compiler, nothing else.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
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
