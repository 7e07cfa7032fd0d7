// Bodies that grow when they are unpacked, and larger than is allowed.

import assert from "node:assert/strict";
import zlib from "node:zlib";
import { address, request, tally } from "./crowd.js";
import { attacksOn } from "./attack.js";
import { KINDS, bearer } from "./target.js";

const PUBLISH = { ...bearer({ sub: "bomber" }), "Content-Type": "text/plain" };
/** 32 MiB of zeros are 32 KiB. */
const zeros = Buffer.alloc(32 * 1_048_576);
const BOMBS = { gzip: zlib.gzipSync(zeros), deflate: zlib.deflateSync(zeros), br: zlib.brotliCompressSync(zeros, { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 1 } }) };

for (const kind of KINDS) {
  attacksOn(kind, (attack) => {
    attack("compression bombs", "32 MiB of zeros in 32 KiB, by gzip, deflate and br, 20 of each to `/data`, `/events` and a polling session", async (target) => {
      const from = address(400);
      const sids = await Promise.all(Object.keys(BOMBS).map(async () => JSON.parse((await request(target.port, "/socket.io/?EIO=4&transport=polling", { from })).body.slice(1)).sid));
      const statuses = [];
      for (const [at, [coding, body]] of Object.entries(BOMBS).entries()) {
        const paths = ["/data?channel=public.bomb", "/events?channel=public.bomb", `/socket.io/?EIO=4&transport=polling&sid=${sids[at]}`];
        const all = paths.flatMap((path) => Array.from({ length: 20 }, () => request(target.port, path, { from, method: "POST", headers: { ...PUBLISH, "Content-Encoding": coding }, body })));
        statuses.push(...(await Promise.allSettled(all)).map(({ value }) => value?.status ?? "closed"));
      }
      assert.deepEqual(statuses.filter((status) => status >= 200 && status < 300), [], "one was taken");
      return tally(statuses);
    });

    attack("bodies beyond the limit", "1 MiB to publish, 8 MiB to a polling session, with a length and in chunks", async (target) => {
      const from = address(401);
      const { sid } = JSON.parse((await request(target.port, "/socket.io/?EIO=4&transport=polling", { from })).body.slice(1));
      const tried = [["/data?channel=public.large", 1], ["/events?channel=public.large", 1], [`/socket.io/?EIO=4&transport=polling&sid=${sid}`, 8]];
      const statuses = [];
      for (const [path, size] of tried) {
        for (const headers of [{}, { "Transfer-Encoding": "chunked" }]) {
          const answer = await request(target.port, path, { from, method: "POST", headers: { ...PUBLISH, ...headers }, body: Buffer.alloc(size * 1_048_576, "x") }).catch(() => ({ status: "closed" }));
          statuses.push(answer.status);
        }
      }
      assert.ok(statuses.every((status) => ["closed", 400, 413].includes(status)), tally(statuses));
      return tally(statuses);
    });

    attack("permessage-deflate", "WebSocket upgrades that offer it", async (target) => {
      const headers = { Connection: "Upgrade", Upgrade: "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits" };
      const answer = await request(target.port, "/socket.io/?EIO=4&transport=websocket", { from: address(402), headers });
      assert.equal(answer.status, 101);
      assert.equal(answer.headers["sec-websocket-extensions"], undefined, "it was agreed to");
      return "101 without it";
    });
  });
}
