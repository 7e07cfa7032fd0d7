// The crate's example server in the recovery test: events in a room, and acknowledgements in both directions.

import assert from "node:assert/strict";
import { CutSession, difference } from "./cut-session.js";

export class CrateSession extends CutSession {
  /** What was said in the room, in order. */
  #said = [];
  #asked = 0;
  #missed = 0;
  #questions = [];

  /** `narrator`: a client of the server whose connection nobody cuts. */
  constructor(server, options, place, name, narrator) {
    super(server, options, place);
    this.room = name;
    this.narrator = narrator;
  }

  async #say(...all) {
    await Promise.all(all.map((what) => {
      this.#said.push(what);
      return this.narrator.timeout(120_000).emitWithAck("say", this.room, what);
    }));
  }

  async setUp() {
    this.socket.on("question", (what, answer) => {
      this.#questions.push(what);
      answer(what, Buffer.from("yes"));
    });
    assert.equal(await this.ask("join", this.room), true);
  }

  async whileAway() {
    this.#missed += 1;
    await this.#say(...[1, 2, 3, 4, 5, 6].flatMap((n) => [`missed ${this.#missed}.${n}`, { n, file: Buffer.from([n]) }]));
  }

  async round(n) {
    const what = `round ${n}`;
    // Nobody waits for these: a cut may take them along, and may not repeat them.
    for (let more = 0; more < 3; more += 1) {
      this.#asked += 1;
      this.socket.emit("ask me", 10_000, `question ${this.#asked}`);
      this.socket.emit("echo", `echo ${this.#asked}`);
    }
    await Promise.all([
      this.#say(what, Buffer.from([n, 0, 255]), { n, more: [Buffer.alloc(0), null] }, n % 2 === 0 ? n : what.repeat(300)),
      ...[what.repeat(n % 2 === 0 ? 1 : 300), Buffer.from(what), { what: [Buffer.from([n])] }].map(async (value) => assert.deepEqual(await this.ask("echo", value), value)),
    ]);
  }

  async finish() {
    await this.#say("last");
    await this.until("the last event", () => this.received.some(({ event, args }) => event === "said" && args[0] === "last"));
    assert.deepEqual(await this.ask("whoami"), this.lives.at(-1));
    assert.deepEqual(await this.ask("who", this.room), [this.socket.id]);
    const text = (list) => list.map((one) => JSON.stringify(one));
    const of = (event) => this.received.filter((one) => one.event === event).map(({ args }) => args[0]);
    const [said, expected] = [text(of("said")), text(this.#said)];
    assert.ok(said.length === expected.length && said.every((one, n) => one === expected[n]), `not as it was said: ${difference(said, expected)}`);
    for (const [what, list] of Object.entries({ question: this.#questions, answered: of("answered"), echo: of("echo") })) {
      assert.equal(new Set(text(list)).size, list.length, `${what} came twice: ${text(list)}`);
    }
    assert.deepEqual(of("answered").filter((one) => !this.#questions.includes(one)), [], "answered, not asked");
  }
}
