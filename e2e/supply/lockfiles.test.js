// What npm may bring in: every package under a checksum, from the registry alone, under a licence that is known, running nothing
// when it is installed. Needs no network and nothing installed.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import path from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";

const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const FILES = execFileSync("git", ["ls-files", "*package-lock.json"], { cwd: ROOT, encoding: "utf8" }).trim().split("\n");

/** What may be given away with the pages; MPL-2.0 (checks and bundlers) is for development alone. */
const LICENCES = ["(AFL-2.1 OR BSD-3-Clause)", "0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "MIT"];
/** Packages that say it in their sources, and not where npm looks. All MIT. */
const SILENT = ["base64-arraybuffer@0.1.4", "component-bind@1.0.0", "component-inherit@0.0.3", "indexof@0.0.1", "to-array@0.1.4", "xmlhttprequest-ssl@1.6.3", "xmlhttprequest-ssl@2.1.2"];
/**
 * Packages that run something when they are installed: esbuild looks whether its binary is the right one; of those that only the benchmark
 * uses, bufferutil, lmdb and msgpackr-extract take the binary that they brought or build it, and bun takes the one for this machine from a
 * package that it depends on.
 */
const RUNNING = ["bufferutil", "bun", "esbuild", "fsevents", "lmdb", "msgpackr-extract"];

test("there are lock files", () => assert.ok(FILES.length >= 6, FILES.join()));

// With scripts, npm builds the linked client library again, in its own directory: two targets that run at once would then disturb each other.
test("targets that run side by side install packages without their scripts", () => {
  const linking = FILES.filter((file) => Object.values(JSON.parse(readFileSync(path.join(ROOT, file), "utf8")).packages).some(({ link }) => link));
  assert.ok(linking.length >= 4, linking.join());
  for (const file of linking) {
    const target = `${path.dirname(file)}/node_modules/.package-lock.json`;
    const commands = execFileSync("make", ["--no-print-directory", "--always-make", "--dry-run", target], { cwd: ROOT, encoding: "utf8" });
    assert.match(commands, /npm ci .*--ignore-scripts/, target);
  }
});

for (const file of FILES) {
  describe(file, () => {
    const lock = JSON.parse(readFileSync(path.join(ROOT, file), "utf8"));
    const packages = Object.entries(lock.packages)
      .filter(([place, one]) => place.includes("node_modules/") && !one.link)
      .map(([place, one]) => ({ name: one.name ?? place.split("node_modules/").at(-1), ...one }));
    const names = (found) => found.map(({ name, version }) => `${name}@${version}`);

    test("has a checksum for everything", () => {
      assert.equal(lock.lockfileVersion, 3);
      assert.ok(packages.length > 0 || Object.values(lock.packages).some(({ link }) => link));
      assert.deepEqual(names(packages.filter(({ integrity }) => !/^sha512-[A-Za-z0-9+/]{86}==$/.test(integrity ?? ""))), []);
    });

    test("takes packages from the registry, never from an address", () => {
      assert.deepEqual(names(packages.filter(({ resolved }) => resolved && !resolved.startsWith("https://registry.npmjs.org/"))), []);
      const links = Object.values(lock.packages).filter(({ link }) => link);
      for (const { resolved } of links) assert.match(resolved, /^\.\.?\//);
    });

    test("has licences that are known", () => {
      const fine = ({ name, version, license, dev }) =>
        LICENCES.includes(license) || (license === "MPL-2.0" && dev) || (!license && SILENT.includes(`${name}@${version}`));
      assert.deepEqual(packages.filter((one) => !fine(one)).map(({ name, license }) => `${name}: ${license}`), []);
    });

    test("runs nothing when it is installed, but for what is named here", () => {
      assert.deepEqual(names(packages.filter(({ name, hasInstallScript }) => hasInstallScript && !RUNNING.includes(name))), []);
    });
  });
}
