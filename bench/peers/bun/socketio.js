// Socket.IO's server on Bun with its own engine, for comparison: what trident-bench publishes over HTTP goes to a room, and clients ask for
// rooms. The same application as ../node/server.js.
import { Server as Engine } from "@socket.io/bun-engine";
import { Server } from "socket.io";

const [hostname, port] = process.argv[2].split(":");
const io = new Server({ serveClient: false });
const engine = new Engine({ path: "/socket.io/" });
io.bind(engine);
io.on("connection", (socket) => {
  socket.on("subscribe", ({ channels }, ack) => {
    socket.join(channels);
    ack([{}]);
  });
});

const handler = engine.handler();
const server = Bun.serve({
  ...handler,
  hostname,
  port: Number(port),
  async fetch(request, server) {
    const url = new URL(request.url);
    if (url.pathname === "/socket.io/") return handler.fetch(request, server);
    if (request.method !== "POST" || url.pathname !== "/events") {
      return new Response("", { status: url.pathname === "/readyz" ? 200 : 404 });
    }
    io.to(url.searchParams.get("channel")).emit("message", await request.text());
    return new Response("{}", { status: 201, headers: { "Content-Type": "application/json" } });
  },
});

for (const signal of ["SIGTERM", "SIGINT"]) {
  process.once(signal, () => {
    server.stop(true);
    process.exit(0);
  });
}
