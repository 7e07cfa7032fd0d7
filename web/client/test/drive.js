// A core in virtual time: what it wants is written down, and the clock goes where the test says.

import { Core } from "../dist/core.js";

export const ALL = ["websocket", "sse", "stream", "longpoll"];

export class Drive {
  now = 0;
  probes = 0;
  /** What was wanted, as short texts with the time in front: `6000 connect stream after 5-0`. */
  log = [];
  delivered = [];
  /** What a probe finds: a cursor or an end; nothing for an answer that is another server's. `"silence"` for no answer. */
  reach = undefined;

  constructor(options = {}) {
    this.core = new Core({ transports: ALL, since: "5-0", random: () => 0.999_999, ...options });
  }

  /** Lets something happen now, and gives what was wanted because of it. */
  do(what) {
    what(this.core, this.now);
    const effects = this.core.take();
    for (const effect of effects) this.#write(effect);
    const probe = effects.find((effect) => effect.do === "probe");
    if (probe && this.reach !== "silence") this.do((core, now) => core.probed(now, probe.attempt, this.reach));
    return effects;
  }

  #write(effect) {
    const at = this.now;
    if (effect.do === "connect") {
      this.transport = effect.transport;
      this.log.push(`${at} connect ${effect.transport} after ${effect.since}${effect.refresh ? " with another token" : ""}`);
    } else if (effect.do === "state") {
      this.state = effect;
      if (effect.phase === "closed") this.log.push(`${at} closed: ${effect.end.why}`);
    } else if (effect.do === "probe") {
      this.probes += 1;
    } else if (effect.do !== "disconnect") {
      this.delivered.push(effect.message?.id ?? `gap ${effect.gap.resumed}`);
    }
  }

  start() {
    this.do((core, now) => core.start(now));
    return this;
  }

  /** Goes to where the clock rings, as often as that is before `end`, and then to `end`. */
  until(end) {
    for (let next = this.core.deadline(); next <= end; next = this.core.deadline()) {
      this.now = Math.max(this.now, next);
      this.do((core, now) => core.tick(now));
    }
    this.now = end;
    return this;
  }

  after(milliseconds) {
    return this.until(this.now + milliseconds);
  }

  /** To the end of a wait. */
  again() {
    return this.core.phase === "waiting" ? this.until(this.core.deadline()) : this;
  }

  opened(silence) {
    this.do((core, now) => core.opened(now, silence));
    return this;
  }

  message(id) {
    this.do((core, now) => core.message(now, { id, channel: "c", event: "message", data: null, time: 0 }));
    return this;
  }

  over(why, more = {}) {
    this.do((core, now) => core.over(now, { why, message: why, ...more }));
    return this;
  }

  /** The log since it was last asked for. */
  told() {
    return this.log.splice(0);
  }
}

/** Chance that can be repeated: numbers from 0 to below 1, or below `most` as whole ones (mulberry32). */
export function chance(seed) {
  let state = seed >>> 0;
  const random = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return { random, below: (most) => Math.floor(random() * most) };
}

export const seed = Number(process.env.TRIDENT_SEED ?? Date.now() % 1_000_000);
