// Builds the admin page to files with fixed names, which are part of the servers' binaries.

import { defineConfig } from "vite";

const SERVER = process.env.TRIDENT_URL ?? "http://127.0.0.1:8080";

export default defineConfig({
  base: "./",
  build: {
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: false,
    rollupOptions: {
      output: { entryFileNames: "admin.js", chunkFileNames: "admin-[name].js", assetFileNames: "admin[extname]" },
    },
  },
  server: {
    // page.js and base.css, which all pages share.
    fs: { allow: [".."] },
    proxy: Object.fromEntries(["/events", "/data", "/v1"].map((path) => [path, { target: SERVER }])),
  },
});
