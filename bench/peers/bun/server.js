// Bun's own WebSockets and event streams, for comparison: what trident-bench publishes over HTTP goes to a topic, and clients name theirs in
// the address.
//
// WebSockets use `server.publish`, which is part of Bun and not of JavaScript (https://bun.sh/docs/api/websockets). Frames are not compressed.
// An event stream is a direct `ReadableStream`: what is written to it reaches the socket without a queue between them.
const [hostname, port] = process.argv[2].split(":");
const encoder = new TextEncoder();
const streams = new Map();

function eventStream(channel, signal) {
  let readers = streams.get(channel);
  if (!readers) streams.set(channel, (readers = new Set()));
  const body = new ReadableStream({
    type: "direct",
    async pull(controller) {
      readers.add(controller);
      // The first bytes send the head.
      controller.write(": hello\n\n");
      await controller.flush();
      await new Promise((end) => signal.addEventListener("abort", end, { once: true }));
      readers.delete(controller);
      controller.close();
    },
  });
  return new Response(body, { headers: { "Content-Type": "text/event-stream", "Cache-Control": "no-store" } });
}

const server = Bun.serve({
  hostname,
  port: Number(port),
  idleTimeout: 0,
  async fetch(request, server) {
    const url = new URL(request.url);
    const channel = url.searchParams.get("channel");
    if (url.pathname === "/ws") {
      return server.upgrade(request, { data: channel }) ? undefined : new Response("no WebSocket", { status: 400 });
    }
    if (url.pathname !== "/events") return new Response("", { status: url.pathname === "/readyz" ? 200 : 404 });
    if (request.method === "GET") return eventStream(channel, request.signal);
    const text = await request.text();
    server.publish(channel, text);
    const readers = streams.get(channel);
    if (readers?.size) {
      const event = encoder.encode(`data: ${text}\n\n`);
      for (const controller of readers) {
        controller.write(event);
        controller.flush();
      }
    }
    return new Response("{}", { status: 201, headers: { "Content-Type": "application/json" } });
  },
  websocket: {
    perMessageDeflate: false,
    sendPings: false,
    idleTimeout: 0,
    open: (socket) => socket.subscribe(socket.data),
    message() {},
  },
});

for (const signal of ["SIGTERM", "SIGINT"]) {
  process.once(signal, () => {
    server.stop(true);
    process.exit(0);
  });
}
