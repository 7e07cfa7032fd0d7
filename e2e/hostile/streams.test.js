// Durable Streams: whoever may write some gets no more than a share of their memory, nobody reads another stream by an offset, and what was
// acknowledged is there, whoever closes, forges or deletes.

import assert from "node:assert/strict";
import { figure, STANDALONE, bearer } from "./target.js";
import { attacksOn } from "./attack.js";
import { address, request, tally } from "./crowd.js";

const MIB = 1_048_576;
const BUDGET = 2 * MIB;
/** What a stream takes is limited here by nothing but their memory, and nobody is slow. */
const SETTINGS = {
  TRIDENT_STREAM_BYTES: "2MiB",
  TRIDENT_PUBLISH_RATE: "20000",
  TRIDENT_CONNECT_RATE: "0",
  TRIDENT_MAX_CONNECTIONS_PER_ADDRESS: "0",
  TRIDENT_HEADER_TIMEOUT: "30s",
  TRIDENT_BODY_TIMEOUT: "30s",
};
/** Nothing that an attack may send takes more memory than this for a stream, in bytes. */
const STREAM = 4_096;

/** A client of its own: `write(method, stream, body, headers)` and `read(stream, query)`, in the name of `sub`. */
function client(target, sub, n = 900) {
  const own = { "Content-Type": "application/json", ...bearer({ sub }) };
  const from = address(n);
  const write = (method, stream, body, headers = {}) => request(target.port, `/streams/${stream}`, { method, body, headers: { ...own, ...headers }, from });
  const read = (stream, query = "") => request(target.port, `/streams/${stream}${query}`, { headers: own, from });
  return { write, read };
}

