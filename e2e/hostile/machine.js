// What else the machine does: how much of it others took while an attack was on, so that their work is not taken for the attack's.

import { readdirSync, readFileSync } from "node:fs";

/** Clock ticks a second, as Linux tells them to everybody. */
const TICKS = 100;

const words = (file) => readFileSync(file, "utf8").trim().split(/\s+/);

/** Milliseconds that a process or a thread, by its folder in /proc, has computed for. */
export function computedIn(folder) {
  const fields = readFileSync(`${folder}/stat`, "utf8").split(") ")[1].split(" ");
  return ((Number(fields[11]) + Number(fields[12])) * 1_000) / TICKS;
}

/** This process, all that it has started, and what they have. One that ends meanwhile is passed over. */
function family(pid = process.pid) {
  try {
    const children = readdirSync(`/proc/${pid}/task`).flatMap((task) => words(`/proc/${pid}/task/${task}/children`));
    return [pid, ...children.filter(Boolean).flatMap((child) => family(Number(child)))];
  } catch {
    return [];
  }
}

/** Milliseconds of each of the family, by its id. */
function ours() {
  const times = new Map();
  for (const pid of family()) {
    try {
      times.set(pid, computedIn(`/proc/${pid}`));
    } catch {
      // It has ended.
    }
  }
  return times;
}

/** Milliseconds that all processors have computed for processes: `user`, `nice` and `system`. */
const everybodys = () => (words("/proc/stat").slice(1, 4).reduce((sum, ticks) => sum + Number(ticks), 0) * 1_000) / TICKS;

/** Begins to watch; what it gives says how many processors others have kept busy since, as 0.3. */
export function watchOthers() {
  const [began, all, own] = [performance.now(), everybodys(), ours()];
  return () => {
    const mine = [...ours()].reduce((sum, [pid, time]) => sum + time - (own.get(pid) ?? 0), 0);
    return Math.max(0, (everybodys() - all - mine) / (performance.now() - began));
  };
}
