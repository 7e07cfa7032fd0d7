// One reader, 2,000 messages, and no connection that lasts: each message comes once and in order, or its loss is told.

import assert from "node:assert/strict";
import http from "node:http";
import { after, before, describe, test } from "node:test";
import { RoamingReader } from "../lib/roaming.js";
import { ask } from "../lib/http.js";
import { chance, seed } from "../lib/random.js";
import { ONE_LOG, STANDALONE, startStack } from "../lib/stack.js";
import { bearer } from "../lib/token.js";
import { until } from "../lib/wait.js";

const MESSAGES = 2_000;
const CHANNEL = "public.hop";

/** Publishes messages 0, 1, 2, … one or several at a time, on either path, and keeps what was acknowledged. */
class Writer {
  ids = [];
  agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

  constructor(base, pick) {
    Object.assign(this, { base, pick });
  }

  data(n) {
    return { n, text: ["plain", "zwei\nZeilen", "时间:🌊", "\r", "x".repeat(this.pick(400))][n % 5] };
  }

  async post(path, type, body) {
    const answer = await new Promise((resolve, reject) => {
      const headers = { "Content-Type": type, ...bearer() };
      const request = http.request(`${this.base}${path}`, { method: "POST", headers, agent: this.agent }, (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (more) => { text += more; });
        response.on("end", () => resolve({ status: response.statusCode, text }));
      });
      request.on("error", reject);
      request.end(body);
    });
    assert.equal(answer.status, 201, answer.text);
    return JSON.parse(answer.text);
  }

  async write(most = MESSAGES) {
    while (this.ids.length < most) {
      const path = this.pick(2) ? "/events" : "/data";
      const next = this.ids.length;
      if (this.pick(3) === 0) {
        const count = Math.min(2 + this.pick(12), most - next);
        const all = Array.from({ length: count }, (_, at) => JSON.stringify({ channel: CHANNEL, data: this.data(next + at) }));
        this.ids.push(...(await this.post(path, "application/x-ndjson", all.join("\n"))).ids);
      } else {
        this.ids.push((await this.post(`${path}?channel=${CHANNEL}`, "application/json", JSON.stringify(this.data(next)))).id);
      }
    }
  }

  close() {
    this.agent.destroy();
  }
}

async function begin(stack, pick) {
  const { cursor } = (await ask(`${stack.base}/data?mode=poll&channel=${CHANNEL}`)).json();
  return { writer: new Writer(stack.base, chance(seed + 1)), reader: new RoamingReader(stack.base, CHANNEL, cursor, pick) };
}

for (const kind of [STANDALONE, ONE_LOG]) {
  describe(`hopping: ${kind} (TRIDENT_SEED=${seed})`, () => {
    describe("with room for all", () => {
      let stack;
      before(async () => {
        stack = await startStack(kind, { TRIDENT_HISTORY_COUNT: String(2 * MESSAGES) });
      });
      after(() => stack?.stop());

      test("each message comes once and in order", { timeout: 180_000 }, async () => {
        const { writer, reader } = await begin(stack, chance());
        const writing = writer.write();
        while (reader.taken.length < MESSAGES) {
          await reader.hop();
          assert.ok(reader.taken.length <= MESSAGES);
        }
        await writing;
        writer.close();
        assert.equal(reader.taken.filter((one) => one.gap).length, 0, "nothing was dropped, so there is no gap");
        assert.deepEqual(reader.taken.map((one) => one.id), writer.ids);
        assert.deepEqual(reader.taken.map((one) => one.data.n), writer.ids.map((_, n) => n));
        assert.ok(reader.cuts > 50, `only ${reader.cuts} cuts in ${JSON.stringify(reader.hops)}`);
        for (const [name, count] of Object.entries(reader.hops)) assert.ok(count > 0, `no hop on ${name}`);
      });
    });

    describe("with room for 25", () => {
      let stack;
      before(async () => {
        stack = await startStack(kind, { TRIDENT_HISTORY_COUNT: "25" });
      });
      after(() => stack?.stop());

      test("each loss is reported by a gap, and each gap is a loss", { timeout: 180_000 }, async () => {
        const pick = chance();
        const { writer, reader } = await begin(stack, pick);
        let done = false;
        const writing = writer.write().finally(() => { done = true; });
        let last = -1;
        while (last < MESSAGES - 1) {
          // Now and then the reader is away until more has been written than is held.
          if (pick(4) === 0) await until("the writer", () => done || writer.ids.length > last + 30 + pick(60), { within: 30_000, every: 2 });
          await reader.hop();
          last = reader.taken.findLast((one) => one.id)?.data.n ?? -1;
        }
        await writing;
        writer.close();
        let [expected, told, gaps, lost] = [0, false, 0, 0];
        for (const one of reader.taken) {
          if (one.gap) {
            told = true;
            continue;
          }
          const { n } = one.data;
          assert.equal(one.id, writer.ids[n], `message ${n}`);
          assert.ok(n >= expected, `message ${n} came again`);
          if (n > expected) {
            assert.ok(told, `messages ${expected} to ${n - 1} were lost in silence`);
            gaps += 1;
            lost += n - expected;
          } else {
            assert.ok(!told, `a gap was told before message ${n}, and nothing was missing`);
          }
          told = false;
          expected = n + 1;
        }
        assert.ok(gaps > 3, `the test lost too little to mean something: ${gaps} gaps, ${lost} messages`);
      });
    });
  });
}
