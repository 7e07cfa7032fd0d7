// One fault: publishers and readers of all three transports at work, the fault, and at the end an account of every message.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ask } from "../lib/http.js";
import { chance, seed } from "../lib/random.js";
import { until } from "../lib/wait.js";
import { changeOf, Ledger } from "./ledger.js";
import { write } from "./rows.js";
import { HttpPublisher } from "./publishers.js";
import { LongPollReader, RawReader, SseReader, StreamReader } from "./readers.js";
import { SocketPublisher, SocketReader } from "./sockets.js";
import { WebSocketPublisher, WebSocketReader } from "./websockets.js";

const HTTP_READERS = [
  // An EventSource waits for as long as the server asks; the others come back at once, in the midst of it.
  ["SSE, as a browser", "sse", SseReader, { patient: true }],
  ["SSE, as a browser, too", "sse", SseReader, { patient: true }],
  ["SSE", "sse", SseReader],
  ["SSE, too", "sse", SseReader],
  ["long poll", "comet", LongPollReader],
  ["long poll, too", "comet", LongPollReader],
  ["long poll, raw", "comet", RawReader],
  ["stream", "comet", StreamReader],
  ["stream, too", "comet", StreamReader],
  ["/ws", "ws", WebSocketReader],
  ["/ws, too", "ws", WebSocketReader],
];
const SOCKETS = [
  ["WebSocket", ["websocket"]],
  ["WebSocket, too", ["websocket"]],
  ["polling", ["polling"]],
  ["polling, too", ["polling"]],
  ["upgrade", ["polling", "websocket"]],
];
let trials = 0;

/** Everybody at work on one cluster, on channels of their own. */
export class Trial {
  ledger = new Ledger();
  readers = [];
  publishers = [];

  /** `renames`: chat clients change their names; then nothing but what `killed` announces may end their connections. */
  constructor(cluster, { renames = false } = {}) {
    trials += 1;
    Object.assign(this, { cluster, renames, pick: chance(seed + trials), room: `faults-${trials}` });
    this.channels = [`public.${this.room}`, `chat.${this.room}`];
    this.query = this.channels.map((name) => `channel=${name}`).join("&");
  }

  /** `every`: how many milliseconds a publisher rests between two batches, on average; `cursor`: where readers begin, the head of the log by default. */
  async begin({ every = 60, cursor } = {}) {
    const { base } = this.cluster;
    const [channel] = this.channels;
    cursor ??= (await ask(`${base}/data?mode=poll&${this.query}`)).json().cursor;
    const shared = { base, channels: this.channels, cursor, pick: this.pick };
    this.cursor = cursor;
    for (const [name, transport, Kind, options] of HTTP_READERS) {
      this.readers.push(Object.assign(new Kind({ ...shared, account: this.ledger.reader(name, transport) }), options));
    }
    for (const [name, transports] of SOCKETS) {
      this.readers.push(new SocketReader({ ...shared, account: this.ledger.reader(name, "socket.io"), transports }));
    }
    this.shared = shared;
    const common = { base, channel, room: this.room, ledger: this.ledger, pick: this.pick };
    this.publishers.push(
      new HttpPublisher({ ...common, keyed: true, every }),
      new HttpPublisher({ ...common, keyed: true, every }),
      new HttpPublisher({ ...common, keyed: false, every }),
      new WebSocketPublisher({ ...common, every: 3 * every }),
    );
    for (const transports of [["websocket"], ["polling"]]) {
      this.publishers.push(Object.assign(new SocketPublisher({ ...common, transports, every }), { renames: this.renames }));
    }
    for (const one of [...this.readers, ...this.publishers]) one.start();
    await this.publish(2, 15_000);
    await this.caughtUp();
  }

  /** Waits until everybody has something that is published from now on, each publisher anew. */
  async caughtUp(within = 40_000) {
    await this.publish(1, within);
    const mark = await this.mark();
    await until("everybody to catch up", () => this.without(mark).length === 0, { within }).catch((error) => {
      throw new Error(`${error.message}; without message ${mark}: ${this.without(mark).join("; ")}`);
    });
  }

  /** Waits until each of these publishers has published so many more messages. */
  async publish(more, within, publishers = this.publishers) {
    const marks = publishers.map(({ acknowledged }) => acknowledged + more);
    const idle = () => publishers.filter(({ acknowledged }, at) => acknowledged < marks[at]).map(({ name }) => name);
    await until("publishers to go on", () => idle().length === 0, { within }).catch((error) => {
      throw new Error(`${error.message}; idle: ${idle().join("; ")}`);
    });
  }

