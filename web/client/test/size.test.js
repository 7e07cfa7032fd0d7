// What a page has to load: minified and compressed as a server would send it.

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { test } from "node:test";
import { build } from "esbuild";

async function size(contents) {
  const stdin = { contents, resolveDir: fileURLToPath(new URL("../dist", import.meta.url)) };
  const options = { bundle: true, minify: true, format: "esm", target: "es2022", external: ["react", "socket.io-client"] };
  const { outputFiles } = await build({ stdin, write: false, ...options });
  return gzipSync(outputFiles[0].contents, { level: 9 }).length;
}

for (const [what, most, contents] of [
  ["connect", 9_250, 'export { connect } from "./index.js"'],
  ["connect and publish", 9_950, 'export { connect, publish } from "./index.js"'],
  ["Stream", 5_500, 'export { Stream } from "./index.js"'],
  ["everything", 13_250, 'export * from "./index.js"'],
  ["connect and useMessages", 9_600, 'export * from "./react.js"'],
  ["socketio", 2_250, 'export * from "./transports/socketio.js"'],
]) {
  test(`${what}: at most ${most} bytes`, async (t) => {
    const bytes = await size(contents);
    t.diagnostic(`${what}: ${bytes} bytes`);
    assert.ok(bytes <= most, `${bytes} bytes`);
  });
}
