// docs/openapi.json: that it is an OpenAPI document, that real answers are as it says, and that its page can be read.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { Validator } from "@seriousme/openapi-schema-validator";
import Ajv from "ajv/dist/2020.js";
import { violationsOn } from "../lib/axe.js";
import { SIZES, launch, picture, tab } from "../lib/browser.js";
import { ask, open, publish } from "../lib/http.js";
import { startRedis } from "../lib/redis.js";
import { GATEWAY, ROOT, STANDALONE, startService, startStack } from "../lib/stack.js";
import { bearer, token } from "../lib/token.js";
import { until } from "../lib/wait.js";

const FILE = path.join(ROOT, "docs/openapi.json");
const DOCUMENT = JSON.parse(readFileSync(FILE, "utf8"));
const ajv = new Ajv({ strict: false, validateFormats: false });
ajv.addSchema({ $id: "document", ...DOCUMENT });

/** Says that `value` is as the schema at `pointer` of the document has it. */
function conforms(value, pointer, what) {
  const validate = ajv.getSchema(`document#${pointer}`);
  assert.ok(validate, `${pointer} is in the document`);
  assert.ok(validate(value), `${what}: ${ajv.errorsText(validate.errors)} in ${JSON.stringify(value)}`);
}

const escaped = (part) => part.replaceAll("~", "~0").replaceAll("/", "~1");

/** Says that an answer is as the document has it: its status, its headers, its type and its body. */
function described(answer, method, route) {
  const what = `${method} ${route} ${answer.status}`;
  const said = DOCUMENT.paths[route][method].responses[answer.status];
  assert.ok(said, `${what} is described`);
  const at = `/paths/${escaped(route)}/${method}/responses/${answer.status}`;
  for (const name of Object.keys(said.headers ?? {})) {
    const value = answer.headers[name.toLowerCase()];
    const { type } = said.headers[name].schema;
    const read = { integer: Number, boolean: (text) => JSON.parse(text) }[type] ?? String;
    if (value !== undefined) conforms(read(value), `${at}/headers/${escaped(name)}/schema`, what);
  }
  const type = answer.headers["content-type"]?.split(";")[0];
  if (method === "head") return assert.equal(answer.body, "", what);
  if (!said.content) return assert.equal(answer.body, "", what);
  assert.ok(said.content[type], `${what} as ${type}`);
  if (type === "application/json") conforms(answer.json(), `${at}/content/${escaped(type)}/schema`, what);
}

test("it is a valid OpenAPI document, and every reference resolves", async () => {
  const validator = new Validator();
  const { valid, errors } = await validator.validate(structuredClone(DOCUMENT));
  assert.ok(valid, JSON.stringify(errors, null, 2));
  assert.equal(validator.version, "3.1");
  const dangling = [];
  (function walk(value) {
    if (value === null || typeof value !== "object") return;
    if (typeof value.$ref === "string") {
      const target = value.$ref.slice(2).split("/").reduce((at, part) => at?.[part.replaceAll("~1", "/").replaceAll("~0", "~")], DOCUMENT);
      if (!target) dangling.push(value.$ref);
    }
    Object.values(value).forEach(walk);
  })(DOCUMENT);
  assert.deepEqual(dangling, []);
});

