// The playground as files with fixed names, which a server can carry with it.

import { defineConfig } from "vite";

const SERVER = process.env.TRIDENT_URL ?? "http://127.0.0.1:8080";

export default defineConfig({
  base: "./",
  resolve: { dedupe: ["socket.io-client"] },
  build: {
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: false,
    rollupOptions: {
      output: { entryFileNames: "playground.js", chunkFileNames: "playground-[name].js", assetFileNames: "playground[extname]" },
    },
  },
  server: {
    proxy: Object.fromEntries(["/events", "/data", "/socket.io"].map((path) => [path, { target: SERVER, ws: path === "/socket.io" }])),
  },
});