/** Runs `one(n)` for 0 to `count`, so many at a time; what each gives. */
async function inTurns(count, atOnce, one) {
  const results = [];
  let next = 0;
  const worker = async () => {
    for (let n = (next += 1) - 1; n < count; n = (next += 1) - 1) results[n] = await one(n);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  return results;
}

const code = ({ status, body }) => (status < 300 ? `${status}` : `${status} ${JSON.parse(body).error.code}`);
const used = (target) => figure(target.base, "trident_stream_bytes");
const offsetOf = ({ headers }) => headers["stream-next-offset"];

attacksOn(STANDALONE, (attack) => {
  attack("a million streams", "one token creates 1,000 streams with names of 128 characters, and goes on", async (target) => {
    const [greedy, other] = [client(target, "greedy"), client(target, "modest", 901)];
    const name = (n) => `many/${String(n).padStart(123, "x")}`;
    const before = await used(target);
    const answers = await inTurns(1_000, 8, (n) => greedy.write("PUT", name(n)));
    const made = answers.filter(({ status }) => status === 201).length;
    const each = (await used(target) - before) / made;
    assert.ok(each < STREAM, `${each} bytes for each`);
    assert.ok(made > 300 && (await used(target)) <= BUDGET / 2 + STREAM, `${made} streams in ${await used(target)} bytes`);
    assert.deepEqual(new Set(answers.filter(({ status }) => status !== 201).map(code)), new Set(["503 streams_full"]));
    assert.ok(answers.filter(({ status }) => status === 503).every(({ headers }) => Number(headers["retry-after"]) > 0));
    const modest = await other.write("PUT", "modest", "[1]");
    assert.equal(modest.status, 201, modest.body);
    assert.equal((await greedy.write("DELETE", name(0))).status, 204);
    await inTurns(made, 8, (n) => greedy.write("DELETE", name(n)));
    assert.ok((await used(target)) < before + STREAM * 2, "they are gone");
    return `${tally(answers.map(code))}; ${Math.round(each)} bytes each, so that a million would take ${Math.round((each * 1_000_000) / MIB)} MiB, and get ${BUDGET / MIB / 2}; another token: 201`;
  });

  attack("fork bombs", "a stream of 20 messages of 1 KiB, forked 100 times, each fork from the one before, and its source deleted", async (target) => {
    const [greedy, other] = [client(target, "forker"), client(target, "modest", 901)];
    const before = await used(target);
    assert.equal((await greedy.write("PUT", "bomb/0", JSON.stringify(Array(20).fill("x".repeat(1_024))))).status, 201);
    const answers = [];
    let newest = 0;
    for (let n = 1; n <= 100; n += 1) {
      const answer = await greedy.write("PUT", `bomb/${n}`, undefined, { "Stream-Forked-From": `/streams/bomb/${newest}` });
      if (answer.status === 201) newest = n;
      answers.push(answer);
    }
    const made = answers.filter(({ status }) => status === 201).length;
    assert.ok(made > 0 && made < 100, `${made} forks`);
    assert.ok((await used(target)) <= BUDGET, `${await used(target)} bytes`);
    const modest = await other.write("PUT", "modest2", "[1]");
    assert.equal(modest.status, 201, modest.body);
    assert.ok([204, 410].includes((await greedy.write("DELETE", "bomb/0")).status));
    const last = await greedy.read(`bomb/${newest}`);
    assert.equal(JSON.parse(last.body).length, 20, "a fork has the messages of its deleted source");
    await inTurns(101, 8, (n) => greedy.write("DELETE", `bomb/${n}`));
    assert.ok((await used(target)) <= before + STREAM, `${(await used(target)) - before} bytes are left`);
    return `${tally(answers.map(code))}; another token: 201; all deleted`;
  });

  attack("offsets of other streams", "28 offsets on a stream: of another one, of its deleted predecessor, of the future, broken ones", async (target) => {
    const owner = client(target, "owner");
    const reader = client(target, "reader", 901);
    const secret = JSON.stringify(Array(20).fill({ secret: true }));
    const old = await owner.write("PUT", "offsets/mine", secret);
    await owner.write("DELETE", "offsets/mine");
    const other = await owner.write("PUT", "offsets/other", secret);
    await owner.write("PUT", "offsets/mine", '[{"mine":1},{"mine":2}]');
    const theirs = await owner.write("POST", "offsets/other", secret);
    const far = "9999999999999999_99999999999999999999";
    const offsets = [
      ...[old, other, theirs].map(offsetOf), "-1", "now", "0_0", "0-0", "-2", "", "-1-", "earliest", "0000000000000000_00000000000000000000", far,
      "18446744073709551615_18446744073709551615", "18446744073709551616_0", "1_2_3", "1,2", "%00", "..%2Fother", "%2e%2e/other", "-1&offset=now", `${offsetOf(other)}x`,
      ` ${offsetOf(other)}`.replace(" ", "%20"), "+1_1", "1e9_1", "0x10_1", "%F0%9F%92%A5", "a".repeat(4_000),
    ];
    const answers = [];
    for (const live of ["", "&live=long-poll&timeout=0"]) {
      for (const offset of offsets) answers.push(await reader.read("offsets/mine", `?offset=${offset}${live}`));
    }
    for (const { status, body } of answers) {
      assert.ok([200, 204, 400, 410].includes(status), `${status}: ${body}`);
      if (status === 200) for (const message of JSON.parse(body)) assert.ok(message.mine && !message.secret, body);
    }
    assert.equal(code(await reader.read("offsets/mine", `?offset=${offsetOf(old)}`)), "410 offset_gone");
    const poor = await request(target.port, `/streams/offsets/mine?offset=${offsetOf(other)}`, { headers: bearer({ trident: { subscribe: ["offsets/other"] } }) });
    assert.equal(poor.status, 403);
    return tally(answers.map(code));
  });

  attack("forged producers", "another token writes with the id of a worker: older, equal and later numbers, gaps, 2^53; and 1,050 producers of its own", async (target) => {
    const [worker, forger] = [client(target, "worker"), client(target, "forger", 901)];
    const as = (id, epoch, seq) => ({ "Producer-Id": id, "Producer-Epoch": String(epoch), "Producer-Seq": String(seq) });
    await worker.write("PUT", "forged");
    for (let n = 0; n < 3; n += 1) assert.equal((await worker.write("POST", "forged", `["worker ${n}"]`, as("worker", 5, n))).status, 200);
    const forged = [];
    for (const [epoch, seq] of [[4, 0], [4, 3], [0, 0], [5, 0], [5, 2], [5, 4], [5, 9_007_199_254_740_991], [6, 1], [9_007_199_254_740_992, 0], ["-1", 0], ["5.0", 3], ["", 0]]) {
      forged.push(await forger.write("POST", "forged", '["forged"]', as("worker", epoch, seq)));
    }
    assert.ok(forged.every(({ status }) => status !== 200), tally(forged.map(code)));
    assert.equal((await worker.write("POST", "forged", '["worker 3"]', as("worker", 5, 3))).status, 200, "the worker is not disturbed");
    const many = await inTurns(1_050, 8, (n) => forger.write("POST", "forged", `[${n}]`, as(`${"p".repeat(240)}${n}`, 0, 0)));
    const accepted = many.filter(({ status }) => status === 200).length;
    assert.equal(accepted, 999, "a stream remembers 1,000");
    assert.equal((await worker.write("POST", "forged", '["worker 4"]', as("worker", 5, 4))).status, 200, "the worker is still known");
    const texts = JSON.parse((await worker.read("forged")).body).filter((message) => typeof message === "string");
    assert.deepEqual(texts, [0, 1, 2, 3, 4].map((n) => `worker ${n}`));
    await worker.write("DELETE", "forged");
    return `${tally(forged.map(code))}; producers: ${tally(many.map(code))}`;
  });

  attack("lifetimes of nothing", "200 streams with a TTL of 0, or that have expired, read and appended to at once", async (target) => {
    const hasty = client(target, "hasty");
    const before = await used(target);
    const past = { "Stream-Expires-At": "2001-01-01T00:00:00Z" };
    const answers = await inTurns(200, 8, async (n) => {
      const lifetime = n % 2 ? { "Stream-TTL": "0" } : past;
      const made = await hasty.write("PUT", `brief/${n % 50}`, "[1,2,3]", lifetime);
      const [appended, read] = await Promise.all([hasty.write("POST", `brief/${n % 50}`, "[4]"), hasty.read(`brief/${n % 50}`)]);
      return [made, appended, read];
    });
    const all = answers.flat();
    assert.ok(all.every(({ status }) => status < 500), tally(all.map(code)));
    await inTurns(50, 8, (n) => hasty.read(`brief/${n}`));
    for (let n = 0; n < 50; n += 1) assert.equal((await hasty.read(`brief/${n}`)).status, 404);
    assert.ok((await used(target)) <= before + STREAM, `${(await used(target)) - before} bytes are left`);
    return `creating: ${tally(answers.map(([made]) => code(made)))}; then none is there`;
  });

  attack("races with the end", "10 streams: 12 appends, a close and a deletion of another at once, with readers of each kind", async (target) => {
    const racer = client(target, "racer");
    const outcomes = [];
    await inTurns(10, 3, async (n) => {
      const stream = `race/${n}`;
      await racer.write("PUT", stream);
      const readers = [racer.read(stream, "?offset=-1&live=sse"), racer.read(stream, "?offset=-1&live=sse")];
      const appends = Array.from({ length: 12 }, (_, at) => racer.write("POST", stream, `["${at}"]`));
      appends.splice(n % 12, 0, racer.write("POST", stream, '["last"]', { "Stream-Closed": "true" }));
      const answers = await Promise.all(appends);
      const acknowledged = answers.flatMap(({ status }, at) => (status < 300 ? [at === n % 12 ? "last" : String(at > n % 12 ? at - 1 : at)] : []));
      const stored = JSON.parse((await racer.read(stream)).body);
      assert.deepEqual(stored.toSorted(), acknowledged.toSorted(), "what was acknowledged, and nothing else");
      assert.equal(stored.at(-1), "last", "nothing is after the end");
      for (const { body } of await Promise.all(readers)) {
        const seen = body.split("\n").filter((line) => line.startsWith("data:[")).flatMap((line) => JSON.parse(line.slice(5)));
        assert.deepEqual(seen, stored);
      }
      const [one, two] = await Promise.all([racer.write("DELETE", stream), racer.write("DELETE", stream), racer.write("POST", stream, '["late"]')]);
      assert.deepEqual([one.status, two.status].toSorted(), [204, 404]);
      outcomes.push(...answers);
    });
    assert.ok(outcomes.some(({ status }) => status === 409), "some were late");
    return tally(outcomes.map(code));
  });
}, { settings: SETTINGS });