describe("answers match their description", () => {
  let server;
  before(async () => {
    server = await startService("standalone", { TRIDENT_PUBLISH_RATE: "50", TRIDENT_DEMO: "off" });
  });
  after(() => server?.stop());

  test("GET /data", async () => {
    const { base } = server;
    const id = await publish(base, "public.a", { n: 1 });
    for (const [status, query, headers] of [
      [200, "?channel=public.a&since=earliest"],
      [200, "?channel=public.a&since=earliest&format=raw"],
      [200, "?channel=public.a&since=1763800000000-0"],
      [204, "?channel=public.a&mode=poll&format=raw&since=" + id],
      [304, "?channel=public.a&mode=poll&format=raw", { "If-None-Match": `"${id}"` }],
      [400, "?channel=public.a&since=yesterday"],
      [401, "?channel=closed"],
      [403, "?channel=closed", { Authorization: `Bearer ${token({ trident: {} })}` }],
    ]) {
      const answer = await ask(`${base}/data${query}`, { headers });
      assert.equal(answer.status, status, `${query}: ${answer.body}`);
      described(answer, "get", "/data");
      if (query.endsWith("=1763800000000-0")) assert.ok(answer.headers["trident-gap"], "a gap is in the header");
    }
    const batch = (await ask(`${base}/data?channel=public.b&since=earliest&mode=poll`)).json();
    conforms(batch, "/components/schemas/Batch", "a batch");
    const full = (await ask(`${base}/data?channel=public.a&since=earliest`)).json();
    conforms(full, "/components/schemas/Batch", "a batch with a message");
    assert.equal(full.messages.length, 1);
    assert.ok(!ajv.getSchema("document#/components/schemas/Batch")({ cursor: "x", gap: false, messages: [] }), "the schema can fail");
    const wrong = await ask(`${base}/data`, { method: "DELETE" });
    assert.equal(wrong.status, 405);
    described(wrong, "get", "/data");
  });

  test("GET /events", async () => {
    const stream = await open(`${server.base}/events?channel=public.c&format=message`, (text) => [[], text]);
    const type = stream.headers["content-type"].split(";")[0];
    assert.ok(DOCUMENT.paths["/events"].get.responses[200].content[type], type);
    await stream.close();
    for (const [status, query, headers] of [[400, "?format=x"], [401, "?channel=closed"], [400, "?since=x"]]) {
      const answer = await ask(`${server.base}/events${query}`, { headers });
      assert.equal(answer.status, status, query);
      described(answer, "get", "/events");
    }
  });

  for (const route of ["/events", "/data"]) {
    test(`POST ${route}`, async () => {
      const lines = { "Content-Type": "application/x-ndjson" };
      // A publisher of its own for each route: the other's has used up its messages a second.
      const own = { "Content-Type": "application/json", Authorization: `Bearer ${token({ sub: route })}` };
      const post = (query, body, headers = {}) => ask(`${server.base}${query}`, { method: "POST", body, headers: { ...own, ...headers } });
      const poor = { Authorization: `Bearer ${token({ trident: { publish: ["other"] } })}` };
      const key = { "Idempotency-Key": `key of ${route}` };
      const many = '{"channel":"a","data":1}\n'.repeat(60);
      for (const [status, query, body, headers] of [
        [201, "?channel=a", "1"],
        [201, "?channel=a&channel=b&event=e", '{"x":1}'],
        [201, "", '{"channel":"a","data":1}\n{"channel":"b","event":"e","data":null}', lines],
        [201, "?channel=a", "1", key],
        [422, "?channel=a", "2", key],
        [400, "?channel=a b", "1"],
        [400, "?channel=a", "{"],
        [400, "?channel=a&nothing=1", "1"],
        [401, "?channel=a", "1", { Authorization: "Bearer x.y.z" }],
        [403, "?channel=a", "1", poor],
        [413, "?channel=a", JSON.stringify("x".repeat(70_000))],
        [413, "", many, lines],
        [415, "?channel=a", "1", { "Content-Type": "image/png" }],
      ]) {
        const answer = await post(`${route}${query.replaceAll(" ", "%20")}`, body, headers);
        assert.equal(answer.status, status, `${query}: ${answer.body}`);
        described(answer, "post", route);
      }
      let limited;
      do limited = await post(`${route}?channel=a`, "1"); while (limited.status === 201);
      assert.equal(limited.status, 429);
      assert.ok(Number(limited.headers["retry-after"]) >= 1);
      described(limited, "post", route);
    });
  }

  test("/streams/{path}", async () => {
    const own = { "Content-Type": "application/json", Authorization: `Bearer ${token({ sub: "streams" })}` };
    const producer = { "Producer-Id": "p", "Producer-Epoch": "1", "Producer-Seq": "0" };
    const poor = { Authorization: `Bearer ${token({ trident: { publish: ["other"] } })}` };
    let offset;
    for (const [method, status, at, body, headers = {}] of [
      ["PUT", 201, "s", "[1,2]", { "Stream-TTL": "60" }],
      ["PUT", 200, "s", undefined, { "Stream-TTL": "60" }],
      ["PUT", 409, "s", undefined, { "Content-Type": "text/plain" }],
      ["PUT", 400, "s", undefined, { "Stream-TTL": "1.5" }],
      ["PUT", 501, "__ds/x", undefined],
      ["PUT", 404, "fork", undefined, { "Stream-Forked-From": "/streams/none" }],
      ["PUT", 413, "s", "x".repeat(1_100_000)],
      ["POST", 204, "s", "3"],
      ["POST", 200, "s", "[4]", producer],
      ["POST", 204, "s", "[4]", producer],
      ["POST", 409, "s", "[4]", { ...producer, "Producer-Seq": "9" }],
      ["POST", 403, "s", "[4]", { ...producer, "Producer-Epoch": "0" }],
      ["POST", 403, "s", "[4]", poor],
      ["POST", 401, "s", "[4]", { Authorization: "Bearer x.y.z" }],
      ["POST", 404, "none", "1"],
      ["POST", 413, "s", JSON.stringify(Array(60).fill(1))],
      ["GET", 200, "s"],
      ["GET", 200, "s?offset=now"],
      ["GET", 204, "s?offset=now&live=long-poll&timeout=0"],
      ["GET", 400, "s?offset=tomorrow"],
      ["GET", 404, "none"],
      ["HEAD", 200, "s"],
      ["HEAD", 404, "none"],
      ["POST", 204, "s", undefined, { "Stream-Closed": "true" }],
      ["POST", 409, "s", "5"],
      ["GET", 200, "s?live=sse&offset=-1"],
      ["PATCH", 405, "s"],
      ["DELETE", 204, "s"],
      ["DELETE", 404, "s"],
    ]) {
      const answer = await ask(`${server.base}/streams/${at}`, { method, body, headers: { ...own, ...headers } });
      assert.equal(answer.status, status, `${method} ${at}: ${answer.body}`);
      described(answer, method === "PATCH" ? "put" : method.toLowerCase(), "/streams/{path}");
      if (method === "GET" && status === 200) offset = answer.headers["stream-next-offset"] ?? offset;
    }
    conforms(offset, "/components/schemas/Offset", "an offset");
  });

  test("without its bus", async () => {
    const redis = await startRedis();
    const server = await startService("standalone", { TRIDENT_BUS: redis.url, TRIDENT_DEMO: "off" });
    try {
      await redis.stop();
      await until("not ready", async () => (await ask(`${server.base}/readyz`)).status === 503, { within: 20_000 });
      described(await ask(`${server.base}/readyz`), "get", "/readyz");
      const headers = { "Content-Type": "application/json", ...bearer() };
      const answer = await ask(`${server.base}/events?channel=a`, { method: "POST", body: "1", headers });
      assert.equal(answer.status, 503);
      assert.ok(Number(answer.headers["retry-after"]) >= 1);
      described(answer, "post", "/events");
    } finally {
      await server.stop();
      await redis.close();
    }
  });

  test("/healthz, /readyz, /metrics", async () => {
    for (const route of ["/healthz", "/readyz", "/metrics"]) described(await ask(server.base + route), "get", route);
  });
});

