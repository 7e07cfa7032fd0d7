// A server of a few lines that says what a test wants it to say.

import http from "node:http";

/** Starts `answer(request, response, url)` on a free port, and counts what is asked. */
export async function serve(answer) {
  const asked = [];
  const server = http.createServer((request, response) => {
    const url = new URL(request.url, "http://server");
    asked.push({ path: url.pathname, query: url.searchParams, headers: request.headers, method: request.method });
    request.resume();
    answer(request, response, url);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}/`,
    asked,
    close() {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}

export function json(response, status, value, headers = {}) {
  response.writeHead(status, { "Content-Type": "application/json", ...headers }).end(JSON.stringify(value));
}

export const refuse = (response, status, code) => json(response, status, { error: { code, message: `${code}, told in words` } });

/** An event stream that has begun, and what sends message `n` on it. */
export function stream(response) {
  response.writeHead(200, { "Content-Type": "text/event-stream;charset=utf-8" });
  response.write("retry: 2000\n: connected\nid: 1-0\n\n");
  return (n) => response.write(event(n));
}

export function event(n, data = n) {
  return `id: ${n}-0\ndata: ${JSON.stringify({ id: `${n}-0`, channel: "c", event: "message", data, time: n })}\n\n`;
}

/** Asks `condition` until it gives something true. */
export async function until(what, condition, within = 10_000) {
  for (const end = Date.now() + within; ; ) {
    const found = await condition();
    if (found) return found;
    if (Date.now() > end) throw new Error(`${what}: not within ${within} ms`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
