// The package as others install it.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "node:test";

const root = fileURLToPath(new URL("..", import.meta.url));
const run = (command, ...args) => execFileSync(command, args, { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });

test("its entry points load", async () => {
  assert.equal(typeof (await import("trident-client")).connect, "function");
  assert.equal(typeof (await import("trident-client/browser")).connect, "function");
  assert.equal(typeof (await import("trident-client/socketio")).socketio, "function");
  assert.equal(typeof (await import("trident-client/react")).useMessages, "function");
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

test("only the modules for Socket.IO and React import a package, and no type does", () => {
  const files = readdirSync(`${root}/dist`, { recursive: true }).filter((name) => /\.(js|d\.ts)$/.test(name));
  const code = (name) => readFileSync(`${root}/dist/${name}`, "utf8").replace(/^\s*\*.*$/gm, "");
  const imports = files.filter((name) => /(from|import)\s*\(?\s*"[^."]/.test(code(name)));
  assert.deepEqual(imports.sort(), ["react.js", "transports/socketio.js", "trident-client-socketio.min.js"]);
});

test("what is packed", () => {
  const [{ files }] = JSON.parse(run("npm", "pack", "--dry-run", "--json", "--ignore-scripts"));
  const names = files.map(({ path }) => path);
  for (const name of ["package.json", "README.md", "LICENSE-MIT", "LICENSE-APACHE", "dist/index.js", "dist/index.d.ts"]) assert.ok(names.includes(name), name);
  assert.deepEqual(names.filter((name) => !/^(dist\/.*\.(js|d\.ts)|package\.json|README\.md|LICENSE-.*)$/.test(name)), []);
});

test("it installs from a folder and from a tarball, and is built then", (t) => {
  const folder = mkdtempSync(path.join(os.tmpdir(), "trident-client-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const sources = path.join(folder, "client");
  cpSync(root, sources, { recursive: true, filter: (name) => !["node_modules", "dist"].includes(path.basename(name)) });
  symlinkSync(path.join(root, "node_modules"), path.join(sources, "node_modules"));
  const npm = (cwd, ...args) => execFileSync("npm", [...args, "--offline", "--no-audit", "--no-fund"], { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  /** Installs `what` in an application of its own, and gives what an import of it exports. */
  const installed = (name, what) => {
    const application = path.join(folder, name);
    mkdirSync(application);
    writeFileSync(path.join(application, "package.json"), '{ "type": "module" }');
    npm(application, "install", what);
    const program = 'import("trident-client").then((client) => console.log(typeof client.connect))';
    return execFileSync(process.execPath, ["--eval", program], { cwd: application, encoding: "utf8" }).trim();
  };

  assert.equal(installed("from-folder", sources), "function");
  rmSync(path.join(sources, "dist"), { recursive: true });
  npm(sources, "pack", "--pack-destination", folder);
  const [tarball] = readdirSync(folder).filter((name) => name.endsWith(".tgz"));
  assert.equal(installed("from-tarball", path.join(folder, tarball)), "function");
});
