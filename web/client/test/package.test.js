// The package as others install it.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { test } from "node:test";

const root = fileURLToPath(new URL("..", import.meta.url));
const run = (command, ...args) => execFileSync(command, args, { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });

test("its entrances open", async () => {
  assert.equal(typeof (await import("trident-client")).connect, "function");
  assert.equal(typeof (await import("trident-client/browser")).connect, "function");
  assert.equal(typeof (await import("trident-client/socketio")).socketio, "function");
  await assert.rejects(import("trident-client/dist/core.js"), { code: "ERR_PACKAGE_PATH_NOT_EXPORTED" });
});

for (const resolution of [["--module", "nodenext"], ["--module", "esnext", "--moduleResolution", "bundler"]]) {
  test(`its types serve an application: ${resolution.join(" ")}`, () => {
    const options = ["--noEmit", "--strict", "--target", "es2022", "--lib", "es2022,dom", "--types", "", ...resolution];
    const told = (() => {
      try {
        return run("node_modules/.bin/tsc", "--ignoreConfig", ...options, "test/consumer.ts");
      } catch (error) {
        return error.stdout;
      }
    })();
    assert.equal(told, "");
  });
}

test("case 13.10: its types need neither the DOM library nor Node's", () => {
  const options = ["--noEmit", "--strict", "--target", "es2022", "--lib", "es2022", "--types", "", "--module", "nodenext"];
  const told = (() => {
    try {
      return run("node_modules/.bin/tsc", "--ignoreConfig", ...options, "test/consumer-without-dom.ts");
    } catch (error) {
      return error.stdout;
    }
  })();
  assert.equal(told, "");
});

test("only the module for Socket.IO knows of Socket.IO, and no type does", () => {
  const files = readdirSync(`${root}/dist`, { recursive: true }).filter((name) => /\.(js|d\.ts)$/.test(name));
  const code = (name) => readFileSync(`${root}/dist/${name}`, "utf8").replace(/^\s*\*.*$/gm, "");
  const imports = files.filter((name) => /(from|import)\s*\(?\s*"socket\.io-client"/.test(code(name)));
  assert.deepEqual(imports.sort(), ["transports/socketio.js", "trident-client-socketio.min.js"]);
});

test("what is packed", () => {
  const [{ files }] = JSON.parse(run("npm", "pack", "--dry-run", "--json", "--ignore-scripts"));
  const names = files.map(({ path }) => path);
  for (const name of ["package.json", "README.md", "LICENSE-MIT", "LICENSE-APACHE", "dist/index.js", "dist/index.d.ts"]) assert.ok(names.includes(name), name);
  assert.deepEqual(names.filter((name) => !/^(dist\/.*\.(js|d\.ts)|package\.json|README\.md|LICENSE-.*)$/.test(name)), []);
});
