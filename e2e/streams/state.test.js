// Keyed state in a JSON stream, with the official package: clients have the newest value of each key, whoever writes it and however they read.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { DurableStream, stream } from "@durable-streams/client";
import { MaterializedState, isChangeEvent } from "@durable-streams/state";
import { createStateSchema, createStreamDB } from "@durable-streams/state/db";
import { publish } from "../lib/http.js";
import { startService } from "../lib/stack.js";
import { bearer } from "../lib/token.js";
import { until } from "../lib/wait.js";

let server;
before(async () => {
  server = await startService("standalone", { TRIDENT_DEMO: "off" });
});
after(() => server?.stop());

/** Accepts every object. */
const anything = { "~standard": { version: 1, vendor: "test", validate: (value) => ({ value }) } };
const state = createStateSchema({
  users: { schema: anything, type: "user", primaryKey: "id" },
  rooms: { schema: anything, type: "room", primaryKey: "id" },
});

/** A stream DB on the stream of `url`. */
async function open(t, url, live) {
  const streamOptions = { url, contentType: "application/json", headers: bearer() };
  const db = createStreamDB({ streamOptions, state, live });
  t.after(() => db.close());
  await db.preload();
  return db;
}

/** One field of all rows of a collection, by key. */
const all = (collection, field = "name") => Object.fromEntries(collection.toArray.map((row) => [row.id, row[field]]));

test("a stream DB follows inserts, updates and deletes", async (t) => {
  for (const live of ["long-poll", "sse"]) {
    const channel = `state/${live}`;
    const url = `${server.base}/streams/${channel}`;
    const handle = await DurableStream.create({ url, contentType: "application/json", headers: bearer() });
    const append = (event) => handle.append(JSON.stringify(event));
    const { users, rooms } = state;
    await append(users.insert({ key: "1", value: { id: "1", name: "Ann" } }));
    await append(users.insert({ key: "2", value: { id: "2", name: "Bob" } }));
    await append(rooms.insert({ key: "1", value: { id: "1", topic: "tea" } }));
    const early = await open(t, url, live);
    assert.deepEqual(all(early.collections.users), { 1: "Ann", 2: "Bob" });
    await append(users.update({ key: "1", value: { id: "1", name: "Anna" } }));
    await append(users.delete({ key: "2" }));
    // As a message of the channel, from a publisher that knows nothing of streams.
    await publish(server.base, channel, users.upsert({ key: "3", value: { id: "3", name: "Eve" } }));
    const expected = { 1: "Anna", 3: "Eve" };
    await until("the changes", () => isDeepStrictEqual(all(early.collections.users), expected));
    assert.deepEqual(all(early.collections.rooms, "topic"), { 1: "tea" });
    const late = await open(t, url, live);
    assert.deepEqual(all(late.collections.users), expected);
    // The same by hand, of what the stream has.
    const materialized = new MaterializedState();
    const response = await stream({ url, live: false, offset: "-1", headers: bearer() });
    const events = await response.json();
    assert.ok(events.every(isChangeEvent));
    materialized.applyBatch(events);
    assert.deepEqual([...materialized.getType("user").values()], [{ id: "1", name: "Anna" }, { id: "3", name: "Eve" }]);
  }
});
