// Requests that two servers might tell apart differently: what one takes for a body, the other takes for a request. Whatever
// the shape, it has one answer, and what is hidden in it is never done.

import assert from "node:assert/strict";
import { ask } from "../lib/http.js";
import { until } from "../lib/wait.js";
import { Caller, talk, tally } from "./crowd.js";
import { attacksOn } from "./attack.js";
import { KINDS, bearer } from "./target.js";

const AUTHORIZATION = `Authorization: ${bearer({ sub: "smuggler" }).Authorization}`;
const HIDDEN = `POST /data?channel=public.hidden HTTP/1.1\r\nHost: a\r\n${AUTHORIZATION}\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\n1`;
/** A publish that is refused for its channel, or for its framing before: it must not succeed either. */
const post = (headers, body) => `POST /data?channel=a%2fb HTTP/1.1\r\nHost: a\r\n${AUTHORIZATION}\r\nContent-Type: application/json\r\n${headers}\r\n\r\n${body}`;
const CHUNKED = `0\r\n\r\n${HIDDEN}`;

/** Each of them is malformed or ambiguous: it has an answer that is an error, or none, and then the connection ends. */
const ENDS = {
  "CL.TE": post(`Content-Length: ${CHUNKED.length}\r\nTransfer-Encoding: chunked`, CHUNKED),
  "TE.CL": post("Transfer-Encoding: chunked\r\nContent-Length: 4", `${HIDDEN.length.toString(16)}\r\n${HIDDEN}\r\n0\r\n\r\n`),
  "TE.TE, the second unknown": post("Transfer-Encoding: chunked\r\nTransfer-Encoding: cow", CHUNKED),
  "TE: xchunked": post("Transfer-Encoding: xchunked", CHUNKED),
  "TE: chunked, identity": post("Transfer-Encoding: chunked, identity", CHUNKED),
  "TE with a tab and CL": post(`Transfer-Encoding:\tchunked\r\nContent-Length: ${CHUNKED.length}`, CHUNKED),
  "a space before the colon": post("Transfer-Encoding : chunked", CHUNKED),
  "two lengths": post(`Content-Length: 0\r\nContent-Length: ${HIDDEN.length}`, HIDDEN),
  "two lengths in one line": post(`Content-Length: 0, ${HIDDEN.length}`, HIDDEN),
  "a length with a sign": post("Content-Length: +0", HIDDEN),
  "a length in hexadecimal": post("Content-Length: 0x0", HIDDEN),
  "a chunk size with a sign": post("Transfer-Encoding: chunked", `+0\r\n\r\n${HIDDEN}`),
  "a chunk size in 0x": post("Transfer-Encoding: chunked", `0x0\r\n\r\n${HIDDEN}`),
  "a chunk size beyond 64 bits": post("Transfer-Encoding: chunked", `10000000000000000\r\n${HIDDEN}`),
  "a chunk longer than its size": post("Transfer-Encoding: chunked", `1\r\n11\r\n0\r\n\r\n${HIDDEN}`),
  "an endless chunk extension": post("Transfer-Encoding: chunked", `0;${"a".repeat(200_000)}`),
};

/** Each of these is one whole request with something odd, then one that is not hidden: two answers at most, and no third. */
const ASK = "GET /data?mode=poll&channel=public.odd HTTP/1.1\r\nHost: a\r\n\r\n";
const GO_ON = {
  "a request as a body": [post(`Content-Length: ${HIDDEN.length}`, HIDDEN), 2],
  "a request in a chunk": [post("Transfer-Encoding: chunked", `${HIDDEN.length.toString(16)}\r\n${HIDDEN}\r\n0\r\n\r\n`), 2],
  "a body on GET": [`GET /data?mode=poll&channel=public.odd HTTP/1.1\r\nHost: a\r\nContent-Length: ${HIDDEN.length}\r\n\r\n${HIDDEN}`, 2],
  "a request in a trailer": [post("Transfer-Encoding: chunked", `1\r\n1\r\n0\r\nX: ${HIDDEN.split("\r\n")[0]}\r\n\r\n`), 2],
  "obs-fold": [`GET /data?mode=poll&channel=public.odd HTTP/1.1\r\nHost: a\r\nX: 1\r\n Content-Length: ${HIDDEN.length}\r\n\r\n`, 2],
  "lines that end with LF": [ASK.replaceAll("\r\n", "\n"), 2],
  "a CR within a line": [`GET /data?mode=poll&channel=public.odd HTTP/1.1\r\nHost: a\r\nX: 1\rContent-Length: ${HIDDEN.length}\r\n\r\n`, 2],
  "absolute-form of another host": ["GET http://elsewhere.example/data?mode=poll&channel=public.odd HTTP/1.1\r\nHost: a\r\n\r\n", 2],
  "an upgrade to HTTP/2": [ASK.replace("\r\n\r\n", "\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n"), 2],
  "Connection: Content-Length": [post(`Connection: Content-Length\r\nContent-Length: ${HIDDEN.length}`, HIDDEN), 2],
};

for (const kind of KINDS) {
  attacksOn(kind, (attack) => {
    const untouched = async (target) => {
      const { messages } = (await ask(`${target.base}/data?mode=poll&channel=public.hidden&since=earliest`)).json();
      assert.deepEqual(messages, [], "a hidden request was done");
    };

    attack("smuggling", `${Object.keys(ENDS).length} ambiguous framings, a publish hidden in each`, async (target) => {
      const wrong = [];
      const got = await Promise.all(Object.entries(ENDS).map(async ([what, bytes]) => {
        const { statuses, closed } = await talk(target.port, bytes, { within: 8_000 });
        const refused = statuses.length === 0 || (statuses.length === 1 && statuses[0] >= 400);
        if (!refused || !closed) wrong.push(`${what}: ${statuses} ${closed ? "closed" : "open"}`);
        return statuses[0] ?? "closed";
      }));
      assert.deepEqual(wrong, []);
      await untouched(target);
      return `${tally(got)}; each closed, nothing published`;
    });

    attack("requests in bodies", `${Object.keys(GO_ON).length} odd requests, a proper one behind each`, async (target) => {
      const wrong = [];
      const got = await Promise.all(Object.entries(GO_ON).map(async ([what, [bytes, most]]) => {
        const { statuses, closed } = await talk(target.port, bytes + ASK, { within: 2_000, enough: (caller) => caller.statuses.length >= most });
        // As many answers as requests; or an error, and the end.
        const proper = statuses.length === most || (statuses.length === 1 && closed);
        if (!proper || (statuses.length === most && statuses[1] !== 200)) wrong.push(`${what}: ${statuses} ${closed ? "closed" : "open"}`);
        return statuses.join(" and ");
      }));
      assert.deepEqual(wrong, []);
      await untouched(target);
      return `${tally(got)}; nothing published`;
    });

    attack("pipelines", "300 requests in one write on each of 5 connections; the client reads nothing for a second", async (target) => {
      const callers = Array.from({ length: 5 }, (_, n) => new Caller(target.port, { from: `127.0.3.${n + 1}`, say: "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n".repeat(300) }));
      callers.forEach(({ socket }) => socket.pause());
      setTimeout(() => callers.forEach(({ socket }) => socket.resume()), 1_000);
      try {
        await until("all answers", () => callers.every(({ statuses }) => statuses.length >= 300), { within: 20_000 });
        assert.ok(callers.every(({ statuses }) => statuses.length === 300 && statuses.every((status) => status === 200)));
        return "as many answers as requests, all 200";
      } finally {
        callers.forEach((caller) => caller.leave());
      }
    });
  });
}
