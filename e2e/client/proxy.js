// A proxy between clients and a server that does what proxies do to streams: it refuses WebSockets, holds answers back to
// their end, keeps what is open from saying more, answers for itself, takes headers out, is slow, and is gone.

import { createReadStream, existsSync } from "node:fs";
import http from "node:http";
import net from "node:net";
import path from "node:path";
import { ROOT } from "../lib/stack.js";

const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css" };
/** What it serves of its own, by the beginning of the path. */
const FILES = { "/page/": "e2e/client/page", "/dist/": "web/client/dist" };

/** Which transport a request belongs to, if to one. */
function transportOf(request) {
  const url = new URL(request.url, "http://proxy");
  if (url.pathname === "/events" && request.method === "GET") return "sse";
  if (url.pathname === "/data" && request.method === "GET") return url.searchParams.get("mode") === "stream" ? "stream" : "longpoll";
  if (url.searchParams.get("live") === "sse") return "live";
  return undefined;
}

export class Proxy {
  /** What is done to each transport: `pass`, `refuse`, `hold` (all of it to the end), `holdBody` (the head goes through). */
  to = { websocket: "pass", sse: "pass", stream: "pass", longpoll: "pass", live: "pass" };
  /** Headers of answers that are taken out. */
  strip = [];
  /** Milliseconds for each piece of an answer. */
  delay = 0;
  /** Whether nothing of what is open goes through. */
  isFrozen = false;
  isCut = false;
  /** Whether answers to requests with a body are lost, after the server has had the request. */
  losesAnswers = false;
  /** Requests by transport. `live`: event streams of Durable Streams. */
  count = { websocket: 0, sse: 0, stream: 0, longpoll: 0, live: 0 };

  #sockets = new Map();
  #server = http.createServer((request, response) => this.#answer(request, response));

  static async start(target) {
    const proxy = new Proxy();
    proxy.target = new URL(target);
    proxy.#server.on("connection", (socket) => {
      if (proxy.isCut) return socket.destroy();
      proxy.#sockets.set(socket, undefined);
      socket.on("close", () => proxy.#sockets.delete(socket));
      socket.on("error", () => {});
    });
    proxy.#server.on("upgrade", (request, socket, head) => proxy.#upgrade(request, socket, head));
    await new Promise((resolve) => proxy.#server.listen(0, "127.0.0.1", resolve));
    proxy.base = `http://127.0.0.1:${proxy.#server.address().port}`;
    return proxy;
  }

  /** Changes what is done to a transport, and breaks what is open of it. */
  set(transport, what) {
    this.to[transport] = what;
    for (const [socket, of] of this.#sockets) if (of === transport) socket.destroy();
  }

  /** Everything breaks that is open. */
  breakAll() {
    for (const socket of this.#sockets.keys()) socket.destroy();
  }

  /** Everything breaks, and nothing more comes through. */
  cut() {
    this.isCut = true;
    this.breakAll();
  }

  mend() {
    this.isCut = false;
    this.isFrozen = false;
  }

  close() {
    this.cut();
    return new Promise((resolve) => this.#server.close(resolve));
  }

  #answer(request, response) {
    const transport = transportOf(request);
    this.#sockets.set(request.socket, transport);
    if (transport) this.count[transport] += 1;
    const { pathname } = new URL(request.url, this.base);
    const folder = Object.keys(FILES).find((start) => pathname.startsWith(start));
    // What is above the folder cannot be named: a URL's path is without `..`.
    if (folder) return this.#file(path.join(ROOT, FILES[folder], pathname.slice(folder.length) || "index.html"), response);
    const what = this.to[transport] ?? "pass";
    if (what === "refuse") {
      response.writeHead(403, { "Content-Type": "text/html" }).end("<h1>not in this house</h1>");
      return;
    }
    const { hostname, port } = this.target;
    const upstream = http.request({ hostname, port, path: request.url, method: request.method, headers: request.headers, agent: false });
    request.pipe(upstream);
    upstream.on("error", () => response.destroy());
    response.on("close", () => upstream.destroy());
    upstream.on("response", (answer) => {
      if (this.losesAnswers && request.method === "POST") return request.socket.destroy();
      this.#forward(answer, response, what);
    });
  }

  #forward(answer, response, what) {
    const headers = { ...answer.headers };
    for (const name of this.strip) delete headers[name.toLowerCase()];
    const held = [];
    const head = () => response.headersSent || response.writeHead(answer.statusCode, headers);
    if (what !== "hold") {
      head();
      response.flushHeaders();
    }
    answer.on("error", () => response.destroy());
    answer.on("aborted", () => response.destroy());
    answer.on("data", (chunk) => {
      if (this.isFrozen) return;
      if (what !== "pass") return held.push(chunk);
      const pass = () => {
        // A client that does not read is not read for.
        if (!response.write(chunk)) {
          answer.pause();
          response.once("drain", () => answer.resume());
        }
      };
      if (this.delay === 0) return pass();
      setTimeout(pass, this.delay);
    });
    answer.on("end", () => {
      // Neither does its end go through; what was open hangs, also when later requests go well.
      if (this.isFrozen) return;
      setTimeout(() => {
        head();
        response.end(Buffer.concat(held));
      }, this.delay);
    });
  }

  #file(file, response) {
    if (!existsSync(file)) return void response.writeHead(404).end();
    response.writeHead(200, { "Content-Type": TYPES[path.extname(file)] ?? "application/octet-stream" });
    createReadStream(file).pipe(response);
  }

  #upgrade(request, socket, head) {
    this.count.websocket += 1;
    this.#sockets.set(socket, "websocket");
    if (this.to.websocket !== "pass") {
      socket.end("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
      return;
    }
    const upstream = net.connect(this.target.port, this.target.hostname, () => {
      const lines = [`${request.method} ${request.url} HTTP/1.1`];
      for (let at = 0; at < request.rawHeaders.length; at += 2) lines.push(`${request.rawHeaders[at]}: ${request.rawHeaders[at + 1]}`);
      upstream.write(`${lines.join("\r\n")}\r\n\r\n`);
      upstream.write(head);
      upstream.pipe(socket);
      socket.pipe(upstream);
    });
    upstream.on("error", () => socket.destroy());
    upstream.on("close", () => socket.destroy());
    socket.on("close", () => upstream.destroy());
  }
}
