// The chat in the recovery test: a client with a name, in two rooms and subscribed to a channel, that sends and receives.

import assert from "node:assert/strict";
import { bearer } from "../../lib/token.js";
import { CutSession, difference } from "./cut-session.js";

export class ChatSession extends CutSession {
  /** For each message that the client sent, by the id that was acknowledged, its data. */
  #said = new Map();
  /** The same of messages that were published over HTTP. */
  #published = new Map();
  #keys = 0;
  #missed = 0;

  constructor(server, options, place, name) {
    super(server, options, place);
    this.name = name;
    this.rooms = [`${name}-a`, `${name}-b`];
    this.channel = `public.${name}`;
  }

  async #ok(event, ...args) {
    const answer = await this.ask(event, ...args);
    assert.equal(answer?.ok, true, `${event}: ${JSON.stringify(answer)}`);
    return answer;
  }

  /** Sends a chat message under a key of its own. */
  async #say(data) {
    this.#keys += 1;
    const { id } = await this.#ok("chat message", data, `${this.name}-${this.#keys}`);
    assert.ok(!this.#said.has(id), `${id} was acknowledged for two messages`);
    this.#said.set(id, plain(data));
    return id;
  }

  async #publish(messages) {
    const body = messages.map((message) => JSON.stringify(message)).join("\n");
    const headers = { "Content-Type": "application/x-ndjson", ...bearer() };
    const response = await fetch(`${this.server.base}/events`, { method: "POST", headers, body });
    assert.equal(response.status, 201);
    (await response.json()).ids.forEach((id, n) => this.#published.set(id, messages[n].data));
  }

  /** Some messages on each of the client's channels. */
  #some(what) {
    const [a, b] = this.rooms.map((room) => `chat.${room}`);
    return [
      { channel: a, event: "chat message", data: `${what}: one` },
      { channel: this.channel, data: { what, numbers: [1, -2.5, null] } },
      { channel: b, event: "chat message", data: [what, "two"] },
      { channel: this.channel, event: "note", data: `${what}: "three"` },
    ];
  }

  async setUp() {
    await this.#ok("leave", "lobby");
    await this.#ok("name", this.name);
    for (const room of this.rooms) await this.#ok("join", room);
    await this.#ok("subscribe", { channels: [this.channel] });
  }

  async whileAway() {
    this.#missed += 1;
    await this.#publish([1, 2, 3].flatMap((n) => this.#some(`missed ${this.#missed}.${n}`)));
  }

  async round(n) {
    const what = `round ${n}`;
    await Promise.all([
      this.#publish(this.#some(what)),
      this.#say(`${what}, héllo`),
      this.#say(Buffer.from([n, 0, 255])),
      this.#ok("typing", n % 2 === 0),
      this.#say({ n, file: Buffer.from(what), more: [Buffer.alloc(0), null] }),
      this.#ok("history", { room: this.rooms[0], limit: 2 }),
      this.#say(n % 2 === 0 ? { short: n } : what.repeat(300)),
    ]);
  }

  async finish() {
    const last = await this.#say("last");
    const event = await this.until("the last message", () => this.#messages().find(({ args }) => args[1].id === last));
    const { room, from } = event.args[1];
    assert.deepEqual({ room, from }, { room: this.rooms[1], from: this.name });
    // The earlier sockets of the session have left.
    for (const room of this.rooms) {
      const { members } = await this.until(`${room} alone`, async () => {
        const answer = await this.#ok("join", room);
        return answer.count === 1 && answer;
      });
      assert.deepEqual(members, [this.name]);
    }
    await this.#check(await this.#log());
  }

  /** What was received, beside presence: that comes once in a while, and none of it is repeated. */
  #messages() {
    return this.received.filter(({ event }) => event !== "presence");
  }

  /** All messages of the client's channels, in order. */
  async #log() {
    const channels = [...this.rooms.map((room) => `chat.${room}`), this.channel].map((channel) => `channel=${channel}`).join("&");
    const log = [];
    for (let since = "earliest"; ; ) {
      const response = await fetch(`${this.server.base}/data?${channels}&mode=poll&limit=1000&format=batch&since=${since}`);
      assert.equal(response.status, 200);
      const { messages, cursor } = await response.json();
      if (messages.length === 0) return log;
      log.push(...messages);
      since = cursor;
    }
  }

  #check(log) {
    const line = (id, channel, event, data) => `${id} ${channel} ${event} ${JSON.stringify(data)}`;
    const stored = log.map(({ id, channel, event, data }) => line(id, channel, event, data));
    const received = this.#messages().map(({ event, args: [data, meta] }) => line(meta?.id, meta?.channel, event, plain(data)));
    assert.ok(received.length === stored.length && received.every((one, n) => one === stored[n]), `not as in the log: ${difference(received, stored)}`);
    const sent = new Map([...this.#said, ...this.#published]);
    assert.equal(log.length, sent.size, "a message was stored twice, or one that was acknowledged is missing");
    for (const { id, data } of log) assert.deepEqual(data, sent.get(id), `the data of ${id}`);
  }
}

/** A value as the log shows it to clients without binary data. */
function plain(value) {
  if (value instanceof Uint8Array) return { base64: Buffer.from(value).toString("base64") };
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, plain(one)]));
}