describe("behind the gateway", () => {
  let stack;
  before(async () => {
    stack = await startStack(GATEWAY);
  });
  after(() => stack?.stop());

  test("it is served, with its page", async () => {
    const answer = await ask(`${stack.base}/openapi.json`);
    assert.equal(answer.headers["content-type"], "application/json");
    assert.deepEqual(answer.json(), DOCUMENT);
    for (const file of ["/api", "/api.css", "/api.js"]) {
      assert.equal((await ask(stack.base + file)).status, 200, file);
      for (const service of Object.values(stack.services)) assert.equal((await ask(service.base + file)).status, 200, service.name);
    }
  });
});

describe("its page", () => {
  let stack;
  let browser;
  before(async () => {
    [stack, browser] = await Promise.all([startStack(STANDALONE), launch()]);
  });
  after(async () => {
    await browser?.close();
    await stack?.stop();
  });

  for (const [size, colorScheme] of [["desktop", "light"], ["phone", "dark"]]) {
    test(`on a ${size}, ${colorScheme}`, async () => {
      const page = await tab(browser, { ...SIZES[size], colorScheme });
      await page.goto(`${stack.base}/api`);
      await page.locator("#schemas > article").first().waitFor();
      const operations = Object.values(DOCUMENT.paths).flatMap(Object.values).length;
      assert.equal(await page.locator("#paths > article").count(), operations);
      assert.equal(await page.locator("#schemas > article").count(), Object.keys(DOCUMENT.components.schemas).length);
      assert.equal(await page.locator("#post-events th", { hasText: "Idempotency-Key" }).count(), 1);
      // What tables link to is there.
      const lost = await page.evaluate(() =>
        [...document.querySelectorAll('main a[href^="#"], nav a[href^="#"]')].map((link) => link.hash.slice(1)).filter((id) => !document.getElementById(id)));
      assert.deepEqual(lost, []);
      assert.ok(!/undefined|\[object|NaN/.test(await page.locator("body").innerText()), "every cell says something");
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      assert.equal(overflow, 0, "it is no wider than its window");
      assert.deepEqual(await violationsOn(page), []);
      assert.deepEqual(page.complaints, []);
      await picture(page, `api-${size}-${colorScheme}`);
      await page.context().close();
    });
  }
});
