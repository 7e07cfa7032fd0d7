// What the kernel says of each server process, once a second: resident memory, descriptors, threads. A process that was
// restarted is another one, with a life of its own.

import { readFileSync, readdirSync } from "node:fs";

/** Of one process now, or nothing if it is gone. */
export function look(pid) {
  try {
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    const memory = /^VmRSS:\s+(\d+) kB$/m.exec(status);
    // One that ended and was not yet taken leave of has none.
    if (!memory) return undefined;
    return { memory: Number(memory[1]) * 1024, descriptors: readdirSync(`/proc/${pid}/fd`).length, threads: Number(/^Threads:\s+(\d+)$/m.exec(status)[1]) };
  } catch {
    return undefined;
  }
}

export class Processes {
  lives = new Map();
  #number = new Map();

  /** `pids()`: `[name, isUntouched, pid]` of each process that is there, whatever its number. */
  constructor(pids) {
    this.pids = pids;
  }

  sample(t) {
    for (const [name, isUntouched, pid] of this.pids()) {
      const seen = look(pid);
      if (!seen) continue;
      if (!this.lives.has(pid)) {
        const number = (this.#number.get(name) ?? 0) + 1;
        this.#number.set(name, number);
        this.lives.set(pid, { name: isUntouched ? name : `${name}, life ${number}`, of: name, isUntouched, samples: [] });
      }
      this.lives.get(pid).samples.push({ t, ...seen });
    }
  }

  all = () => [...this.lives.values()];
}