  without = (n) => this.ledger.accounts.filter((account) => !account.has(n)).map(({ name }) => name);

  /** Connections of whoever has one that should last, by name. */
  links = () => Object.fromEntries(this.readers.filter(({ lasts }) => lasts).map((reader) => [reader.account.name, reader.connections]));

  /** How much each stream has brought, signs of life included, by name. */
  signs = () => Object.fromEntries(this.readers.filter(({ lasts, pieces }) => lasts && pieces).map((reader) => [reader.account.name, reader.pieces]));

  /** Those with a session. */
  sockets = () => [...this.readers, ...this.publishers].filter(({ socket }) => socket);

  /** The only process is killed now: sessions that its log has must be recovered. */
  killed() {
    this.sockets().forEach((socket) => socket.killed());
  }

  /** Publishes one message with a key, and gives its number. */
  async mark() {
    const n = this.ledger.next();
    await this.publishers[0].publish([n], `mark-${this.room}-${n}`);
    return n;
  }

  /** Ends the work, and closes the accounts. What does not come `within` so many milliseconds is lost. */
  async end({ within = 20_000 } = {}) {
    await Promise.all(this.publishers.map((publisher) => publisher.finish()));
    const last = await this.mark();
    await until("the last message", () => this.without(last).length === 0, { within }).catch(() => {});
    await this.audit();
    await this.stop();
    const sum = this.ledger.close();
    sum.wrong.push(...[...this.readers].flatMap(({ refused }) => refused ?? []), ...this.publishers.flatMap(({ strange, refused }) => strange ?? refused));
    return sum;
  }

  /** Whoever comes later, with a cursor from before, is given the same: read from each replica by itself. */
  async audit() {
    for (const replica of this.cluster.of("comet-svc")) {
      const account = this.ledger.reader(`a later reader at ${replica.label}`, "later");
      let since = this.cursor;
      for (;;) {
        const answer = await ask(`${replica.base}/data?${this.query}&since=${since}&mode=poll&limit=1000`);
        const batch = answer.json();
        if (batch.gap) account.gap({ requested: since, resumed: answer.headers["trident-gap"] });
        if (batch.messages.length === 0) break;
        const changes = batch.messages.map((message) => changeOf(message, this.channels)).filter(Boolean);
        assert.deepEqual(changes, [], account.name);
        batch.messages.forEach(({ id, data }) => account.took(id, data.n));
        since = batch.cursor;
      }
    }
  }

  /** How often a publisher was told that nobody is there. */
  refusals = () => this.publishers.reduce((all, { refusals }) => all + refusals, 0);

  async stop() {
    await Promise.all([...this.publishers, ...this.readers].map((one) => one.stop()));
  }
}

/** Runs `fault(trial)` while everybody is at work, and asserts that every message is accounted for. */
async function suffer(cluster, name, fault, { gaps = false, check = () => {}, renames, every }) {
  const trial = new Trial(cluster, { renames });
  try {
    await trial.begin({ every });
    await fault(trial);
    await trial.caughtUp();
    const { wrong, ...sums } = await trial.end();
    const row = { fault: name, ...sums, refusals: trial.refusals() };
    write(row);
    assert.deepEqual(wrong.slice(0, 20), [], `${wrong.length} things are wrong`);
    assert.deepEqual([sums.lost, sums.repeated], [0, 0]);
    // Who comes later may be told of a gap by the log's edge as well as by the break in it.
    const told = trial.ledger.accounts.filter((account) => account.gaps > 0 !== gaps && !(gaps && account.transport === "later"));
    assert.deepEqual(told.map((account) => account.name), [], gaps ? "were not told of the gap" : "were told of a gap where nothing was lost");
    check(row, trial);
  } catch (error) {
    error.message += `\n${cluster.said()}\n--- nginx\n${cluster.gateway.told().slice(-2_000)}`;
    throw error;
  } finally {
    await trial.stop();
    await cluster.mend();
  }
}

/**
 * Declares tests on `cluster()`: `fault(name, body, {gaps, check, renames, every, timeout})`. `gaps`: every reader must get one, instead of none;
 * `check(row, trial)`: what else holds of the account; `renames`: as of a `Trial`; `every`: as of `begin`.
 */
export function faultsOf(cluster) {
  return (name, body, options = {}) => {
    test(name, { timeout: options.timeout ?? 120_000 }, () => suffer(cluster(), name, body, options));
  };
}
