// dist/: the modules and their types by tsc, and the same in one file for pages without a bundler.

import { execFileSync } from "node:child_process";
import { copyFileSync, existsSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";

process.chdir(fileURLToPath(new URL(".", import.meta.url)));
// npm runs this when the package is installed from a folder, and does not install what the build needs.
if (!existsSync("node_modules/esbuild")) execFileSync("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund"], { stdio: ["ignore", 2, 2] });
const { build } = await import("esbuild");
rmSync("dist", { recursive: true, force: true });
execFileSync("node_modules/.bin/tsc", { stdio: "inherit" });
const shared = { bundle: true, minify: true, format: "esm", target: "es2022", external: ["socket.io-client"], logLevel: "warning" };
await build({ ...shared, entryPoints: ["dist/index.js"], outfile: "dist/trident-client.min.js" });
await build({ ...shared, entryPoints: ["dist/transports/socketio.js"], outfile: "dist/trident-client-socketio.min.js" });
// A package has its licences with it; in the sources they stand once.
for (const name of ["LICENSE-APACHE", "LICENSE-MIT"]) if (existsSync(`../../${name}`)) copyFileSync(`../../${name}`, name);
