// Socket.IO's own server, for comparison: what trident-bench publishes over HTTP goes to a room, and clients ask for rooms.
//
// Set as its documentation advises for many connections (https://socket.io/docs/v4/memory-usage/, .../performance-tuning/):
// bufferutil for the WebSocket's masks, the first request let go of, no compression of frames. It serves no client files.
import { createServer } from "node:http";
import { Server } from "socket.io";

const [host, port] = process.argv[2].split(":");

const http = createServer((request, response) => {
  const url = new URL(request.url, "http://localhost");
  if (request.method !== "POST" || url.pathname !== "/events") {
    response.writeHead(url.pathname === "/readyz" ? 200 : 404).end();
    return;
  }
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    io.to(url.searchParams.get("channel")).emit("message", Buffer.concat(parts).toString());
    response.writeHead(201, { "Content-Length": "2", "Content-Type": "application/json" }).end("{}");
  });
});
http.keepAliveTimeout = 75_000;

const io = new Server(http, { serveClient: false, perMessageDeflate: false, httpCompression: false });
io.engine.on("connection", (socket) => {
  socket.request = null;
});
io.on("connection", (socket) => {
  socket.on("subscribe", ({ channels }, ack) => {
    socket.join(channels);
    ack([{}]);
  });
});

http.listen({ host, port: Number(port), backlog: 4096 });
for (const signal of ["SIGTERM", "SIGINT"]) process.once(signal, () => process.exit(0));
