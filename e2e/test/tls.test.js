// The gateway with TLS: every route, many streams over one connection, WebSockets, what it says of itself, another certificate.

import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import http2 from "node:http2";
import path from "node:path";
import tls from "node:tls";
import { after, before, describe, test } from "node:test";
import { checkRoutes } from "../checks/routes.js";
import { WAYS, chat, leaveAll } from "../lib/chat.js";
import { ask, events, openEvents, publish, trust } from "../lib/http.js";
import { makeCertificate, ROOT, startGateway, startService } from "../lib/stack.js";
import { bearer, token } from "../lib/token.js";
import { soon, until } from "../lib/wait.js";

describe("the gateway with TLS", () => {
  let service;
  let gateway;
  let base;
  let authority;
  before(async () => {
    service = await startService("standalone");
    gateway = await startGateway({ comet: service.port, chat: service.port, sse: service.port, streams: service.port }, undefined, { tls: true });
    base = gateway.secure;
    trust(gateway.certificate);
    authority = readFileSync(gateway.certificate);
  });
  after(async () => {
    leaveAll();
    await gateway?.stop();
    await service?.stop();
  });

  describe("routes", () => checkRoutes(() => ({ base })));

  /** What a handshake gives: `{protocol, cipher, application, certificate}`; throws where there is no agreement. */
  const shake = (options = {}) => soon("a handshake", new Promise((resolve, reject) => {
    const socket = tls.connect({ port: gateway.tlsPort, host: "127.0.0.1", rejectUnauthorized: false, ...options }, () => {
      const certificate = new X509Certificate(socket.getPeerCertificate().raw);
      resolve({ protocol: socket.getProtocol(), cipher: socket.getCipher().name, application: socket.alpnProtocol, certificate });
      socket.destroy();
    });
    socket.once("error", reject);
  }));

  test("is accepted without a warning", () => {
    gateway.test();
    const complaints = gateway.told().split("\n").filter((line) => /\[(warn|emerg|alert)\]/.test(line) && !line.includes("RLIMIT_NOFILE"));
    assert.deepEqual(complaints.filter((line) => !line.includes('"listen ... http2" directive is deprecated')), []);
  });

  test("a stream is created at the address that its client used, and needs TLS", async () => {
    const create = (url) => ask(url, { method: "PUT", headers: bearer() });
    const created = await create(`${base}/streams/public.tls`);
    assert.deepEqual([created.status, created.headers.location], [201, `${base}/streams/public.tls`]);
    const open = await create(`${gateway.base}/streams/public.tls`);
    assert.deepEqual([open.status, open.json().error.code], [403, "tls_required"]);
  });

  test("only TLS 1.2 and 1.3, with forward secrecy", async () => {
    assert.equal((await shake()).protocol, "TLSv1.3");
    const older = await shake({ maxVersion: "TLSv1.2" });
    assert.match(older.cipher, /^ECDHE-.*(GCM|CHACHA20)/);
    assert.equal((await shake({ ALPNProtocols: ["h2", "http/1.1"] })).application, "h2");
    assert.equal((await shake({ ALPNProtocols: ["http/1.1"] })).application, "http/1.1");
    const low = { minVersion: "TLSv1", ciphers: "ALL:@SECLEVEL=0" };
    for (const old of [{ ...low, maxVersion: "TLSv1.1" }, { maxVersion: "TLSv1.2", ciphers: "AES128-SHA256:AES256-GCM-SHA384:ECDHE-ECDSA-AES128-SHA256" }]) {
      await assert.rejects(shake(old), JSON.stringify(old));
    }
  });

  test("every answer has Strict-Transport-Security", async () => {
    for (const [path, status] of [["/", 200], ["/playground.js", 200], ["/base.css", 200], ["/favicon.ico", 200], ["/chat", 200], ["/data?mode=poll", 200], ["/healthz", 200], ["/nothing", 404], ["/data?since=never", 400], ["/socket.io/?EIO=4&transport=polling", 200]]) {
      const answer = await ask(base + path);
      assert.equal(answer.status, status, path);
      assert.equal(answer.headers["strict-transport-security"], "max-age=31536000", path);
      if (path !== "/socket.io/?EIO=4&transport=polling" && path !== "/healthz") assert.equal(answer.headers["x-content-type-options"], "nosniff", path);
    }
    for (const page of ["/", "/comet", "/chat", "/sse"]) {
      const { headers } = await ask(base + page);
      assert.equal(headers["referrer-policy"], "same-origin", page);
      assert.doesNotMatch(headers["content-security-policy"], /unsafe/, page);
    }
    const stream = await openEvents(`${base}/events`);
    assert.equal(stream.headers["strict-transport-security"], "max-age=31536000");
    await stream.close();
    const large = await ask(`${base}/data?channel=a`, { method: "POST", headers: { ...bearer(), "Content-Type": "text/plain" }, body: "x".repeat(70_000) });
    assert.deepEqual([large.status, large.headers["strict-transport-security"]], [413, "max-age=31536000"]);
  });

  test("no location of nginx.conf drops the inherited headers", () => {
    const places = readFileSync(path.join(ROOT, "nginx.conf"), "utf8").split(/^ {8}(?=location )/m).slice(1);
    assert.ok(places.length > 20);
    const forgetful = places.filter((place) => place.includes("add_header") && !place.includes("add_header Strict-Transport-Security $strict_transport always;"));
    assert.deepEqual(forgetful.map((place) => place.split("\n")[0]), []);
  });

  test("a page opens a hundred streams over one connection, and can still send requests", { timeout: 60_000 }, async () => {
    const session = http2.connect(base, { ca: authority });
    await soon("the connection", new Promise((resolve, reject) => session.once("connect", resolve).once("error", reject)));
    const request = (path, headers = {}) => session.request({ ":path": path, ...headers });
    const streams = Array.from({ length: 100 }, () => {
      const stream = request("/events?channel=public.h2");
      const seen = { text: "", items: [], status: undefined };
      stream.setEncoding("utf8").on("response", (headers) => (seen.status = headers[":status"]));
      stream.on("data", (text) => {
        const [items, rest] = events(seen.text + text);
        seen.items.push(...items);
        seen.text = rest;
      });
      return { stream, seen };
    });
    await until("all streams", () => streams.every(({ seen }) => seen.items.some((item) => item.retry)));
    assert.ok(streams.every(({ seen }) => seen.status === 200));
    // A publication over the same connection.
    const publication = request("/events?channel=public.h2", { ":method": "POST", "content-type": "application/json", authorization: `Bearer ${token()}` });
    let said = "";
    publication.setEncoding("utf8").on("data", (text) => (said += text));
    publication.end('{"n":1}');
    await soon("its answer", new Promise((resolve) => publication.once("end", resolve)));
    const { id } = JSON.parse(said);
    await until("everybody has it", () => streams.every(({ seen }) => seen.items.some((item) => item.id === id)));
    // A hundred lives, and a hundred ends.
    for (const { stream } of streams) stream.close(http2.constants.NGHTTP2_CANCEL);
    await until("the service knows", async () => !/^trident_connections\{transport="sse"\} [1-9]/m.test((await ask(`${service.base}/metrics`)).body));
    session.close();
  });

  for (const [way, options] of Object.entries(WAYS)) {
    test(`Socket.IO: ${way}`, { timeout: 30_000 }, async () => {
      const client = await chat(base, { ...options, ca: authority });
      assert.ok((await client.say(`over TLS, ${way}`)).ok);
      await client.hears("chat message", (text) => text === `over TLS, ${way}`);
      client.close();
    });
  }

  test("a page of the same origin may connect and publish with its cookie; another port may not", async () => {
    const path = "/socket.io/?EIO=4&transport=polling";
    const elsewhere = `https://127.0.0.1:${gateway.port}`;
    assert.equal((await ask(base + path, { headers: { Origin: base } })).status, 200);
    assert.equal((await ask(base + path, { headers: { Origin: elsewhere } })).status, 403);
    const post = (origin) => ask(`${base}/data?channel=a`, { method: "POST", headers: { Origin: origin, Cookie: `trident_token=${token()}`, "Content-Type": "text/plain" }, body: "x" });
    assert.equal((await post(base)).status, 201);
    assert.ok([401, 403].includes((await post(elsewhere)).status));
  });

  test("without TLS pages are redirected, and requests that may have a token are rejected", async () => {
    for (const path of ["/", "/comet", "/base.css", "/nothing?a=b"]) {
      const answer = await ask(gateway.base + path);
      assert.equal(answer.status, 308, path);
      assert.equal(answer.headers.location, `${base}${path}`);
      assert.equal(answer.headers["strict-transport-security"], undefined, "over TLS only");
    }
    for (const path of ["/data", "/ws", "/events?channel=a", "/socket.io/?EIO=4&transport=polling", "/socket.io/socket.io.js"]) {
      for (const method of ["GET", "POST"]) {
        const answer = await ask(gateway.base + path, { method, headers: bearer(), body: method === "POST" ? "x" : undefined });
        assert.equal(answer.status, 403, path);
        assert.equal(answer.json().error.code, "tls_required");
        assert.ok(answer.json().error.message.includes(base));
      }
    }
    assert.equal((await ask(`${gateway.base}/healthz`)).status, 200);
    // `http:` before the name and the port of TLS.
    const mistaken = await ask(`http://127.0.0.1:${gateway.tlsPort}/chat?a=b`);
    assert.deepEqual([mistaken.status, mistaken.headers.location], [308, `${base}/chat?a=b`]);
  });

  test("a new certificate is a reload that closes no open connection", { timeout: 60_000 }, async () => {
    const stream = await openEvents(`${base}/events?channel=public.renewed`);
    await stream.next((item) => item.retry);
    const client = await chat(base, { transports: ["websocket"], ca: authority });
    const before = (await shake()).certificate.fingerprint256;
    makeCertificate(gateway.folder);
    // A worker of before may still take a connection or two, with its own certificate.
    trust(gateway.certificate, authority);
    const old = gateway.workers();
    gateway.signal("SIGHUP");
    await until("new workers", () => gateway.workers().some((pid) => !old.includes(pid)));
    const isNew = () => shake().then(({ certificate }) => certificate.fingerprint256 !== before);
    await until("the new certificate", async () => (await Promise.all(Array.from({ length: 8 }, isNew))).every(Boolean));
    const id = await publish(base, "public.renewed", 1);
    await stream.next((item) => item.id === id);
    assert.ok((await client.say("still here")).ok);
    assert.deepEqual(client.disconnects, []);
    await stream.close();
  });
});
