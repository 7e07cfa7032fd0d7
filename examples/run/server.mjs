// The application: it starts runs, and gives pages a token for one of them.
//
//   TRIDENT_URL=http://localhost:8080 TRIDENT_SECRET=… node server.mjs     http://localhost:3000/

import { createHmac, randomUUID } from "node:crypto";
import { createReadStream } from "node:fs";
import http from "node:http";
import { fileURLToPath } from "node:url";
import { stopOf, streamOf, work } from "./worker.mjs";

const { TRIDENT_URL: url = "http://localhost:8080", TRIDENT_SECRET: secret, PORT = "3000", PAUSE = "60" } = process.env;
if (!secret) {
  console.error("usage: TRIDENT_SECRET=… [TRIDENT_URL=…] [PORT=3000] [PAUSE=60] node server.mjs");
  process.exit(2);
}

/** A token (JWT, HS256) for an hour. */
function token(publish, subscribe) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const body = `${part({ alg: "HS256", typ: "JWT" })}.${part({ exp: Math.floor(Date.now() / 1_000) + 3_600, trident: { publish, subscribe } })}`;
  return `${body}.${createHmac("sha256", secret).update(body).digest("base64url")}`;
}

const json = (response, status, value) => response.writeHead(status, { "Content-Type": "application/json", "Cache-Control": "no-store" }).end(JSON.stringify(value));

/** What a page needs of a run: it may read the run, and stop it. */
const ticket = (run) => ({ url, stream: streamOf(run), stop: stopOf(run), token: token([stopOf(run)], [streamOf(run)]) });

const files = {
  "/": [new URL("page.html", import.meta.url), "text/html; charset=utf-8"],
  "/trident-client.js": [import.meta.resolve("trident-client/browser"), "text/javascript; charset=utf-8"],
};

http.createServer((request, response) => {
  const { pathname } = new URL(request.url, "http://server");
  if (request.method === "POST" && pathname === "/runs") {
    const run = randomUUID();
    work(run, { url, token: () => token([streamOf(run)], [stopOf(run)]), pause: Number(PAUSE) }).catch((error) => console.error(`run ${run}:`, error));
    return json(response, 201, { run });
  }
  const [, run] = pathname.match(/^\/runs\/([0-9a-f-]{36})$/) ?? [];
  // Here an application looks whether the run belongs to the user of the session.
  if (run) return json(response, 200, ticket(run));
  const [file, type] = files[pathname] ?? [];
  if (!file) return json(response, 404, { error: "not found" });
  response.writeHead(200, { "Content-Type": type });
  createReadStream(fileURLToPath(file)).pipe(response);
}).listen(Number(PORT), "127.0.0.1", () => console.log(`http://localhost:${PORT}/`));
